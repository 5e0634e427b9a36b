package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

var (
	onTerminal = terminals{in: true, out: true}
	inPipe     = terminals{out: true}
	outPipe    = terminals{in: true}
	pipes      = terminals{}

	web          = pod.Target{Kind: "pod", Name: "web"}
	allProtocols = []string{
		"v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "base64.channel.k8s.io", "channel.k8s.io",
	}
	// The defaults of exact mode: with a tty; without a tty if stdin is a
	// terminal; without a tty if stdin is not a terminal.
	exactTTY      = exactPlan{mode: exactNever}
	exactTerminal = exactPlan{mode: exactAuto}
	exactPipe     = exactPlan{mode: exactAuto, endIfInputCut: true}

	// Warnings.
	noTTY  = []string{"stdin is not a terminal: running without a tty"}
	needsI = []string{"-t needs -i: running without a tty"}
)

// planOf parses a command line as kshell does.
func planOf(t *testing.T, local terminals, args ...string) (*execPlan, error) {
	t.Helper()
	var f execFlags
	cmd := f.command(nil)
	(&cobra.Command{Use: "kshell"}).AddCommand(cmd)
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return planExec(cmd, f, cmd.Flags().Args(), local)
}

// comparePlans makes cmp compare the fields of these types.
var comparePlans = cmp.AllowUnexported(
	execPlan{}, exactPlan{}, resumePlan{}, scriptFlags{}, commandEnv{}, sessionFlags{},
)

