package suite

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"kshell/test/contract"
	"kshell/test/e2e/harness"
	"kshell/test/faultproxy"
)

// createNamespace creates a namespace with labels for one test.
func createNamespace(t *testing.T, labels map[string]string) string {
	t.Helper()
	all := clientset(t).CoreV1().Namespaces()
	made, err := all.Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "suite-", Labels: labels}}, metav1.CreateOptions{})
	must(t, err)
	t.Cleanup(func() {
		// A cleanup needs a new context, because that of the test is canceled.
		ctx, cancel := context.WithTimeout(
			context.WithoutCancel(t.Context()),
			screenTimeout,
		)
		defer cancel()
		must(t, all.Delete(ctx, made.Name, metav1.DeleteOptions{}))
	})
	eventually(t, "the namespace has a service account", func(ctx context.Context) (bool, error) {
		_, err := clientset(t).CoreV1().ServiceAccounts(made.Name).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, nil
	})
	return made.Name
}

// nodes describes the nodes of the cluster, for node shells in a namespace of
// the test.
func nodes(t *testing.T) contract.Nodes {
	t.Helper()
	return contract.Nodes{
		Image:     harness.BusyboxImage,
		Names:     []string{"node1", "node2"},
		Init:      "tini",
		Namespace: createNamespace(t, nil),
	}
}

func TestNodeShell(t *testing.T) {
	inCI(t)
	onEach(t, func(t *testing.T, p contract.Program) {
		n := nodes(t)
		n.Restricted = createNamespace(t, map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
		contract.NodeShells(t, p, n)
	})
}

// TestNodeShell_DefaultImage opens a node shell without --image: the nodes must have the
// default image.
func TestNodeShell_DefaultImage(t *testing.T) {
	inCI(t)
	r := program(cluster.Kubeconfig()).Run(t, nil, "node-shell", "-n", createNamespace(t, nil), "node1", "--", "hostname")
	if r.Code != 0 || r.Out != "node1\n" || r.Err != "" {
		t.Errorf("%+v", r)
	}
}

func TestNodeShell_FiftyCuts(t *testing.T) {
	inCI(t)
	onServers(t, func(t *testing.T, s harness.Server) {
		for how, ending := range map[string]faultproxy.Ending{"RST": faultproxy.RST, "FIN": faultproxy.FIN} {
			t.Run(how, func(t *testing.T) {
				t.Parallel()
				proxy, flags := proxied(t, s)
				contract.NodeShellResumes(
					t,
					program(cluster.Kubeconfig()),
					nodes(t),
					50,
					func() { proxy.Cut(faultproxy.Both, ending) },
					flags...)
			})
		}
	})
}

// TestNodeShell_LogGap deletes the log of a node shell on its node, or renames
// the log as a rotation does. The kubelet makes containerd open a new log
// within 10 s.
func TestNodeShell_LogGap(t *testing.T) {
	inCI(t)
	onServers(t, func(t *testing.T, s harness.Server) {
		for how, command := range map[string]string{
			"deleted": `rm "$1/0.log"`,
			"rotated": `mv "$1/0.log" "$1/0.log.rotated"; wait_for_log "$1"`,
		} {
			t.Run(how, func(t *testing.T) {
				t.Parallel()
				proxy, flags := proxied(t, s)
				n, p := nodes(t), program(cluster.Kubeconfig())
				other := nodes(t) // has another namespace
				lose := func(pod string) {
					script := `wait_for_log() { while [ ! -e "$1/0.log" ]; do sleep 0.1; done; }
						set -- /var/log/pods/` + n.Namespace + "_" + pod + `_*/shell; wait_for_log "$1"; ` + command
					r := p.Run(t, nil, "node-shell", "--image", n.Image, "-n", other.Namespace, "node1", "--", "sh", "-c", script)
					if r.Code != 0 {
						t.Errorf("%+v", r)
					}
				}
				contract.NodeShellLogGap(t, p, n, func() { proxy.Cut(faultproxy.Both, faultproxy.RST) }, lose, flags...)
			})
		}
	})
}

// shellPods returns the pods of node shells in a namespace.
func shellPods(ctx context.Context, t *testing.T, ns string) []corev1.Pod {
	t.Helper()
	list, err := clientset(
		t,
	).CoreV1().
		Pods(ns).
		List(ctx, metav1.ListOptions{LabelSelector: "app.kubernetes.io/managed-by=kshell"})
	must(t, err)
	return list.Items
}

// waitForNoShellPods waits until the pods of node shells no longer exist. A pod
// that has ended but still exists is not enough: kshell must delete it.
func waitForNoShellPods(t *testing.T, ns string, within time.Duration) {
	t.Helper()
	begin := time.Now()
	eventually(t, "the pod is gone",
		func(ctx context.Context) (bool, error) { return len(shellPods(ctx, t, ns)) == 0, nil })
	if took := time.Since(begin); took > within {
		t.Errorf("the pod was gone only after %v", took)
	}
}

func TestNodeShell_SignalDeletesPod(t *testing.T) {
	inCI(t)
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		for what, args := range map[string][]string{
			"while a command runs": {
				"--image", harness.BusyboxImage, "node1", "--", "sh", "-c", "echo started >&2; sleep 600",
			},
			"while the pod is pending": {"--image", "kshell.local/no-such:1", "node1", "--", "true"},
		} {
			t.Run(fmt.Sprint(signal, " ", what), func(t *testing.T) {
				t.Parallel()
				ns := createNamespace(t, nil)
				l := start(t, program(cluster.Kubeconfig()), nil, append([]string{"node-shell", "-n", ns}, args...)...)
				eventually(t, "the pod exists", func(ctx context.Context) (bool, error) {
					begun, _ := l.err.has("started")
					waits, _ := l.err.has("waiting")
					return (begun || waits && strings.Contains(what, "pending")) && len(shellPods(ctx, t, ns)) == 1, nil
				})
				must(t, l.cmd.Process.Signal(signal))
				if r := l.waitExit(t, 12*time.Second); r.Code != 128+int(signal) {
					t.Errorf("%+v", r)
				}
				waitForNoShellPods(t, ns, 10*time.Second)
			})
		}
	}
}

