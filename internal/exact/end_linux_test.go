package exact

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestScript_ExitCodes(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for code := range 256 {
			if *runs < 256 && code > 3 && code < 250 && code != 64 && (code < 124 || code > 131) {
				continue // -runs 256 tests all codes
			}
			shell.run(t, Options{}, sh("exit "+fmt.Sprint(code))).check(code, "")
		}
	})
}

func TestScript_ExitCodesOfSignals(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for signal, code := range map[string]int{
			"KILL": 137, "INT": 130, "TERM": 143, "HUP": 129, "USR1": 138, "PIPE": 141,
		} {
			shell.run(t, Options{}, sh("echo out; ulimit -c 0; kill -"+signal+" $$; echo not this")).check(code, "out\n")
		}
	})
}

// A command may send a signal to its own process group. The script belongs to
// this group, and must survive the signal.
func TestScript_SignalToGroup(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for _, signal := range []string{"TERM", "INT", "HUP", "QUIT"} {
			r := shell.run(t, Options{}, sh(`trap "" $1; kill -$1 0; echo out; exit 5`, signal))
			r.check(5, "out\n")
			if code := map[string]int{"TERM": 143, "INT": 130, "HUP": 129}[signal]; code > 0 {
				shell.run(t, Options{}, sh(`kill -$1 0; sleep 9`, signal)).check(code, "")
			}
		}
	})
}

// If the script is killed with the process group, there is no exit code.
func TestScript_GroupKilled(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		r := shell.run(t, Options{}, sh(`echo out; kill -KILL 0; sleep 9`))
		if state, _ := r.State(); state != Running {
			t.Errorf("state %d, want Running", state)
		}
	})
}

func TestScript_LargeOutput(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		dir := t.TempDir()
		out, errs := randomBytes(2<<20), randomBytes(1<<20+1)
		write(t, dir, "out", out)
		write(t, dir, "errs", errs)
		r := shell.run(t, Options{}, sh("cat out & cat errs >&2; wait; exit 7"), withDir(dir))
		r.check(7, string(out))
		if !bytes.Equal(r.stderr.Bytes(), errs) {
			t.Errorf("stderr: %d bytes, want %d, or their content differs", r.stderr.Len(), len(errs))
		}
	})
}

func write(t *testing.T, dir, name string, p []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), p, 0o600); err != nil {
		t.Fatal(err)
	}
}

// pausingWriter pauses before its first Write.
type pausingWriter struct {
	bytes.Buffer
	pause time.Duration
}

func (p *pausingWriter) Write(b []byte) (int, error) {
	time.Sleep(p.pause)
	p.pause = 0
	return p.Buffer.Write(b)
}

func TestScript_ClientPauses(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		dir := t.TempDir()
		out := randomBytes(1 << 20)
		write(t, dir, "out", out)
		writer := &pausingWriter{pause: 2 * time.Second}
		r := shell.run(t, Options{Stdout: writer}, sh("cat out; exit 3"), withDir(dir))
		r.check(3, "")
		if !bytes.Equal(writer.Bytes(), out) {
			t.Errorf("stdout: %d bytes, want %d, or their content differs", writer.Len(), len(out))
		}
	})
}

// A command may set its stdout to non-blocking mode and end when the pipe is
// full. The script nevertheless reports the end after the output.
func TestScript_NonblockingPipe(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	eachShell(t, func(t *testing.T, shell shell) {
		writer := &pausingWriter{pause: 1500 * time.Millisecond}
		r := shell.run(t, Options{Stdout: writer}, []string{self, nonblockingCommand})
		r.check(9, "")
		if got := fmt.Sprint(writer.Len()); got != r.stderr.String() {
			t.Errorf("%s bytes arrived, %s were written", got, &r.stderr)
		}
	})
}

// A child of the command that keeps stdout open does not delay the end of the
// run, and continues to run.
func TestScript_BackgroundChild(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		from := time.Now()
		r := shell.run(t, Options{}, sh("sleep 600 & echo started; exit 2"))
		r.check(2, "started\n")
		if took := time.Since(from); took > 2*waitLimit {
			t.Errorf("the run took %s", took)
		}
		eventually(t, "only the sleep is running", func() bool { // before the exec of sleep, the child is still a shell
			left := r.members()
			return len(left) == 1 && strings.Contains(left[0], "sleep")
		})
	})
}

