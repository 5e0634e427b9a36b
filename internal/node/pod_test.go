package node

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write testdata/*.yaml")

// testOptions returns the options of most tests.
func testOptions() Options {
	return Options{
		Node: "worker-1", Name: "node-shell-worker-1-abc234", Namespace: "ops", Image: "registry.example/tools:1",
		TTL: 8 * time.Hour, HeartbeatTimeout: 5 * time.Minute, StartTimeout: time.Minute,
		CreatedBy: "ann", CreatedFrom: "laptop", CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func TestPod_Manifest(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"command": func(*Options) {},
		"shell":   func(o *Options) { o.Shell, o.Env = true, []corev1.EnvVar{{Name: "TERM", Value: "xterm"}} },
		"all-flags": func(o *Options) {
			o.PullPolicy, o.PullSecret = corev1.PullAlways, "pull"
			o.ServiceAccount, o.PriorityClass = "debugger", "system-node-critical"
			o.Reason = "INC-4711: disk full"
			o.Labels, o.Claims = map[string]string{"team": "a"}, []string{"data"}
			o.Profile, o.Entry, o.Detached, o.Shell = NetAdmin, View, true, true
			o.Private = Namespaces{Mount: true, PID: true, Net: true, IPC: true, UTS: true}
		},
		"windows": func(o *Options) { o.Windows = true },
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions()
			change(&o)
			got, err := YAML(Pod(o))
			if err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", name+".yaml")
			if *update {
				if err := os.WriteFile(path, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			doc, err := os.ReadFile("../../docs/node-shell.md")
			if err != nil {
				t.Fatal(err)
			}
			if name == "shell" && !strings.Contains(string(doc), "```yaml\n"+string(want)+"```\n") {
				t.Error("docs/node-shell.md does not contain this manifest")
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got (-update writes the file):\n%s", diff)
			}
			back := &corev1.Pod{}
			if err := yaml.UnmarshalStrict(got, back); err != nil {
				t.Errorf("kubectl would reject the manifest: %v", err)
			}
		})
	}
}

func TestPod_Flags(t *testing.T) {
	pod := func(change func(*Options)) *corev1.Pod {
		o := testOptions()
		change(&o)
		return Pod(o)
	}
	plain := pod(func(*Options) {}).Spec
	if !plain.HostPID || !plain.HostIPC || !plain.HostNetwork ||
		!*plain.Containers[0].SecurityContext.Privileged || *plain.AutomountServiceAccountToken {
		t.Errorf("no flags: %+v", plain)
	}
	if s := pod(func(o *Options) { o.Private.PID = true }).Spec; s.HostPID || !s.HostIPC || !s.HostNetwork {
		t.Errorf("--no-pid: %+v", s)
	}
	if s := pod(func(o *Options) { o.Private.Net = true }).Spec; !s.HostPID || !s.HostIPC || s.HostNetwork {
		t.Errorf("--no-net: %+v", s)
	}
	if s := pod(func(o *Options) { o.Private.IPC = true }).Spec; !s.HostPID || s.HostIPC || !s.HostNetwork {
		t.Errorf("--no-ipc: %+v", s)
	}
	general := pod(func(o *Options) { o.Profile = General }).Spec.Containers[0].SecurityContext
	if general.Privileged != nil || general.Capabilities != nil {
		t.Errorf("--profile=general: %+v", general)
	}
	if s := plain.Containers[0]; s.Stdin || s.TTY {
		t.Error("a pod for commands has a stdin")
	}
	if s := pod(func(o *Options) { o.Shell = true }).Spec.Containers[0]; !s.Stdin || !s.TTY || s.StdinOnce {
		t.Error("clients cannot attach to the shell")
	}
}

func TestOptions_EnterArgs(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Options)
		want   []string
	}{
		"all namespaces":     {func(*Options) {}, []string{Auto, "-m -u -i -n"}},
		"--no-mount":         {func(o *Options) { o.Private.Mount = true }, []string{Auto, "-u -i -n"}},
		"--no-net, --no-ipc": {func(o *Options) { o.Private.Net, o.Private.IPC = true, true }, []string{Auto, "-m -u"}},
		"--no-pid":           {func(o *Options) { o.Private.PID = true }, []string{Chroot, "-m -u -i -n"}},
		"a claim":            {func(o *Options) { o.Claims = []string{"data"} }, []string{View, "-m -u -i -n"}},
		"a claim, and an entry": {
			func(o *Options) { o.Entry, o.Claims = Enter, []string{"data"} }, []string{Enter, "-m -u -i -n"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := testOptions()
			c.change(&o)
			if diff := cmp.Diff(c.want, o.enterArgs()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestName(t *testing.T) {
	for node, want := range map[string]string{
		"worker-1":                            "node-shell-worker-1-abc234",
		"ip-10-0-0-1.eu-west-1.internal":      "node-shell-ip-10-0-0-1-eu-west-1-internal-abc234",
		"UPPER_case":                          "node-shell-upper-case-abc234",
		strings.Repeat("n", 253):              "node-shell-" + strings.Repeat("n", 45) + "-abc234",
		strings.Repeat("n", 44) + "." + "abc": "node-shell-" + strings.Repeat("n", 44) + "-abc234",
		"...":                                 "node-shell-abc234",
		"":                                    "node-shell-abc234",
	} {
		got := podName(node, "abc234")
		if got != want {
			t.Errorf("%q: got %q, want %q", node, got, want)
		}
		if why := validation.IsDNS1123Label(got); why != nil {
			t.Errorf("%q: %v", got, why)
		}
	}
	if a, b := Name("n"), Name("n"); a == b || len(a) != len("node-shell-n-abc234") {
		t.Errorf("two names: %s, %s", a, b)
	}
}

func TestPod_ValidAnnotationsAndLabels(t *testing.T) {
	p := Pod(testOptions())
	for key := range p.Annotations {
		if why := validation.IsQualifiedName(key); why != nil {
			t.Errorf("%s: %v", key, why)
		}
	}
	for key, value := range p.Labels {
		if why := append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...); why != nil {
			t.Errorf("%s: %v", key, why)
		}
	}
	if !IsNodeShell(p) {
		t.Error("the pod does not have kshell's labels")
	}
}

func TestWithResources(t *testing.T) {
	original := Pod(testOptions())
	p, err := WithResources(original, "100m", "64Mi")
	if err != nil {
		t.Fatal(err)
	}
	if len(original.Spec.Containers[0].Resources.Limits) != 0 {
		t.Error("the argument was changed")
	}
	r := p.Spec.Containers[0].Resources
	if r.Limits.Cpu().String() != "100m" || r.Requests.Memory().String() != "64Mi" {
		t.Errorf("got %v", r)
	}
	if _, err := WithResources(p, "much", "64Mi"); err == nil {
		t.Error("no error")
	}
}
