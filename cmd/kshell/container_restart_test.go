//go:build unix

package main

import (
	"bytes"
	"net/http"
	"path"
	"regexp"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/sandbox"
)

// laggingSandbox runs a sandbox with a pod web, whose status shows the end of
// its container only 700 ms later.
func laggingSandbox(t *testing.T) *sandbox.Server {
	t.Helper()
	s := runSandbox(t, sandbox.Config{Empty: true, StatusDelay: 700 * time.Millisecond})
	p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}}}}
	p.Name = "web"
	if err := s.AddPod(p); err != nil {
		t.Fatal(err)
	}
	return s
}

// killInit kills the first process of container web, as `kill 1` in it does,
// and thus all its processes.
func killInit(t *testing.T, s *sandbox.Server, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

const restarted = `kshell: warning: container "web" of pod "web" ended with exit code 137( and was restarted)?\r?\n`

// If a command or a shell ends because its container has ended, kshell says so
// and exits with the reported code, in every mode.
func TestContainerRestarts_Command(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"exact":            nil,
		"exact, output":    {"-i"},
		"plain":            {"--exact=never"},
		"plain, v4":        {"--exact=never", "--subprotocol", "v4.channel.k8s.io"},
		"always reconnect": {"--reconnect=always"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := laggingSandbox(t)
			init := s.Pids("default", "web", "web")[0]
			args := append([]string{"exec"}, args...)
			cmd := command(t, s, append(args, "web", "--", "sh", "-c", "echo >up; exec sleep 1000")...)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waitFile(t, path.Join(s.Dir("default", "web", "web"), "up"), "\n")
			killInit(t, s, init)
			_ = cmd.Wait() // the exit code is checked below
			want := regexp.MustCompile("^" + restarted + "$")
			if code := cmd.ProcessState.ExitCode(); code != 137 || !want.MatchString(errs.String()) || out.Len() > 0 {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, &out, &errs)
			}
		})
	}
}

func TestContainerRestarts_Terminal(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"shell":        {"web"},
		"command":      {"-it", "web", "--", "sh", "-c", "echo '$ '; sleep 1000"},
		"never exact":  {"-it", "--exact=never", "web", "--", "sh"},
		"no reconnect": {"-it", "--reconnect=never", "web", "--", "sh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := laggingSandbox(t)
			init := s.Pids("default", "web", "web")[0]
			c := open(t, s, program(t), append([]string{"exec"}, args...)...)
			c.prompt()
			killInit(t, s, init)
			c.mustEnd(137)
			c.waitFor(`(?m)(^|\x1b8)` + restarted)
		})
	}
}

// If a command ends with code 137 while its container continues to run, kshell
// says nothing about the container. In exact mode the script has reported the
// code, which shows that the container runs: kshell asks for the pod's status
// once at most, and does not wait for a change.
func TestContainerRestarts_ContainerStillRuns(t *testing.T) {
	t.Parallel()
	s := laggingSandbox(t)
	var requests atomic.Int32
	s.Inject(sandbox.Fault{Path: "/pods/web", Method: http.MethodGet, Seen: func() { requests.Add(1) }})
	run := func(code int, args ...string) int32 {
		t.Helper()
		before := requests.Load()
		var errs bytes.Buffer
		cmd := command(t, s, append([]string{"exec"}, args...)...)
		cmd.Env = append(cmd.Env, shortLimits+"=1") // with --exact=never, kshell waits for limits.Reason
		cmd.Stderr = &errs
		_ = cmd.Run() // the exit code is checked below
		if got := cmd.ProcessState.ExitCode(); got != code || errs.Len() > 0 {
			t.Errorf("%q: exit code %d, stderr %q; want %d", args, got, &errs, code)
		}
		return requests.Load() - before
	}
	if usual, killed := run(0, "web", "--", "true"), run(137, "web", "--", "sh", "-c", "kill -9 $$"); killed > usual+1 {
		t.Errorf("in exact mode: %d requests for the pod, %d by a command that succeeds", killed, usual)
	}
	run(137, "--exact=never", "web", "--", "sh", "-c", "kill -9 $$")
}
