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

// blockedInit returns an init container that runs until unblockInit is called.
func blockedInit() corev1.Container {
	return busyboxContainer("prepare", "sh", "-c", "until [ -e /unblocked ]; do sleep 0.1; done")
}

func unblockInit(t *testing.T, pod string) {
	t.Helper()
	r := program(cluster.Kubeconfig()).Run(t, nil, "exec", pod, "-c", "prepare", "--", "touch", "/unblocked")
	if r.Code != 0 {
		t.Errorf("%+v", r)
	}
}

// waitForStderr waits until stderr contains words.
func (l *background) waitForStderr(t *testing.T, words string) {
	t.Helper()
	eventually(t, strconv.Quote(words)+" on stderr", func(context.Context) (bool, error) {
		has, _ := l.err.has(words)
		return has, nil
	})
}

// exec waits for a pod that was just created.
func TestWait_NewPod(t *testing.T) {
	notInCI(t)
	onEach(t, func(t *testing.T, p contract.Program) {
		made := sleeper("")
		made.Spec.InitContainers = []corev1.Container{blockedInit()}
		name := createPod(t, made)
		l := start(t, p, nil, "exec", name, "--", "echo", "it runs")
		l.waitForStderr(t, `is waiting for init container "prepare", which is running`)
		unblockInit(t, name)
		r := l.waitExit(t, waitTimeout)
		checkResult(
			t,
			r,
			"it runs\n",
			[]string{
				"kshell: waiting (up to 1m0s, see --pod-running-timeout): ",
				`is waiting for init container "prepare", which is running`,
			},
			0,
		)
		if strings.Contains(r.Err, "gave up") || strings.Contains(r.Err, "hint") {
			t.Errorf("stderr: %s", r.Err)
		}
	})
}

// exec --all waits for each pod.
func TestWait_NewPods(t *testing.T) {
	notInCI(t)
	onEach(t, func(t *testing.T, p contract.Program) {
		made := sleeper("")
		made.Labels = map[string]string{"wait": strings.ToLower(strings.ReplaceAll(t.Name(), "/", "-"))}
		made.Spec.InitContainers = []corev1.Container{blockedInit()}
		names := []string{createPod(t, made), createPod(t, made)}
		l := start(t, p, nil, "exec", "-l", "wait="+made.Labels["wait"], "--all", "--pod-running-timeout=1m", "--", "echo",
			"it runs")
		for _, name := range names {
			l.waitForStderr(t, "kshell: "+name+": waiting (up to 1m0s")
		}
		for _, name := range names {
			waitForPod(t, name, "prepare runs", isRunning("prepare"))
			unblockInit(t, name)
		}
		r := l.waitExit(t, waitTimeout)
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

func TestWait_PodDeleted(t *testing.T) {
	notInCI(t)
	onEach(t, func(t *testing.T, p contract.Program) {
		made := sleeper("")
		made.Spec.NodeSelector = map[string]string{"no": "node"}
		name := createPod(t, made)
		l := start(t, p, nil, "exec", name, "--", "true")
		l.waitForStderr(t, "waiting (up to")
		now := int64(0)
		must(
			t,
			clientset(
				t,
			).CoreV1().
				Pods(harness.Namespace).
				Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: &now}),
		)
		r := l.waitExit(t, waitTimeout/2)
		checkResult(t, r, "", []string{"deleted"}, 255)
	})
}