// The user answers a prompt that looks like the beginning of a mark, so the
// prompt must be shown before more input is sent.
func TestScript_PromptLikeAMark(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		seen := make(chan struct{})
		answer, out := &triggerWriter{text: markStart, seen: seen}, &bytes.Buffer{}
		r := shell.run(t, Options{
			Stdin:  io.MultiReader(strings.NewReader("first\n"), gatedReader{seen, strings.NewReader("second\n")}),
			Stdout: io.MultiWriter(out, answer),
		}, sh(`read -r a; printf '%s\036' "$a"; read -r b; printf '%s' "$b"; exit 6`))
		r.check(6, "")
		if got := out.String(); got != "first"+markStart+"second" {
			t.Errorf("stdout: %q", got)
		}
	})
}

type triggerWriter struct {
	text string
	seen chan struct{}
}

func (a *triggerWriter) Write(p []byte) (int, error) {
	if a.text != "" && strings.Contains(string(p), a.text) {
		close(a.seen)
		a.text = ""
	}
	return len(p), nil
}

type gatedReader struct {
	seen chan struct{}
	io.Reader
}

func (a gatedReader) Read(p []byte) (int, error) {
	<-a.seen
	return a.Reader.Read(p)
}

// The answers to pings arrive within the output, and are not part of it.
func TestScript_PingsDuringOutput(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		dir := t.TempDir()
		out := randomBytes(1 << 20)
		write(t, dir, "out", out)
		r := shell.start(t, Options{}, sh("dd if=out bs=1000 2>/dev/null; exit 1"), withDir(dir))
		go r.sendStdin(1 << 62)
		for range 200 {
			r.stdin.ping()
			time.Sleep(time.Millisecond) // spreads the pings over the run; nothing depends on it
		}
		r.wait()
		r.check(1, string(out))
	})
}

func TestScript_RandomRuns(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		seed := rand.Uint64()
		random := rand.New(rand.NewPCG(seed, 0))
		for i := range *runs {
			randomRun(t, shell, random)
			if t.Failed() {
				t.Fatalf("run %d of seed %d", i, seed)
			}
		}
	})
}

func randomRun(t *testing.T, shell shell, random *rand.Rand) {
	dir, mark := t.TempDir(), ""
	content := func(maxBits int) []byte {
		seed := randomBytes(random.IntN(1 << random.IntN(maxBits)))
		if random.IntN(2) == 0 {
			return seed
		}
		return []byte(markLike(mark, seed))
	}
	in, code := randomBytes(random.IntN(1<<random.IntN(21))), random.IntN(256)
	var out, errs []byte
	command := sh(`cat out; cat errs >&2; sha256sum >sum; cat tail; exit "$1"`, fmt.Sprint(code))
	o := Options{Stdin: oddReader{bytes.NewReader(in), random, 1 << 20}}
	r := shell.start(t, o, command, withDir(dir), func(r *shellRun) {
		mark = markStart + r.mark // content uses mark to make output that looks like a mark
		out, errs = content(18), content(18)
		write(t, dir, "out", out)
		write(t, dir, "errs", errs)
		write(t, dir, "tail", []byte(mark[:random.IntN(len(mark))]))
	})
	go r.sendStdin(1 << 62)
	r.wait()
	tail, _ := os.ReadFile(filepath.Join(dir, "tail"))
	r.check(code, string(out)+string(tail))
	if !bytes.Equal(r.stderr.Bytes(), errs) {
		t.Errorf("stderr: %d bytes, want %d, or their content differs", r.stderr.Len(), len(errs))
	}
	if got, _ := os.ReadFile(filepath.Join(dir, "sum")); !strings.HasPrefix(string(got), sum(in)) {
		t.Errorf("stdin of %d bytes arrived with the checksum %.20q", len(in), got)
	}
}
