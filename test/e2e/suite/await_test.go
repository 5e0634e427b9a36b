package suite

import (
	"context"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/test/contract"
	"kshell/test/e2e/harness"
)

// untilTold is an init container that runs until tell tells it not to.
func untilTold() corev1.Container {
	return box("prepare", "sh", "-c", "until [ -e /told ]; do sleep 0.1; done")
}

func tell(t *testing.T, pod string) {
	t.Helper()
	if r := program(cluster.Kubeconfig()).Run(t, nil, "exec", pod, "-c", "prepare", "--", "touch", "/told"); r.Code != 0 {
		t.Errorf("%+v", r)
	}
}

// says waits until words have come out of its stderr.
func (l *live) says(t *testing.T, words string) {
	t.Helper()
	eventually(t, strconv.Quote(words)+" on stderr", func(context.Context) (bool, error) {
		has, _ := l.err.has(words)
		return has, nil
	})
}

// Who has just made a pod need not look when it runs.
func TestAPodThatWasJustMadeIsWaitedFor(t *testing.T) {
	notInCI(t)
	onEach(t, func(t *testing.T, p contract.Program) {
		made := sleeper("")
		made.Spec.InitContainers = []corev1.Container{untilTold()}
		name := create(t, made)
		l := start(t, p, nil, "exec", name, "--", "echo", "it runs")
		l.says(t, `is waiting for init container "prepare", which is running`)
		tell(t, name)
		r := l.within(t, aMinute)
		judge(t, r, "it runs\n", []string{"kshell: waiting (up to 1m0s, see --pod-running-timeout): ", `is waiting for init container "prepare", which is running`}, 0)
		if strings.Contains(r.Err, "gave up") || strings.Contains(r.Err, "hint") {
			t.Errorf("stderr: %s", r.Err)
		}
	})
}

// Of many pods each is waited for by itself.
func TestPodsThatWereJustMadeAreWaitedFor(t *testing.T) {
	notInCI(t)
	onEach(t, func(t *testing.T, p contract.Program) {
		made := sleeper("")
		made.Labels = map[string]string{"wait": strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))}
		made.Spec.InitContainers = []corev1.Container{untilTold()}
		names := []string{create(t, made), create(t, made)}
		l := start(t, p, nil, "exec", "-l", "wait="+made.Labels["wait"], "--all", "--pod-running-timeout=1m", "--", "echo", "it runs")
		for _, name := range names {
			l.says(t, "kshell: "+name+": waiting (up to 1m0s")
		}
		for _, name := range names {
			sees(t, name, "prepare runs", isRunning("prepare"))
			tell(t, name)
		}
		r := l.within(t, aMinute)
		for _, name := range names {
			if !strings.Contains(r.Out, name+": it runs\n") {
				t.Errorf("pod %s: stdout %q, stderr %q", name, r.Out, r.Err)
			}
		}
		if r.Code != 0 {
			t.Errorf("exit code %d, stderr %q", r.Code, r.Err)
		}
	})
}

func TestAWaitForAPodThatIsDeletedEnds(t *testing.T) {
	notInCI(t)
	onEach(t, func(t *testing.T, p contract.Program) {
		made := sleeper("")
		made.Spec.NodeSelector = map[string]string{"no": "node"}
		name := create(t, made)
		l := start(t, p, nil, "exec", name, "--", "true")
		l.says(t, "waiting (up to")
		now := int64(0)
		check(t, clientset(t).CoreV1().Pods(harness.Namespace).Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
		r := l.within(t, aMinute/2)
		judge(t, r, "", []string{"deleted"}, 255)
	})
}