// A kshell that is killed cannot delete its pod. The pod ends because it gets
// no more heartbeats, and the next kshell deletes it.
func TestNodeShell_HeartbeatLost(t *testing.T) {
	inCI(t)
	t.Parallel()
	n := nodes(t)
	p := program(cluster.Kubeconfig())
	args := []string{"node-shell", "--image", n.Image, "-n", n.Namespace, "--heartbeat", "10s"}
	l := start(t, p, nil, append(args, "node1", "--", "sh", "-c", "echo started; sleep 600")...)
	l.waitForStdout(t, "started\n")
	keepFault(15 * time.Second) // longer than the time after which a pod without heartbeats ends
	if pods := shellPods(t.Context(), t, n.Namespace); len(pods) != 1 || pods[0].Status.Phase != corev1.PodRunning {
		t.Fatalf("the pod of a running kshell: %v", pods)
	}
	must(t, l.cmd.Process.Kill())
	eventually(t, "the pod has ended", func(ctx context.Context) (bool, error) {
		pods := shellPods(ctx, t, n.Namespace)
		return len(pods) == 1 && pods[0].Status.Phase == corev1.PodSucceeded, nil
	})
	if r := p.Run(t, nil, append(args, "node2", "--", "true")...); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	waitForNoShellPods(t, n.Namespace, 5*time.Second)
}

