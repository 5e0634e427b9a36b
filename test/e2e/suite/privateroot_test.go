package suite

import (
	"context"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/test/e2e/harness"
)

// A node whose root is a private mount (k3d, WSL2, Alpine) refuses a pod with
// mountPropagation. node-shell also works on such a node, and does not wait for
// the refused container.
func TestNodeShell_PrivateRoot(t *testing.T) {
	notInCI(t)
	ctx := breaksCluster(t)
	ns := createNamespace(t, nil)
	propagate := func(ctx context.Context, how string) {
		argv, err := cluster.Enter(faultyNode, "mount", "--make-"+how, "/")
		must(t, err)
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("mount --make-%s /: %v: %s", how, err, out)
		}
	}
	propagate(ctx, "private")
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), screenTimeout)
		defer cancel()
		propagate(ctx, "shared")
	})
	const (
		again = "node " + faultyNode + " refuses mount propagation because its root is a private mount: " +
			"the pod is created again without it"
		unseen = "file systems that are mounted on node " + faultyNode + " from now on are not visible here"
	)
	p := program(cluster.Kubeconfig())
	for name, test := range map[string]struct {
		flags []string
		words []string
	}{
		"its namespaces": {[]string{"-v"}, []string{again}},
		"its files":      {[]string{"-v", "--chroot"}, []string{again, unseen}},
		"in the image":   {[]string{"-v", "--host-view"}, []string{again, unseen}},
	} {
		t.Run(name, func(t *testing.T) {
			command := "cat /etc/hostname"
			if name == "in the image" {
				command = "cat /host/etc/hostname"
			}
			begin := time.Now()
			args := append([]string{"node-shell", "-n", ns, "--image", harness.BusyboxImage}, test.flags...)
			r := p.Run(t, nil, append(args, faultyNode, "--", "sh", "-c", command)...)
			checkResult(t, r, faultyNode+"\n", test.words, 0)
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("it took %v, perhaps waiting for the refused container: %s", took, r.Err)
			}
			if len(test.words) == 1 && strings.Contains(r.Err, unseen) {
				t.Errorf("a warning that does not apply: %s", r.Err)
			}
			waitForNoShellPods(t, ns, 10*time.Second)
		})
	}
	t.Run("another pod that the node refuses", func(t *testing.T) {
		follow := corev1.MountPropagationHostToContainer
		pod := sleeper(faultyNode)
		pod.Spec.Volumes = []corev1.Volume{
			{Name: "host", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/"}}},
		}
		pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{
			{Name: "host", MountPath: "/host", MountPropagation: &follow},
		}
		begin := time.Now()
		r := p.Run(t, nil, "exec", "--pod-running-timeout", "50s", createPod(t, pod), "--", "true")
		checkResult(t, r, "", []string{"cannot start (CreateContainerError): ", "it is not a shared or slave mount"}, 255)
		if took := time.Since(begin); took > 30*time.Second {
			t.Errorf("it took %v, perhaps waiting for the refused container", took)
		}
	})
}

// timeout(1) sends TERM to the process and to its process group, so that kshell
// gets it twice. It still deletes its pod.
func TestNodeShell_SignalTwice(t *testing.T) {
	inCI(t)
	t.Parallel()
	ns := createNamespace(t, nil)
	for range 5 {
		l := start(t, program(cluster.Kubeconfig()), nil, "node-shell", "-n", ns, "--image", harness.BusyboxImage, "node1",
			"--", "sh", "-c", "echo started; exec sleep 600")
		l.waitForStdout(t, "started\n")
		must(t, l.cmd.Process.Signal(syscall.SIGTERM))
		must(t, l.cmd.Process.Signal(syscall.SIGTERM))
		if r := l.waitExit(t, 12*time.Second); r.Code != 128+int(syscall.SIGTERM) {
			t.Errorf("%+v", r)
		}
	}
	waitForNoShellPods(t, ns, 10*time.Second)
}
