package exact

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"kshell/test/cgroup"
)

// withForkLimit starts the remote in a new cgroup that allows forks+1 processes
// at a time: the shell that runs the script, and forks further processes.
func withForkLimit(t *testing.T, forks int) setup {
	t.Helper()
	dir := cgroup.New(t)
	cgroup.SetLimit(t, dir, forks+1)
	return inCgroup(dir)
}

// inCgroup starts the remote in the cgroup dir.
func inCgroup(dir string) setup {
	return func(r *shellRun) {
		enter := []string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(dir, "cgroup.procs"), r.cmd.Path}
		r.cmd.Path, r.cmd.Args = "/bin/sh", append(enter, r.cmd.Args[1:]...)
	}
}

// forEachLimit runs a test with each limit from 0 to 8 forks. 8 forks are
// enough for the script.
func forEachLimit(t *testing.T, test func(t *testing.T, shell shell, forks int)) {
	eachShell(t, func(t *testing.T, shell shell) {
		for forks := range 9 {
			t.Run(fmt.Sprint(forks), func(t *testing.T) {
				if shell.name == "bash" && *runs < 256 {
					t.Skip("bash retries each failed fork for 15 s: run with -runs 256")
				}
				t.Parallel()
				test(t, shell, forks)
			})
		}
	})
}

// waitForEnd waits until both streams have ended, and returns the state.
func (r *shellRun) waitForEnd() State {
	r.t.Helper()
	late := time.After(2 * waitLimit) // bash retries a failed fork
	for reported, left := false, streamCount; !reported && left > 0; left-- {
		select {
		case err := <-r.streamEnds:
			reported = errors.Is(err, ErrEnded)
		case <-late:
			state, _ := r.State()
			r.t.Fatalf("no end: state %d, processes %q", state, r.members())
		}
	}
	r.close()
	r.waitUntilGone(waitLimit)
	state, _ := r.State()
	return state
}

// stdinLength returns the number of bytes in the pipe to the script.
func (r *shellRun) stdinLength() (n int) {
	r.t.Helper()
	conn, err := r.pipes[0].SyscallConn()
	if err == nil {
		err = conn.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

func TestForkFailure_NoFalseResult(t *testing.T) {
	forEachLimit(t, func(t *testing.T, shell shell, forks int) {
		r := shell.start(t, Options{}, sh("echo ran; exit 7"), withForkLimit(t, forks))
		go r.sendStdin(1 << 62)
		switch state := r.waitForEnd(); {
		case state == Ended:
			r.check(7, "ran\n")
		case state != NotStarted, forks > 4, r.stdout.Len() > 0:
			t.Errorf("state %d, stdout %q; want Ended (%d) or, with up to 4 forks, NotStarted (%d) and no output",
				state, &r.stdout, Ended, NotStarted)
		}
	})
}

func TestForkFailure_InputEndsOnlyAtItsEnd(t *testing.T) {
	in := randomBytes(300_001)
	forEachLimit(t, func(t *testing.T, shell shell, forks int) {
		r := shell.start(t, Options{Stdin: bytes.NewReader(in)}, []string{"cat"}, withForkLimit(t, forks))
		go r.sendStdin(1 << 62)
		switch state := r.waitForEnd(); {
		case state == Ended:
			r.check(0, string(in))
		case forks > 6:
			t.Errorf("state %d with %d forks", state, forks)
		case state == NotStarted && r.stdout.Len() == 0, state == Failed:
		default:
			t.Errorf("state %d, %d bytes on stdout", state, r.stdout.Len())
		}
	})
}

// partPeeker implements Peeker. Only the beginning of the input is available at once.
type partPeeker struct{ *bytes.Reader }

// Peek implements Peeker.
func (p partPeeker) Peek(limit int) []byte {
	part := make([]byte, min(100, limit))
	n, _ := p.ReadAt(part, 0)
	return part[:n]
}

func TestForkFailure_NoPartialFile(t *testing.T) {
	in := randomBytes(300_001)
	forEachLimit(t, func(t *testing.T, shell shell, forks int) {
		for _, script := range []string{
			"cat >up.part && mv up.part up",
			"trap 'exit 1' TERM; cat >up.part; mv up.part up",
			"trap '' TERM; cat >up.part; mv up.part up",
		} {
			dir := t.TempDir()
			o := Options{Stdin: partPeeker{bytes.NewReader(in)}}
			r := shell.start(t, o, sh(script), withDir(dir), withForkLimit(t, forks))
			go r.sendStdin(1 << 62)
			state := r.waitForEnd()
			_, code := r.State()
			got, err := os.ReadFile(filepath.Join(dir, "up"))
			switch {
			case err == nil && !bytes.Equal(got, in):
				t.Errorf("%s: state %d, code %d: %d bytes of %d were committed", script, state, code, len(got), len(in))
			case state == Ended && code == 0 && err != nil:
				t.Errorf("%s: code 0 without a file; stderr %q", script, &r.stderr)
			case state == Ended && code != 0 && !strings.Contains(r.stderr.String(), "ork"): // no fork failed
				t.Errorf("%s: code %d; stderr %q", script, code, &r.stderr)
			case state != Ended && (forks > 7 || state != NotStarted && state != Failed):
				t.Errorf("%s: state %d", script, state)
			}
		}
	})
}

// At the process limit, the script must read the rest of the input (here 64 KiB of empty
// lines) without starting processes for each line: otherwise, waitForEnd fails after its
// time limit.
func TestForkFailure_RestOfInput(t *testing.T) {
	forEachLimit(t, func(t *testing.T, shell shell, forks int) {
		group, dir := cgroup.New(t), t.TempDir()
		o := Options{Stdin: bytes.NewReader(bytes.Repeat([]byte("\n"), 2*maxBlock))}
		goOn := filepath.Join(dir, "go")
		if err := unix.Mkfifo(goOn, 0o600); err != nil {
			t.Fatal(err)
		}
		fifo, err := os.OpenFile(goOn, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = fifo.Close() }()
		r := shell.start(t, o, sh("read -r line <go; exit 7"), withDir(dir), inCgroup(group))
		go r.sendStdin(1 << 62)
		eventually(t, "the pipe is full", func() bool { return r.stdinLength() > pipeCapacity-os.Getpagesize() })
		cgroup.SetLimit(t, group, forks+1)
		if _, err := fifo.WriteString("\n"); err != nil {
			t.Fatal(err)
		}
		if state := r.waitForEnd(); state != Ended && state != Failed {
			t.Errorf("state %d, want Ended (%d) or Failed (%d)", state, Ended, Failed)
		}
	})
}

func TestForkFailure_Terminal(t *testing.T) {
	forEachLimit(t, func(t *testing.T, shell shell, forks int) {
		s := NewShell(nil, "")
		var out bytes.Buffer
		terminal := s.Output(&out)
		command := s.Command(sh("echo ran; exit 5"))
		cmd := &exec.Cmd{Path: shell.path, Args: command, Env: shell.env, Stdout: terminal, Stderr: terminal}
		withForkLimit(t, forks)(&shellRun{cmd: cmd})
		_ = cmd.Run() // the outcome is in cmd.ProcessState
		switch code := cmd.ProcessState.ExitCode(); {
		case s.State() == Running && out.String() == "ran\n" && code == 5:
		case s.State() != NotStarted || out.Len() > 0 || forks > 1:
			t.Errorf("state %d, code %d, output %q", s.State(), code, &out)
		}
	})
}
