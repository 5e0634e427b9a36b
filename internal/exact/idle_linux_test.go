package exact

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kshell/test/cgroup"
)

// endAfterGo is a command that reads a line from its stdin, and ends with the
// code 7 when a writer has opened and closed the FIFO named go.
var endAfterGo = sh("read -r line; read -r line <go; exit 7")

// startEndAfterGo starts endAfterGo, calls before while the command reads the
// FIFO, and then ends the command. It returns when the end was reported.
func (sh shell) startEndAfterGo(t *testing.T, o Options, before func(), setups ...setup) *shellRun {
	t.Helper()
	dir := t.TempDir()
	name := filepath.Join(dir, "go")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	r := sh.start(t, o, endAfterGo, append(setups, withDir(dir))...)
	go r.sendStdin(1 << 62)
	eventually(t, "the rest of the script is sent", func() bool {
		state, _ := r.State()
		r.stdin.mu.Lock()
		defer r.stdin.mu.Unlock()
		return state == Running && !r.stdin.restDue
	})
	fifo, err := os.OpenFile(name, os.O_WRONLY, 0) // blocks until the command reads
	if err != nil {
		t.Fatal(err)
	}
	before()
	_ = fifo.Close()
	eventually(t, "the end of the command is reported", func() bool {
		state, _ := r.State()
		return state != Running
	})
	r.check(7, "")
	return r
}

// lineAndMore returns an input that begins with a line and does not end.
func lineAndMore() io.Reader { return io.MultiReader(strings.NewReader("line\n"), &endlessReader{}) }

// stopped is a writer whose Write closes began, and blocks until resume is
// closed.
type stopped struct{ began, resume chan struct{} }

func (s stopped) Write(p []byte) (int, error) {
	select {
	case <-s.began:
	default:
		close(s.began)
	}
	<-s.resume
	return len(p), nil
}

// fillPipe is a command that writes one byte, waits for the file named go, and
// writes as many bytes as a pipe can hold. If the client reads only the first
// byte, the script cannot report the end of the command on stdout.
var fillPipe = sh(`printf x; until [ -e go ]; do sleep 0.05; done; head -c "$1" /dev/zero; exit 7`,
	fmt.Sprint(pipeCapacity))

// startFillPipe starts fillPipe with a client that reads only the first byte.
func (sh shell) startFillPipe(t *testing.T, o Options) (r *shellRun, stdout stopped) {
	t.Helper()
	stdout = stopped{make(chan struct{}), make(chan struct{})}
	o.Stdout = stdout
	dir := t.TempDir()
	r = sh.start(t, o, fillPipe, withDir(dir))
	go r.sendStdin(1 << 62)
	select {
	case <-stdout.began:
	case <-time.After(waitLimit):
		t.Fatal("the command does not start")
	}
	write(t, dir, "go", nil)
	return r, stdout
}

// After the end of the command, the script waits for a limited time for a client
// that sends nothing: the connection may be lost, and the servers may not have
// noticed it.
func TestScript_SilentClient(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		t.Run("no input", func(t *testing.T) {
			t.Parallel()
			r := shell.startEndAfterGo(t, Options{idleLimit: 2 * time.Second}, func() {})
			r.waitUntilGone(waitLimit)
			<-r.exited
			if code := r.cmd.ProcessState.ExitCode(); code != 7 {
				t.Errorf("exit code %d of the script, want 7", code)
			}
		})
		t.Run("input", func(t *testing.T) {
			t.Parallel()
			o := Options{Stdin: lineAndMore(), idleLimit: 10 * time.Second}
			r := shell.startEndAfterGo(t, o, func() {})
			r.waitUntilGone(2 * waitLimit)
		})
		t.Run("input, ALRM is ignored", func(t *testing.T) {
			t.Parallel()
			o := Options{Stdin: lineAndMore(), idleLimit: 10 * time.Second}
			r := shell.startEndAfterGo(t, o, func() {}, withIgnored("ALRM"))
			r.waitUntilGone(2 * waitLimit)
		})
		t.Run("output", func(t *testing.T) {
			t.Parallel()
			r, stdout := shell.startFillPipe(t, Options{idleLimit: 2 * time.Second})
			r.checks.Stop()
			r.waitUntilGone(2 * waitLimit)
			close(stdout.resume)
		})
	})
}

// withIgnored starts the remote with an ignored signal, which no shell can trap.
func withIgnored(signal string) setup {
	return func(r *shellRun) {
		ignore := []string{"sh", "-c", `trap "" "$0"; exec "$@"`, signal, r.cmd.Path}
		r.cmd.Path, r.cmd.Args = "/bin/sh", append(ignore, r.cmd.Args[1:]...)
	}
}

// A client that has not received all output sends empty lines. The script then
// stays until the client has received everything.
func TestScript_SlowClient(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for name, input := range map[string]io.Reader{"no input": nil, "input": lineAndMore()} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				const limit = 10 * time.Second
				r, stdout := shell.startFillPipe(t, Options{Stdin: input, idleLimit: limit})
				for until := time.Now().Add(2 * limit); time.Now().Before(until); time.Sleep(limit / 20) {
					r.stdin.check()
				}
				select {
				case <-r.exited:
					t.Error("the script has ended")
				default:
				}
				eventually(t, "no process is a zombie", func() bool { return r.zombies() == 0 })
				close(stdout.resume)
				r.wait()
				if state, code := r.State(); state != Ended || code != 7 {
					t.Errorf("state %d, code %d", state, code)
				}
			})
		}
	})
}

// zombies returns the number of zombies in the session.
func (r *shellRun) zombies() (n int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // state, parent, group, session
		if len(fields) > 3 && fields[0] == "Z" && fields[3] == fmt.Sprint(r.sid()) {
			n++
		}
	}
	return n
}

// If the script cannot start a process after the end of the command, it still
// waits for the client.
func TestForkFailure_AfterEnd(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		if shell.name == "bash" && *runs < 256 {
			t.Skip("bash retries each failed fork for 15 s: run with -runs 256")
		}
		for _, input := range []bool{false, true} {
			for forks := range 4 {
				t.Run(fmt.Sprintf("%d/input %t", forks, input), func(t *testing.T) {
					t.Parallel()
					group := cgroup.New(t)
					cgroup.SetLimit(t, group, 20)
					o := Options{idleLimit: 100 * time.Second}
					if input {
						o.Stdin = lineAndMore()
					}
					const processes = 2 // the script's own
					limit := func() { cgroup.SetLimit(t, group, processes+forks) }
					r := shell.startEndAfterGo(t, o, limit, inCgroup(group))
					for range 3 {
						if _, err := r.pipes[0].WriteString("\n"); err != nil {
							t.Fatal(err)
						}
						eventually(t, "the script reads", func() bool { return pipedBytes(t, r.pipes[0]) == 0 })
					}
					select {
					case <-r.exited:
						t.Error("the script has ended")
					default:
					}
					r.close()
					r.waitUntilGone(waitLimit)
				})
			}
		}
	})
}
