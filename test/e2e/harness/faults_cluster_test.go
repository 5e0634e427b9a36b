//go:build cluster

package harness

import (
	"context"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// These tests check that the faults have the effects of real failures, and that
// the cluster recovers. They need a running cluster:
//
//	go run ./cluster up && go test -tags cluster ./harness
func running(t *testing.T) (*Cluster, context.Context) {
	t.Helper()
	c, err := Open("")
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := c.find(string(MainServer)); !ok {
		t.Fatalf("no cluster runs: go run ./cluster up")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	t.Cleanup(func() {
		mend, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := c.Restore(mend); err != nil {
			t.Errorf("the cluster is not restored: %v", err)
		}
	})
	return c, ctx
}

// kubectlExec runs a command in a pod, for at most a few seconds, and returns
// its output.
func kubectlExec(c *Cluster, pod string, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	args := append([]string{"--kubeconfig=" + c.Kubeconfig(), "exec", pod, "--"}, argv...)
	out, err := exec.CommandContext(ctx, c.Kubectl(), args...).
		CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func agentOn(ctx context.Context, t *testing.T, c *Cluster, node string) string {
	t.Helper()
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	pods, err := client.CoreV1().
		Pods(Namespace).
		List(ctx, metav1.ListOptions{LabelSelector: "app=agent", FieldSelector: "spec.nodeName=" + node})
	if err != nil || len(pods.Items) != 1 {
		t.Fatalf("no agent on %s: %v", node, err)
	}
	return pods.Items[0].Name
}

func expectExec(t *testing.T, c *Cluster, pod string, works bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out string
	var err error
	if waitFor(ctx, time.Second, func(context.Context) error {
		out, err = kubectlExec(c, pod, "echo", "here")
		if (err == nil && out == "here") != works {
			return context.DeadlineExceeded
		}
		return nil
	}) != nil {
		t.Fatalf("exec in %s: want works=%v, got %q, %v", pod, works, out, err)
	}
}

func TestPartition(t *testing.T) {
	c, ctx := running(t)
	pod := agentOn(ctx, t, c, "node2")
	if err := c.Partition(ctx, "node2"); err != nil {
		t.Fatal(err)
	}
	expectExec(t, c, pod, false)
	if err := c.WaitNode(ctx, "node2", false); err != nil {
		t.Fatal(err)
	}
	if err := c.Heal(ctx, "node2"); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitNode(ctx, "node2", true); err != nil {
		t.Fatal(err)
	}
	expectExec(t, c, pod, true)
}

func TestKillNode(t *testing.T) {
	c, ctx := running(t)
	pod := agentOn(ctx, t, c, "node2")
	if err := c.KillNode(ctx, "node2"); err != nil {
		t.Fatal(err)
	}
	expectExec(t, c, pod, false)
	if err := c.StartNode(ctx, "node2"); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitNode(ctx, "node2", true); err != nil {
		t.Fatal(err)
	}
	expectExec(t, c, agentOn(ctx, t, c, "node2"), true)
}

// After a short outage, the API still shows the old containers of a node as
// running, until the new kubelet has checked them. StartNode must wait for
// that.
func TestStartNode_OldContainers(t *testing.T) {
	c, ctx := running(t)
	n, err := nodeNamed("node2")
	if err != nil {
		t.Fatal(err)
	}
	old, err := c.runningContainers(ctx, n)
	if err != nil || len(old) == 0 {
		t.Fatalf("%d containers run, %v", len(old), err)
	}
	if err := c.KillNode(ctx, n.name); err != nil {
		t.Fatal(err)
	}
	if err := c.StartNode(ctx, n.name); err != nil {
		t.Fatal(err)
	}
	now, err := c.runningContainers(ctx, n)
	if err != nil {
		t.Fatal(err)
	}
	for id, name := range now {
		if old[id] != "" {
			t.Errorf("the API still shows %s as running", name)
		}
	}
}

func TestStopKubelet(t *testing.T) {
	c, ctx := running(t)
	pod := agentOn(ctx, t, c, "node2")
	if _, err := kubectlExec(c, pod, "touch", "/tmp/mark"); err != nil {
		t.Fatal(err)
	}
	if err := c.StopKubelet(ctx, "node2", syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if out, err := kubectlExec(c, pod, "true"); err == nil {
		t.Fatalf("exec works without a kubelet: %s", out)
	}
	if err := c.StartKubelet("node2"); err != nil {
		t.Fatal(err)
	}
	expectExec(t, c, pod, true)
	if out, err := kubectlExec(c, pod, "ls", "/tmp/mark"); err != nil {
		t.Fatalf("the container was restarted: %s, %v", out, err)
	}
}

func TestPauseKubelet(t *testing.T) {
	c, ctx := running(t)
	if err := c.PauseKubelet("node2"); err != nil {
		t.Fatal(err)
	}
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", "10.77.0.202:10250")
	if err != nil {
		t.Fatalf("the port does not accept connections: %v", err)
	}
	_ = conn.Close()
	if out, err := kubectlExec(c, agentOn(ctx, t, c, "node2"), "true"); err == nil {
		t.Fatalf("exec works: %s", out)
	}
	if err := c.ResumeKubelet("node2"); err != nil {
		t.Fatal(err)
	}
	expectExec(t, c, agentOn(ctx, t, c, "node2"), true)
}

func TestStopAPIServer(t *testing.T) {
	for _, s := range []Server{MainServer, TranslatingServer} {
		for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
			t.Run(string(s)+" "+sig.String(), func(t *testing.T) {
				c, ctx := running(t)
				if err := c.StopAPIServer(ctx, s, sig); err != nil {
					t.Fatal(err)
				}
				if conn, err := net.DialTimeout("tcp", s.Addr(), time.Second); err == nil {
					_ = conn.Close()
					t.Fatal("its port is still open")
				}
				began := time.Now()
				if err := c.StartAPIServer(ctx, s); err != nil {
					t.Fatal(err)
				}
				t.Logf("ready again after %s", time.Since(began))
			})
		}
	}
}
