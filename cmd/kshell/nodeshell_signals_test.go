//go:build unix

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/outcome"
	"kshell/internal/sandbox"
	"kshell/test/contract"
)

// nodeRun is a node-shell process without a terminal, in its own process group.
type nodeRun struct {
	*exec.Cmd
	err bytes.Buffer
}

// startOnNode returns a node-shell command with these arguments. If patient is
// set, kshell has the time limits of the other tests, else those of production.
func startOnNode(t *testing.T, s *sandbox.Server, patient bool, more ...string) *nodeRun {
	t.Helper()
	r := &nodeRun{Cmd: command(t, s, append([]string{"node-shell", "--image", sandbox.NodeImage}, more...)...)}
	r.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	r.Stderr = &r.err
	if !patient {
		r.Env = append(r.Env, shortLimits+"=1")
	}
	return r
}

// signal sends a signal to the process, and a second one to its process group.
func (r *nodeRun) signal(first, second syscall.Signal) error {
	if err := syscall.Kill(r.Process.Pid, first); err != nil {
		return err
	}
	return syscall.Kill(-r.Process.Pid, second)
}

// timeout(1) and the job control of a shell send a signal twice: to the process
// and to its group. kshell counts both as one signal, and deletes the pod.
func TestNodeShell_SignalTwice(t *testing.T) {
	t.Parallel()
	const runs, workers = 50, 4
	pairs := [][2]syscall.Signal{
		{syscall.SIGTERM, syscall.SIGTERM},
		{syscall.SIGINT, syscall.SIGTERM},
		{syscall.SIGTERM, syscall.SIGINT},
		{syscall.SIGINT, syscall.SIGINT},
		{syscall.SIGQUIT, syscall.SIGTERM},
	}
	s := startSandbox(t)
	run := func(pair [2]syscall.Signal) error {
		r := startOnNode(t, s, true, "node1", "--", "sh", "-c", "echo started; exec sleep 600")
		out, err := r.StdoutPipe()
		if err != nil {
			return err
		}
		if err := r.Start(); err != nil {
			return err
		}
		if line, err := bufio.NewReader(out).ReadString('\n'); line != "started\n" {
			return fmt.Errorf("stdout %q, %w; stderr %q", line, err, r.err.String())
		}
		if err := r.signal(pair[0], pair[1]); err != nil {
			return err
		}
		_ = r.Wait()
		code := contract.ExitCode(r.ProcessState) // the signal with the lower number may arrive first
		if code != outcome.ExitSignal+int(pair[0]) && code != outcome.ExitSignal+int(pair[1]) {
			return fmt.Errorf("%v: exit code %d; stderr %q", pair, code, r.err.String())
		}
		return nil
	}
	var next atomic.Int32
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < runs; i = int(next.Add(1)) - 1 {
				if err := run(pairs[i%len(pairs)]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if left := nodePods(t, s); len(left) > 0 {
		t.Errorf("%d pods of %d are left", len(left), runs)
	}
}

// silentServer accepts connections and never answers. accepted is closed when
// the first connection was accepted.
func silentServer(t *testing.T) (address string, accepted chan struct{}) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	accepted = make(chan struct{})
	var serving sync.WaitGroup
	serving.Go(func() {
		for first := true; ; first = false {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if first {
				close(accepted)
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return listener.Addr().String(), accepted
}

// Parts of messages that differ from run to run.
var (
	podName   = regexp.MustCompile(`node-shell-node1-[a-z0-9]+`)
	clockTime = regexp.MustCompile(`at [0-9][0-9]:[0-9][0-9]:[0-9][0-9]`)
)

// Ctrl-C ends node-shell although the server does not answer, and kshell prints
// whether a pod may be left, and the command that deletes it.
func TestNodeShell_InterruptSilentServer(t *testing.T) {
	t.Parallel()
	const mayBeLeft = `kshell: warning: pod NAME may have been created in namespace default: ` +
		`the server did not answer; if so, it ends after 5m0s` +
		"\nhint: type `kubectl delete pod NAME -n default --ignore-not-found`\n"
	for name, test := range map[string]struct {
		fault   sandbox.Fault // without a Path: the server does not answer the TLS handshake
		created bool          // a pod is created before the signal
		left    bool          // a pod is left
		said    string
		bound   time.Duration
	}{
		"from the start": {said: "kshell: no pod was created\n", bound: 2 * time.Second},
		"first request":  {fault: sandbox.Fault{Path: "/"}, said: "kshell: no pod was created\n", bound: 2 * time.Second},
		"create is not answered": {
			fault: sandbox.Fault{Path: "/pods", Method: "POST"}, said: mayBeLeft, bound: 5 * time.Second,
		},
		"create succeeds and is not answered": {
			fault: sandbox.Fault{Path: "/pods", Method: "POST", Withhold: true}, created: true, bound: 5 * time.Second,
		},
		"the wait for the pod is not answered": {
			fault: sandbox.Fault{Path: "/pods/"},
			said: `kshell: warning: pod NAME in namespace default could not be deleted: the server did not answer; ` +
				"the pod ends 5m0s after the last heartbeat, and at TIME at the latest\n" +
				"hint: type `kubectl delete pod NAME -n default`\n",
			created: true, left: true, bound: 5 * time.Second,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			args, silent := []string{"node1", "--", "true"}, make(chan struct{})
			if f := test.fault; f.Path != "" {
				if !f.Withhold {
					f.Do = sandbox.Hang
				}
				f.Seen = sync.OnceFunc(func() { close(silent) })
				s.Inject(f)
			} else {
				var address string
				address, silent = silentServer(t)
				args = append([]string{"--server", "https://" + address}, args...)
			}
			r := startOnNode(t, s, false, args...)
			if err := r.Start(); err != nil {
				t.Fatal(err)
			}
			select {
			case <-silent:
			case <-time.After(deadline):
				t.Fatalf("no request has reached the server; stderr %q", r.err.String())
			}
			for test.created && len(nodePods(t, s)) == 0 {
				time.Sleep(time.Millisecond)
			}
			begin := time.Now()
			if err := r.Process.Signal(syscall.SIGINT); err != nil {
				t.Fatal(err)
			}
			_ = r.Wait()
			took := time.Since(begin)
			t.Logf("ended after %v", took.Round(time.Millisecond))
			if code := contract.ExitCode(r.ProcessState); code != 130 || took > test.bound {
				t.Errorf("exit code %d after %v", code, took)
			}
			s.Reset()
			left, said := nodePods(t, s), r.err.String()
			if (len(left) > 0) != test.left {
				t.Errorf("%d pods are left", len(left))
			}
			for _, pod := range left {
				if !strings.Contains(said, "kubectl delete pod "+pod.Name) {
					t.Errorf("pod %s is not named: %s", pod.Name, said)
				}
			}
			said = podName.ReplaceAllString(said, "NAME")
			said = clockTime.ReplaceAllString(said, "at TIME")
			if diff := cmp.Diff(test.said, said); diff != "" {
				t.Errorf("stderr (-want +got):\n%s", diff)
			}
		})
	}
}

// kshell warns that a pod may be left only if the server may have created one.
func TestNodeShell_CreateFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault sandbox.Fault
		get   sandbox.Fault // of the request for the pod; the zero value means none
		left  bool
	}{
		"refused":      {fault: sandbox.Fault{Code: 403, Body: "no"}},
		"server error": {fault: sandbox.Fault{Code: 500, Body: "broken"}},
		"no answer":    {fault: sandbox.Fault{Do: sandbox.RST}, left: true},
		"server error, then 404 of a proxy": {
			fault: sandbox.Fault{Code: 500, Body: "broken"}, get: sandbox.Fault{Code: 404, Body: "no route"}, left: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			test.fault.Path, test.fault.Method = "/pods", "POST"
			s.Inject(test.fault)
			if test.get.Code != 0 {
				test.get.Path, test.get.Method = "/pods/", "GET"
				s.Inject(test.get)
			}
			r := startOnNode(t, s, true, "node1", "--", "true")
			_ = r.Run()
			said := r.err.String()
			const failed = "kshell: cannot create a pod in namespace"
			if code := r.ProcessState.ExitCode(); code != outcome.ExitFailed || !strings.Contains(said, failed) {
				t.Errorf("exit code %d; stderr %q", code, said)
			}
			if got := strings.Contains(said, "may have been created"); got != test.left {
				t.Errorf("a pod may be left: %v, want %v; stderr %q", got, test.left, said)
			}
		})
	}
}
