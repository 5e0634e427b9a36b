//go:build unix

package main

import (
	"errors"
	"net/http"
	"path"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/internal/outcome"
	"kshell/internal/sandbox"
)

// podOf returns the name of the pod of the last session.
func podOf(t *testing.T, s *sandbox.Server) string {
	t.Helper()
	waitSessions(t, s, func(all []sandbox.Session) bool { return len(all) > 0 })
	all := s.Sessions()
	return path.Base(path.Dir(all[len(all)-1].Path))
}

// newShell matches the message about a new shell.
const newShell = `kshell: connected again after [0-9]+ s: this is a new shell\r\n`

// podDeleted matches the message about a pod that is deleted.
func podDeleted(pod string) string {
	return `(pod "` + pod + `" was deleted|` +
		`container "web" of pod "` + pod + `" ended with exit code [0-9]+; the pod is being deleted)`
}

func TestShellReconnect_Deployment(t *testing.T) {
	t.Parallel()
	s := runSandbox(t, sandbox.Config{})
	c := open(t, s, program(t), "exec", "-it", "deploy/web", "--", "sh")
	c.prompt()
	before := podOf(t, s)
	if err := s.DeletePod("default", before, 0); err != nil {
		t.Fatal(err)
	}
	c.waitFor(`kshell: warning: ` + podDeleted(before) + `\r\n`)
	c.waitFor(`kshell: continuing in pod web-\S+\r\n`)
	c.waitFor(newShell)
	c.prompt()
	if after := podOf(t, s); after == before || !strings.HasPrefix(after, "web-") {
		t.Errorf("continues in %s, after %s", after, before)
	}
	c.keys("exit 4\r")
	c.mustEnd(4)
}

func TestShell_PodDeleted(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	if err := s.DeletePod("default", "web", 0); err != nil {
		t.Fatal(err)
	}
	c.mustEnd(137)
	c.waitFor(`(?m)(^|\x1b8)kshell: warning: ` + podDeleted("web") + `\r\n`)
}

func TestShellReconnect_AnotherPodOfTheSameName(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	up := s.Down()
	c.waitFor("trying again in [0-9]+ s")
	if err := s.DeletePod("default", "web", 0); err != nil {
		t.Fatal(err)
	}
	for { // until the pod is gone
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}}}}
		p.Name = "web"
		if len(s.Pids("default", "web", "web")) == 0 {
			if err := s.AddPod(p); err != nil {
				t.Fatal(err)
			}
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	up()
	c.keys("\r")
	c.mustEnd(outcome.ExitFailed)
	c.waitFor(`kshell: pod "web" was deleted( and replaced by another pod of the same name)?\r\n`)
	c.waitFor(`hint: type .kubectl get pods -n default. to list the pods`)
}

func TestContainerRestarts_ShellEnds(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	killMain(t, s)
	c.mustEnd(137)
	c.waitFor(atLineStart(`kshell: warning: container "web" of pod "web" ended with exit code 137`))
}

func TestShellReconnect_ContainerRestarted(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	up := s.Down()
	c.waitFor("trying again in [0-9]+ s")
	killMain(t, s)
	waitRestart(t, s)
	up()
	c.keys("\r")
	c.waitFor(`kshell: warning: container "web" of pod "web" ended with exit code 137.* and was restarted\r\n`)
	c.waitFor(newShell)
	c.prompt()
	c.keys("exit 5\r")
	c.mustEnd(5)
}

// The watch of the pod sees the restart while the session is disconnected.
func TestContainerRestarts_SeenWhileDisconnected(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	undo := s.Inject(sandbox.Fault{Code: http.StatusBadGateway})
	s.Restart()
	c.waitFor("trying again in [2-9] s")
	killMain(t, s)
	waitRestart(t, s)
	c.waitFor(`kshell: warning: container "web" of pod "web" ended with exit code 137.* and was restarted\r\n`)
	undo()
	c.keys("\r")
	c.waitFor(newShell)
	c.prompt()
	c.keys("exit 5\r")
	c.mustEnd(5)
}

// The node may still be starting the container when the pod's status already
// says that the container is running.
func TestShellReconnect_ContainerIsStarting(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	undo := s.Inject(sandbox.Fault{NotRunning: true})
	s.Restart()
	c.waitFor(`kshell: warning: the server reported a failure: .*container not found \("web"\)`)
	c.waitFor("trying again in [0-9]+ s")
	undo()
	c.keys("\r")
	c.waitFor(newShell)
	c.prompt()
	c.keys("exit 5\r")
	c.mustEnd(5)
	s.Inject(sandbox.Fault{NotRunning: true})
	// kshell waits for such a container only to reconnect, not to start its
	// first session. After the refusal, kshell checks, for at most
	// limits.Reason, whether the container has ended.
	never := open(t, s, "env", shortLimits+"=1", program(t), "exec", "-it", "web", "--", "sh")
	never.mustEnd(outcome.ExitFailed)
	never.waitFor("hint: the container is not running")
}

// After a lost connection to a pod that is being deleted, kshell waits for the
// exit code of the container.
func TestShell_PodIsBeingDeleted(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "--reconnect=never", "web", "--", "sh")
	c.prompt()
	setDeleted := func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Now()} }
	if err := s.ChangePod("default", "web", setDeleted); err != nil {
		t.Fatal(err)
	}
	c.waitFor(`kshell: warning: pod "web" is being deleted\r\n`)
	watches := s.Stats().Watches
	s.Restart()
	waitStats(t, s, func(stats sandbox.Stats) bool { return stats.Watches > watches })
	killMain(t, s)
	c.waitFor(`kshell: container "web" of pod "web" ended with exit code 137( and was restarted)?; ` +
		`the pod is being deleted\r\n`)
	c.mustEnd(outcome.ExitFailed)
}