func TestPlanExec(t *testing.T) {
	tests := []struct {
		name  string
		local terminals
		args  []string
		want  execPlan
	}{
		{
			"a command", onTerminal,
			[]string{"web", "--", "ls", "-l"},
			execPlan{exact: exactTerminal, target: web, command: []string{"ls", "-l"}},
		},
		{
			"after --, flags and -- belong to the command", onTerminal,
			[]string{"web", "--", "ls", "-it", "-c", "x", "--", "--help"},
			execPlan{exact: exactTerminal, target: web, command: []string{"ls", "-it", "-c", "x", "--", "--help"}},
		},
		{
			"an empty argument", onTerminal,
			[]string{"web", "--", "printf", "", "a b"},
			execPlan{exact: exactTerminal, target: web, command: []string{"printf", "", "a b"}},
		},
		{
			"flags before and after the pod", onTerminal,
			[]string{"-i", "web", "-c", "app", "--", "cat"},
			execPlan{exact: exactTerminal, target: web, container: "app", command: []string{"cat"}, stdin: true},
		},
		{
			"a workload", pipes,
			[]string{"deploy/web", "--", "ps"},
			execPlan{exact: exactPipe, target: pod.Target{Kind: "deployment", Name: "web"}, command: []string{"ps"}},
		},
		{
			"a manifest instead of a pod", pipes,
			[]string{"-f", "x.yaml", "--", "ps"},
			execPlan{exact: exactPipe, manifest: "x.yaml", command: []string{"ps"}},
		},
		{
			"a shell in the pod of a manifest", onTerminal,
			[]string{"-f", "x.yaml"},
			execPlan{exact: exactTTY, manifest: "x.yaml", stdin: true, tty: true},
		},
		{
			"a shell: no command, on a terminal", onTerminal,
			[]string{"web"},
			execPlan{exact: exactTTY, target: web, stdin: true, tty: true},
		},
		{
			"a shell: nothing after --, on a terminal", onTerminal,
			[]string{"web", "--"},
			execPlan{exact: exactTTY, target: web, stdin: true, tty: true},
		},
		{
			"-it and a command, on a terminal", onTerminal,
			[]string{"-it", "web", "--", "vi"},
			execPlan{exact: exactTTY, target: web, command: []string{"vi"}, stdin: true, tty: true},
		},
		{
			"-it with stdout redirected has a tty", outPipe,
			[]string{"-it", "web", "--", "vi"},
			execPlan{exact: exactTTY, target: web, command: []string{"vi"}, stdin: true, tty: true},
		},
		{
			"-i on a terminal", onTerminal,
			[]string{"-i", "web", "--", "cat"},
			execPlan{exact: exactTerminal, target: web, command: []string{"cat"}, stdin: true},
		},
		{
			"-i from a pipe: the input ends", inPipe,
			[]string{"-i", "web", "--", "cat"},
			execPlan{exact: exactPipe, target: web, command: []string{"cat"}, stdin: true, inputEnds: true},
		},
		{
			"-it from a pipe: one warning, no tty", inPipe,
			[]string{"-it", "web", "--", "cat"},
			execPlan{exact: exactPipe, target: web, command: []string{"cat"}, stdin: true, inputEnds: true, warnings: noTTY},
		},
		{
			"-t without -i: one warning, no tty", onTerminal,
			[]string{"-t", "web", "--", "ls"},
			execPlan{exact: exactTerminal, target: web, command: []string{"ls"}, warnings: needsI},
		},
		{
			"-t without -i from a pipe: one warning", pipes,
			[]string{"-t", "web", "--", "ls"},
			execPlan{exact: exactPipe, target: web, command: []string{"ls"}, warnings: needsI},
		},
		{
			"--resume alone means auto", onTerminal,
			[]string{"--resume", "web"},
			execPlan{exact: exactTTY, target: web, stdin: true, tty: true, resume: resumePlan{mode: resumeAuto}},
		},
		{
			"--resume and its other flags", pipes,
			[]string{
				"--resume=always", "--resume-dir", "/a,/b", "--resume-dir=/c", "--resume-buffer", "4Mi",
				"--resume-timeout", "90m", "web", "--", "ls",
			},
			execPlan{exact: exactPipe, target: web, command: []string{"ls"}, resume: resumePlan{
				mode: resumeAlways, dirs: []string{"/a", "/b", "/c"}, buffer: 4 << 20, timeout: 90 * time.Minute,
				dependent: "--resume-dir",
			}},
		},
		{
			"a pod that has the name of a value of --resume", pipes,
			[]string{"--resume", "pod/always", "--", "ls"},
			execPlan{
				exact: exactPipe, target: pod.Target{Kind: "pod", Name: "always"}, command: []string{"ls"},
				resume: resumePlan{mode: resumeAuto},
			},
		},
		{
			"--detach: a shell needs no terminal", pipes,
			[]string{"--detach", "web"},
			execPlan{
				exact: exactPlan{mode: exactNever, endIfInputCut: true}, target: web, stdin: true, tty: true,
				resume: resumePlan{mode: resumeAlways, detach: true},
			},
		},
		{
			"--detach and a command: no input", inPipe,
			[]string{"--detach", "web", "--", "ls"},
			execPlan{
				exact: exactPipe, target: web, command: []string{"ls"}, resume: resumePlan{mode: resumeAlways, detach: true},
			},
		},
		{
			"--detach -it and a command: a tty, also without a local one", pipes,
			[]string{"--detach", "-it", "web", "--", "vi"},
			execPlan{
				exact:  exactPlan{mode: exactNever, endIfInputCut: true},
				target: web, command: []string{"vi"}, stdin: true, tty: true,
				resume: resumePlan{mode: resumeAlways, detach: true},
			},
		},
		{
			"--subprotocol", pipes,
			[]string{"--subprotocol", "base64.channel.k8s.io,v4.channel.k8s.io", "web", "--", "ls"},
			execPlan{
				exact: exactPipe, target: web, command: []string{"ls"},
				protocols: []string{"base64.channel.k8s.io", "v4.channel.k8s.io"}, protocolsChosen: true,
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := planOf(t, tt.local, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			tt.want.path = "kshell exec"
			if tt.want.protocols == nil {
				tt.want.protocols = allProtocols
			}
			tt.want.script.statusFD, tt.want.scripts, tt.want.waitRunning = noFD, true, runningTimeoutDefault
			tt.want.session = sessionFlags{
				keepalive: 10 * time.Second, escape: "~", reconnect: reconnectAuto,
				reconnectTimeout: 10 * time.Minute, connectTimeout: connectTimeoutDefault,
			}
			if diff := cmp.Diff(&tt.want, got, comparePlans); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanExec_Attach(t *testing.T) {
	session := sessionFlags{
		keepalive: 10 * time.Second, escape: "~", reconnect: reconnectAuto,
		reconnectTimeout: 10 * time.Minute, connectTimeout: connectTimeoutDefault,
	}
	want := execPlan{
		path: "kshell exec", exact: exactTTY, scripts: true, protocols: allProtocols,
		script: scriptFlags{statusFD: noFD}, session: session,
	}
	tests := []struct {
		name   string
		local  terminals
		args   []string
		target pod.Target
		id     string
	}{
		{"a pod", pipes, []string{"--attach", "web"}, web, ""},
		{"a pod and an ID", pipes, []string{"--attach", "web", "0123456789"}, web, "0123456789"},
		{"nothing, on a terminal", onTerminal, []string{"--attach"}, pod.Target{}, ""},
		{"a workload, with -it", onTerminal, []string{"-it", "--attach", "deploy/web", "01"}, pod.Target{
			Kind: "deployment", Name: "web",
		}, "01"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := planOf(t, tt.local, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			want := want
			want.target, want.attach = tt.target, &attachPlan{id: tt.id, local: tt.local}
			if diff := cmp.Diff(&want, got, comparePlans, cmp.AllowUnexported(attachPlan{}, terminals{})); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanExec_UsageErrors(t *testing.T) {
	const (
		types = "the types are pod (po), deployment (deploy), replicaset (rs), statefulset (sts), daemonset (ds), " +
			"job, replicationcontroller (rc), service (svc)"
		noPodHint = "type `kshell exec (POD | TYPE/NAME) -- COMMAND`; on a terminal, `kshell exec` lists the pods"
		noCommand = "no command is specified, and a shell needs a terminal at stdin and stdout"
	)
	tests := []struct {
		name  string
		local terminals
		args  []string
		want  errorText
		code  int
	}{
		{
			"no pod",
			terminals{},
			nil,
			errorText{"no pod is specified", noPodHint},
			outcome.ExitUsage,
		},
		{
			"only a command",
			terminals{in: true},
			[]string{"--", "ls"},
			errorText{"no pod is specified", noPodHint},
			outcome.ExitUsage,
		},
		{
			"an unknown type", onTerminal,
			[]string{"cronjob/web", "--", "ls"},
			errorText{`type "cronjob" is not supported`, types},
			outcome.ExitUsage,
		},
		{
			"no command, stdin is not a terminal", inPipe,
			[]string{"web"},
			errorText{noCommand, "type `kshell exec web -- COMMAND`"},
			outcome.ExitUsage,
		},
		{
			"no command, stdout is not a terminal", outPipe,
			[]string{"-it", "web", "--"},
			errorText{noCommand, "type `kshell exec web -- COMMAND`"},
			outcome.ExitUsage,
		},
		{
			"an unknown subprotocol", onTerminal,
			[]string{"--subprotocol", "v5", "web", "--", "ls"},
			errorText{
				`unknown subprotocol "v5"`,
				"one of v5.channel.k8s.io, v4.channel.k8s.io, v4.base64.channel.k8s.io, base64.channel.k8s.io, channel.k8s.io",
			},
			outcome.ExitUsage,
		},
		{
			"an unknown exact mode", inPipe,
			[]string{"--exact=maybe", "web", "--", "ls"},
			errorText{`unknown --exact "maybe"`, "one of auto, always, never"},
			outcome.ExitUsage,
		},
		{
			"exact mode on a tty", onTerminal,
			[]string{"--exact=always", "-it", "web", "--", "ls"},
			errorText{"--exact=always is for commands without a tty", "kshell exec --help"},
			outcome.ExitUsage,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan, err := planOf(t, tt.local, tt.args...)
			if err == nil {
				t.Fatalf("no error, plan %+v", plan)
			}
			if diff := cmp.Diff(tt.want, errorTextOf(err)); diff != "" {
				t.Errorf("message and hint (-want +got):\n%s", diff)
			}
			if got := outcome.Classify(err).ExitCode; got != tt.code {
				t.Errorf("exit code %d, want %d", got, tt.code)
			}
		})
	}
}

// A missing -- is the most frequent mistake, because kubectl used to allow it.
func TestPlanExec_NoDashes(t *testing.T) {
	want := errorText{
		"the command must be separated from the pod by --",
		"put -- before the command: `kshell exec [FLAGS] web -- ls ...`",
	}
	for _, args := range [][]string{{"web", "ls"}, {"web", "ls", "/tmp"}, {"web", "ls", "--", "-l"}} {
		_, err := planOf(t, onTerminal, args...)
		if diff := cmp.Diff(want, errorTextOf(err)); diff != "" {
			t.Errorf("%q: message and hint (-want +got):\n%s", args, diff)
		}
		if code := outcome.Classify(err).ExitCode; code != outcome.ExitUsage {
			t.Errorf("%q: exit code %d, want %d", args, code, outcome.ExitUsage)
		}
	}
}

func TestPlanProtocols(t *testing.T) {
	for _, tt := range []struct {
		name   string
		chosen []string
		want   []string
	}{
		{"all, best first", nil, allProtocols},
		{"in the order of the flags", []string{stream.Channel, stream.V5}, []string{stream.Channel, stream.V5}},
	} {
		got, err := planProtocols(tt.chosen)
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%s: error %v, protocols (-want +got):\n%s", tt.name, err, diff)
		}
	}
}

func TestDropUnusableTTY(t *testing.T) {
	tests := []struct {
		name       string
		stdin, tty bool
		local      terminals
		want       bool
		warnings   []string
	}{
		{"-it on a terminal", true, true, onTerminal, true, nil},
		{"-it, stdout is a file", true, true, outPipe, true, nil},
		{"-it, stdin is a pipe", true, true, inPipe, false, noTTY},
		{"-t", false, true, onTerminal, false, needsI},
		{"-t, pipes", false, true, pipes, false, needsI},
		{"-i", true, false, onTerminal, false, nil},
		{"-i, stdin is a pipe", true, false, inPipe, false, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := execPlan{stdin: tt.stdin, tty: tt.tty}
			got.dropUnusableTTY(tt.local)
			want := execPlan{stdin: tt.stdin, tty: tt.want, warnings: tt.warnings}
			if diff := cmp.Diff(want, got, comparePlans); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}