func TestNodeShell_PodDoesNotStart(t *testing.T) {
	inCI(t)
	p := program(cluster.Kubeconfig())
	t.Run("its image cannot be pulled", func(t *testing.T) {
		ns := createNamespace(t, nil)
		// Nothing listens on port 5999.
		r := p.Run(t, nil, "node-shell", "-n", ns, "--image", "10.77.0.1:5999/no-such:1", "--pod-running-timeout", "15s",
			"node1", "--", "true")
		checkResult(t, r, "", []string{"gave up after", "ImagePull", "10.77.0.1:5999/no-such:1"}, 255)
		waitForNoShellPods(t, ns, 10*time.Second)
	})
	quota := func(t *testing.T, hard corev1.ResourceList) string {
		ns := createNamespace(t, nil)
		_, err := clientset(t).CoreV1().ResourceQuotas(ns).Create(t.Context(), &corev1.ResourceQuota{
			ObjectMeta: metav1.ObjectMeta{Name: "limit"}, Spec: corev1.ResourceQuotaSpec{Hard: hard},
		}, metav1.CreateOptions{})
		must(t, err)
		eventually(
			t,
			"the quota is counted",
			func(ctx context.Context) (bool, error) { // a controller counts it, and then updates the status
				p := sleeper("")
				p.Name = "dry"
				_, err := clientset(t).CoreV1().Pods(ns).Create(ctx, p, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
				return err != nil &&
					(strings.Contains(err.Error(), "exceeded quota: limit") || strings.Contains(err.Error(), "must specify")), nil
			},
		)
		return ns
	}
	t.Run("a quota is used up", func(t *testing.T) {
		ns := quota(t, corev1.ResourceList{corev1.ResourcePods: resource.MustParse("0")})
		r := p.Run(t, nil, "node-shell", "-n", ns, "--image", harness.BusyboxImage, "node1", "--", "true")
		checkResult(t, r, "", []string{"a quota of namespace", "exceeded quota: limit"}, 255)
	})
	t.Run("a quota that requires requests and limits", func(t *testing.T) {
		ns := quota(
			t,
			corev1.ResourceList{
				corev1.ResourceLimitsCPU:      resource.MustParse("1"),
				corev1.ResourceRequestsMemory: resource.MustParse("1Gi"),
			},
		)
		r := p.Run(t, nil, "node-shell", "-n", ns, "--image", harness.BusyboxImage, "node1", "--", "echo", "hi")
		r.Err = withoutSlowLines(r.Err)
		checkResult(t, r, "hi\n", nil, 0)
	})
}

// The roles that the commands in the hint create are sufficient. Without them,
// nothing is created.
func TestNodeShell_Rights(t *testing.T) {
	inCI(t)
	const nobody = "suite-nodes-nobody"
	n := nodes(t)
	run := func() contract.Result {
		return program(
			cluster.Kubeconfig(),
		).Run(t, nil, "--as", nobody, "node-shell", "-q", "-n", n.Namespace, "--image", n.Image, "node1", "--", "echo", "hi")
	}
	r := run()
	const want = "create, get, delete and watch pods; get and create pods/exec"
	if r.Code != 255 || !strings.Contains(r.Err, want) {
		t.Fatalf("want %q, got %+v", want, r)
	}
	_, line, _ := strings.Cut(r.Err, ": kubectl ")
	roles := clientset(t).RbacV1()
	for i, command := range strings.Split(strings.TrimSpace(line), " && ") {
		args := strings.Fields(strings.TrimPrefix(command, "kubectl "))
		if made := kubectl().Run(t, nil, args...); made.Code != 0 {
			t.Fatalf("kubectl %q: %+v", args, made)
		}
		_, err := roles.RoleBindings(n.Namespace).Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{GenerateName: "suite-"},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: fmt.Sprintf("kshell-%d", i+1)},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: nobody}},
		}, metav1.CreateOptions{})
		must(t, err)
	}
	eventually(t, "the roles are sufficient", func(context.Context) (bool, error) {
		r = run()
		return r.Code == 0 && r.Out == "hi\n", nil
	})
	waitForNoShellPods(t, n.Namespace, 5*time.Second)
}

// The cluster role in the documentation, bound in one namespace, is sufficient
// for node shells there.
func TestNodeShell_DocumentedClusterRole(t *testing.T) {
	inCI(t)
	const somebody = "suite-nodes-somebody"
	n := nodes(t)
	text, err := os.ReadFile("../../../docs/node-shell.md")
	must(t, err)
	_, text, _ = bytes.Cut(text, []byte("```yaml\napiVersion: rbac.authorization.k8s.io/v1\n"))
	text, _, _ = bytes.Cut(text, []byte("```"))
	role := &rbacv1.ClusterRole{}
	must(t, yaml.UnmarshalStrict(append([]byte("apiVersion: rbac.authorization.k8s.io/v1\n"), text...), role))
	role.Name = n.Namespace // a unique name
	rbac := clientset(t).RbacV1()
	_, err = rbac.ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{})
	must(t, err)
	defer func() { must(t, rbac.ClusterRoles().Delete(t.Context(), role.Name, metav1.DeleteOptions{})) }()
	_, err = rbac.RoleBindings(n.Namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "suite-"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: somebody}},
	}, metav1.CreateOptions{})
	must(t, err)
	run := func(args ...string) contract.Result {
		return program(
			cluster.Kubeconfig(),
		).Run(t, nil, append([]string{"--as", somebody, "node-shell", "-n", n.Namespace}, args...)...)
	}
	eventually(t, "the role is enough", func(context.Context) (bool, error) {
		r := run("--image", n.Image, "node1", "--", "echo", "hi")
		return r.Code == 0 && r.Out == "hi\n" && withoutSlowLines(r.Err) == "", nil
	})
	if r := run("--image", n.Image, "--detach", "node1"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	if r := run("list"); r.Code != 0 || !strings.Contains(r.Out, "node1") {
		t.Errorf("%+v", r)
	}
	if r := run("gc", "--older-than", "1ns"); r.Code != 0 || !strings.Contains(r.Out, "deleted") {
		t.Errorf("%+v", r)
	}
	waitForNoShellPods(t, n.Namespace, 10*time.Second)
}

func TestNodeShell_Detached(t *testing.T) {
	inCI(t)
	onEach(t, func(t *testing.T, p contract.Program) { contract.NodeShellDetached(t, p, nodes(t)) })
}