// The shell is killed because its pod is being deleted, but the status of the pod
// does not show the end of the container within limits.Reason, because the node
// is busy. The session continues in another pod of the workload.
func TestShell_KilledInPodBeingDeleted(t *testing.T) {
	t.Parallel()
	s := runSandbox(t, sandbox.Config{})
	c := open(t, s, "env", shortLimits+"=1", program(t), "exec", "-it", "deploy/web", "--", "sh")
	c.prompt()
	pod := podOf(t, s)
	setDeleted := func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Now()} }
	if err := s.ChangePod("default", pod, setDeleted); err != nil {
		t.Fatal(err)
	}
	c.waitFor(`kshell: warning: pod "` + pod + `" is being deleted\r\n`)
	c.keys("kill -9 $$\r")
	c.waitFor(`kshell: warning: pod "` + pod + `" is being deleted; the command ended with exit code 137\r\n`)
	c.waitFor(`kshell: continuing in pod web-`)
	c.waitFor(newShell)
	c.prompt()
	c.keys("exit 5\r")
	c.mustEnd(5)
}

// killMain kills all processes in web, including the first one.
func killMain(t *testing.T, s *sandbox.Server) {
	t.Helper()
	pids := s.Pids("default", "web", "web")
	if len(pids) == 0 {
		t.Fatal("web has no processes")
	}
	for _, pid := range pids {
		// The process may have ended already, together with the first one.
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Error(err)
		}
	}
}

// waitRestart waits until the status of pod web shows that its container was
// restarted.
func waitRestart(t *testing.T, s *sandbox.Server) {
	t.Helper()
	for late, restarted := time.After(deadline), false; !restarted; {
		if err := s.ChangePod("default", "web", func(p *corev1.Pod) {
			status := p.Status.ContainerStatuses[0]
			restarted = status.RestartCount > 0 && status.State.Running != nil
		}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-late:
			t.Fatal("the container was not restarted")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// If a node is lost, the API server keeps the connection open. kshell learns of
// the loss from the pod's status.
func TestShell_NodeLost(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string]bool{"it does not answer": false, "it answers": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
			c.prompt()
			undo := func() {}
			if !answers {
				undo = s.Inject(sandbox.Fault{
					Code: http.StatusInternalServerError, Body: "error dialing backend: no route to host",
				})
			}
			setReady := func(status corev1.ConditionStatus) {
				if err := s.ChangePod("default", "web", func(p *corev1.Pod) {
					p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}
				}); err != nil {
					t.Error(err)
				}
			}
			setReady(corev1.ConditionUnknown)
			c.waitFor(`kshell: warning: the cluster has lost contact with node "node1", which runs pod "web"\r\n`)
			if !answers {
				c.waitFor(`trying again in [0-9]+ s`)
				undo()
				setReady(corev1.ConditionTrue)
				c.keys("\r")
				c.waitFor(newShell)
			}
			c.keys("\r")
			c.prompt()
			c.keys("exit 6\r")
			c.mustEnd(6)
		})
	}
}

// kshell does not wait for the server to report the end of a deleted pod.
func TestExec_PodDeleted(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"--exact=auto", "--exact=never"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			s.Inject(sandbox.Fault{Times: 1, Do: sandbox.StallWrite, When: sandbox.AfterSent, N: 1000})
			var errs strings.Builder
			cmd := command(t, s, "exec", mode, "web", "--", "sh", "-c", "seq 1000; echo >stalled; sleep 1000")
			cmd.Stderr = &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waitFile(t, path.Join(s.Dir("default", "web", "web"), "stalled"), "\n")
			if err := s.DeletePod("default", "web", 0); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // the exit code is checked below
			want := regexp.MustCompile(`\nkshell: ` + podDeleted("web") + ` before the command reported a result\n$`)
			if code := cmd.ProcessState.ExitCode(); code != outcome.ExitFailed || !want.MatchString("\n"+errs.String()) {
				t.Errorf("exit code %d, stderr %q", code, errs.String())
			}
		})
	}
}

func TestShell_ReconnectNever(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "--reconnect", "never", "web", "--", "sh")
	c.prompt()
	s.Restart()
	c.mustEnd(outcome.ExitFailed)
	c.waitFor("kshell: connection lost: ")
	if all := c.all(); regexp.MustCompile(newShell).Match(all) {
		t.Errorf("reconnected: %q", all)
	}
}

// The server reports success while the shell is still running.
func TestShell_FalseSuccess(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(sandbox.Fault{Times: 1, Do: sandbox.SaySuccess, When: sandbox.AfterSent, N: 1000})
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	c.keys("seq 2000\r")
	c.waitFor(`kshell: warning: connection lost: the server reports that the shell has ended, but it still runs\r\n`)
	c.waitFor(newShell)
	c.prompt()
	c.keys("exit 3\r")
	c.mustEnd(3)
}

func TestExec_TTYCommandEndsWithoutInput(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sleep", "0.5")
	c.mustEnd(0)
	if out := string(c.all()); out != "" {
		t.Errorf("output %q", out)
	}
}
