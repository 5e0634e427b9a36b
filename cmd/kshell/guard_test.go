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

// podOf is the pod that the last session is in.
func podOf(t *testing.T, s *sandbox.Server) string {
	t.Helper()
	awaitSessions(t, s, func(all []sandbox.Session) bool { return len(all) > 0 })
	all := s.Sessions()
	return path.Base(path.Dir(all[len(all)-1].Path))
}

const anew = `kshell: connected again after [0-9]+ s: this is a new shell\r\n`

func TestAShellFollowsItsDeploymentToAnotherPod(t *testing.T) {
	t.Parallel()
	s := runSandbox(t, sandbox.Config{})
	c := open(t, s, program(t), "exec", "-it", "deploy/web", "--", "sh")
	c.prompt()
	before := podOf(t, s)
	if err := s.DeletePod("default", before, 0); err != nil {
		t.Fatal(err)
	}
	c.await(`kshell: warning: (pod "` + before + `" was deleted|container "web" of pod "` + before + `" ended with exit code [0-9]+; the pod is being deleted)\r\n`)
	c.await(`kshell: continuing in pod web-\S+\r\n`)
	c.await(anew)
	c.prompt()
	if after := podOf(t, s); after == before || !strings.HasPrefix(after, "web-") {
		t.Errorf("went on in %s, after %s", after, before)
	}
	c.keys("exit 4\r")
	c.mustEnd(4)
}

func TestAShellInAPodOfItsOwnEndsWithIt(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	if err := s.DeletePod("default", "web", 0); err != nil {
		t.Fatal(err)
	}
	c.mustEnd(137)
	c.await(`(?m)(^|\x1b8)kshell: warning: (pod "web" was deleted|container "web" of pod "web" ended with exit code [0-9]+; the pod is being deleted)\r\n`)
}

// What has a pod's name need not be the pod.
func TestAShellIsNotTakenUpInAnotherPodOfTheSameName(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	up := s.Down()
	c.await("trying again in [0-9]+ s")
	if err := s.DeletePod("default", "web", 0); err != nil {
		t.Fatal(err)
	}
	for { // until it is gone
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
	c.await(`kshell: pod "web" was deleted( and replaced by another pod of the same name)?\r\n`)
	c.await(`hint: type .kubectl get pods -n default. to list the pods`)
}

func TestAContainerThatWasStartedAnewIsTold(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	killMain(t, s)
	c.mustEnd(137)
	c.await(lineBegins(`kshell: warning: container "web" of pod "web" ended with exit code 137`))
}

func TestAShellIsTakenUpInAContainerThatWasStartedAnew(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	up := s.Down()
	c.await("trying again in [0-9]+ s")
	killMain(t, s)
	awaitRestart(t, s)
	up()
	c.keys("\r")
	c.await(`kshell: warning: container "web" of pod "web" ended with exit code 137.* and was restarted\r\n`)
	c.await(anew)
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
	c.await("trying again in [2-9] s")
	killMain(t, s)
	awaitRestart(t, s)
	c.await(`kshell: warning: container "web" of pod "web" ended with exit code 137.* and was restarted\r\n`)
	undo()
	c.keys("\r")
	c.await(anew)
	c.prompt()
	c.keys("exit 5\r")
	c.mustEnd(5)
}

// The node may be starting the container, although the API says that it runs.
func TestAShellWaitsForAContainerThatIsBeingStartedAnew(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	undo := s.Inject(sandbox.Fault{NotRunning: true})
	s.Restart()
	c.await(`kshell: warning: the server reported a failure: .*container not found \("web"\)`)
	c.await("trying again in [0-9]+ s")
	undo()
	c.keys("\r")
	c.await(anew)
	c.prompt()
	c.keys("exit 5\r")
	c.mustEnd(5)
	s.Inject(sandbox.Fault{NotRunning: true})
	never := open(t, s, program(t), "exec", "-it", "web", "--", "sh") // where none has been seen, none is awaited
	never.mustEnd(outcome.ExitFailed)
	never.await("hint: the container is not running")
}

// What is being deleted is not given up as lost before it is known how it ended.
func TestTheEndOfAPodThatIsBeingDeletedIsAwaited(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "--reconnect=never", "web", "--", "sh")
	c.prompt()
	if err := s.ChangePod("default", "web", func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: time.Now()} }); err != nil {
		t.Fatal(err)
	}
	c.await(`kshell: warning: pod "web" is being deleted\r\n`)
	s.Restart()
	time.Sleep(300 * time.Millisecond) // it is as well heard of at once
	killMain(t, s)
	c.await(`kshell: container "web" of pod "web" ended with exit code 137( and was restarted)?; the pod is being deleted\r\n`)
	c.mustEnd(outcome.ExitFailed)
}

// killMain kills what runs in web, its first process too.
func killMain(t *testing.T, s *sandbox.Server) {
	t.Helper()
	pids := s.Pids("default", "web", "web")
	if len(pids) == 0 {
		t.Fatal("nothing runs in web")
	}
	for _, pid := range pids {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) { // it ended with the first
			t.Error(err)
		}
	}
}

// awaitRestart waits until web's container runs anew, and the API says so.
func awaitRestart(t *testing.T, s *sandbox.Server) {
	t.Helper()
	for late, anew := time.After(deadline), false; !anew; {
		if err := s.ChangePod("default", "web", func(p *corev1.Pod) {
			now := p.Status.ContainerStatuses[0]
			anew = now.RestartCount > 0 && now.State.Running != nil
		}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-late:
			t.Fatal("the container was not started anew")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A node that is gone lets nobody know. The API server keeps the socket alive.
func TestAShellOnALostNodeIsGivenUpWhenItDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for name, answers := range map[string]bool{"it does not answer": false, "it answers": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
			c.prompt()
			undo := func() {}
			if !answers {
				undo = s.Inject(sandbox.Fault{Code: http.StatusInternalServerError, Body: "error dialing backend: no route to host"})
			}
			doubt := func(status corev1.ConditionStatus) {
				if err := s.ChangePod("default", "web", func(p *corev1.Pod) {
					p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: status}}
				}); err != nil {
					t.Error(err)
				}
			}
			doubt(corev1.ConditionUnknown)
			c.await(`kshell: warning: the cluster has lost contact with node "sandbox", which runs pod "web"\r\n`)
			if !answers {
				c.await(`trying again in [0-9]+ s`)
				undo()
				doubt(corev1.ConditionTrue)
				c.keys("\r")
				c.await(anew)
			}
			c.keys("\r")
			c.prompt()
			c.keys("exit 6\r")
			c.mustEnd(6)
		})
	}
}

// A server that does not say that the pod is gone is not waited for.
func TestACommandInADeletedPodDoesNotHang(t *testing.T) {
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
			awaitFile(t, path.Join(s.Dir("default", "web", "web"), "stalled"), "\n")
			if err := s.DeletePod("default", "web", 0); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // its code is looked at
			want := regexp.MustCompile(`\nkshell: (pod "web" was deleted|container "web" of pod "web" ended with exit code [0-9]+; the pod is being deleted) before the command reported a result\n$`)
			if code := cmd.ProcessState.ExitCode(); code != outcome.ExitFailed || !want.MatchString("\n"+errs.String()) {
				t.Errorf("exit code %d, stderr %q", code, errs.String())
			}
		})
	}
}

func TestReconnectNeverIsHeeded(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "--reconnect", "never", "web", "--", "sh")
	c.prompt()
	s.Restart()
	c.mustEnd(outcome.ExitFailed)
	c.await("kshell: connection lost: ")
	if all := c.all(); regexp.MustCompile(anew).Match(all) {
		t.Errorf("it was taken up again: %q", all)
	}
}

// A server's success is no end of a shell that runs.
func TestASuccessThatIsNoneIsALoss(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(sandbox.Fault{Times: 1, Do: sandbox.SaySuccess, When: sandbox.AfterSent, N: 1000})
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sh")
	c.prompt()
	c.keys("seq 2000\r")
	c.await(`kshell: warning: connection lost: the server reports that the shell has ended, but it still runs\r\n`)
	c.await(anew)
	c.prompt()
	c.keys("exit 3\r")
	c.mustEnd(3)
}

// What ends by itself is asked for, and that was all.
func TestACommandOnATerminalMayEndWhileNobodyTypes(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "-it", "web", "--", "sleep", "0.5")
	c.mustEnd(0)
	if said := string(c.all()); said != "" {
		t.Errorf("said %q", said)
	}
}
