package exact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// runningMessage is the script's message that the command runs, as process
// group 4321.
const runningMessage = messageRunning + "4321"

// scriptedRun is a Run for which the test simulates the remote.
type scriptedRun struct {
	*Run
	stdout, stderr bytes.Buffer
}

func newScriptedRun() *scriptedRun {
	f := &scriptedRun{}
	f.Run = New(Options{Stdout: &f.stdout, Stderr: &f.stderr})
	f.stdin.rest = nil
	return f
}

func (f *scriptedRun) message(words string) string { return markStart + f.mark + words + "\n" }

// writePieces writes p in pieces of the given sizes, and the rest of p in one
// piece.
func writePieces(w io.Writer, p string, sizes ...int) error {
	for _, n := range sizes {
		n = min(n, len(p))
		if _, err := w.Write([]byte(p[:n])); err != nil {
			return err
		}
		p = p[n:]
	}
	_, err := w.Write([]byte(p))
	return err
}

// markLike returns a copy of seed that contains parts of the mark: each byte
// whose value n is less than len(mark) is replaced by the first n bytes of the
// mark. The result does not contain the complete mark.
func markLike(mark string, seed []byte) string {
	var b strings.Builder
	for _, c := range seed {
		if int(c) < len(mark) {
			b.WriteString(mark[:c])
			continue
		}
		b.WriteByte(c)
	}
	content := b.String()
	for strings.Contains(content, mark) { // the output of a real command does not contain the complete mark
		content = strings.ReplaceAll(content, mark, "")
	}
	return content
}

func TestFilter_OutputUnchanged(t *testing.T) {
	mark := markStart + newScriptedRun().mark
	tests := map[string]string{
		"empty":                 "",
		"text":                  "a line\n",
		"the start of a mark":   markStart,
		"starts of marks":       strings.Repeat(markStart, 100),
		"half a mark":           mark[:len(mark)/2],
		"a mark but one byte":   mark[:len(mark)-1],
		"a mark but one, twice": mark[:len(mark)-1] + mark[:len(mark)-1],
		"a mark without start":  mark[1:],
		"a wrong last byte":     mark[:len(mark)-1] + "~",
		"partial marks in text": "text" + mark[:5] + "text" + mark[:1] + "text",
		"all bytes":             string(allBytes()),
	}
	for name, content := range tests {
		t.Run(name, func(t *testing.T) {
			size := len(content) + 2*len(mark) + len("ended 7\n")
			for i := range size {
				checkFilter(t, mark, content, i)
				checkFilter(t, mark, content, i, 1)
				checkFilter(t, mark, content, i, len(mark)-1)
			}
			checkFilter(t, mark, content, slices.Repeat([]int{1}, size)...)
		})
	}
}

func allBytes() []byte {
	p := make([]byte, 256)
	for i := range p {
		p[i] = byte(i)
	}
	return p
}

// checkFilter writes content and messages of the script to both streams, in
// pieces of the given sizes.
func checkFilter(t *testing.T, mark, content string, sizes ...int) {
	t.Helper()
	f := newScriptedRun()
	f.mark, f.outFilter.mark, f.errFilter.mark = mark[1:], []byte(mark), []byte(mark)
	out := content + f.message("alive") + content + f.message("ended 7")
	errs := f.message(runningMessage) + content + f.message("alive") + f.message("ended 7")
	if err := writePieces(f.Stderr(), errs, sizes...); err != nil {
		t.Fatalf("stderr in pieces of %d: %v", sizes, err)
	}
	if err := writePieces(f.Stdout(), out, sizes...); !errors.Is(err, ErrEnded) {
		t.Fatalf("stdout in pieces of %d: %v, want ErrEnded", sizes, err)
	}
	if got, want := f.stdout.String(), content+content; got != want {
		t.Fatalf("stdout in pieces of %d: %q, want %q", sizes, got, want)
	}
	if got := f.stderr.String(); got != content {
		t.Fatalf("stderr in pieces of %d: %q, want %q", sizes, got, content)
	}
	if state, code := f.State(); state != Ended || code != 7 {
		t.Fatalf("in pieces of %d: state %d, code %d; want Ended, 7", sizes, state, code)
	}
}

func TestFilter_RandomOutputUnchanged(t *testing.T) {
	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	for range 3000 {
		content, sizes := make([]byte, random.IntN(60)), make([]byte, random.IntN(60))
		for i := range content {
			content[i] = byte(random.IntN(80))
		}
		for i := range sizes {
			sizes[i] = byte(random.IntN(40))
		}
		checkStreams(t, content, sizes, random.IntN(256), random.IntN(2) == 0)
	}
}

func FuzzFilter(f *testing.F) {
	f.Add([]byte("text"), []byte{1, 2, 3}, 7, true)
	f.Add([]byte{0, 1, 32, 32, 30, 200, 33, 255}, []byte{0, 1, 33, 1}, 255, false)
	f.Fuzz(func(t *testing.T, content, sizes []byte, code int, swapped bool) {
		checkStreams(t, content, sizes, code&0xff, swapped)
	})
}

// checkStreams writes content and messages of the script to both streams in
// turn, in pieces of the given sizes.
func checkStreams(t *testing.T, seed, sizes []byte, code int, swapped bool) {
	const mark = markStart + "0123456789abcdef0123456789abcdef" // fixed, for the fuzzer
	f := newScriptedRun()
	f.mark, f.outFilter.mark, f.errFilter.mark = mark[1:], []byte(mark), []byte(mark)
	content := markLike(mark, seed)
	ended := f.message(fmt.Sprint("ended ", code))
	cut := len(content) / 2
	out := content[:cut] + f.message("alive") + content[cut:] + ended
	errs := f.message(runningMessage) + content[:cut] + f.message("alive") + f.message("alive") + content[cut:] + ended
	streams := []struct {
		w    io.Writer
		rest string
	}{{f.Stdout(), out}, {f.Stderr(), errs}}
	if swapped {
		slices.Reverse(streams)
	}
	var err error
	for i := 0; err == nil && (streams[0].rest != "" || streams[1].rest != ""); i++ {
		s := &streams[i%2]
		n := len(s.rest)
		if i/2 < len(sizes) {
			n = min(n, int(sizes[i/2]))
		}
		_, err = s.w.Write([]byte(s.rest[:n]))
		s.rest = s.rest[n:]
	}
	if !errors.Is(err, ErrEnded) {
		t.Fatalf("%v, want ErrEnded", err)
	}
	if d := cmp.Diff([]string{content, content}, []string{f.stdout.String(), f.stderr.String()}); d != "" {
		t.Fatalf("sizes %d, code %d, swapped %t: (-want +got)\n%s", sizes, code, swapped, d)
	}
	if state, got := f.State(); state != Ended || got != code {
		t.Fatalf("state %d, code %d; want Ended, %d", state, got, code)
	}
}

func TestRun_State(t *testing.T) {
	type step struct {
		stream  string
		message string
		err     error
		state   State
		code    int
	}
	// rejected is a run in which both streams end with the same outcome before
	// the command was started.
	rejected := func(message string, state State) []step {
		return []step{{"out", message, nil, Unknown, 0}, {"err", message, ErrEnded, state, 0}}
	}
	tests := map[string][]step{
		"stdout ends last": {
			{"err", runningMessage, nil, Running, 0},
			{"err", "ended 3", nil, Running, 0},
			{"out", "ended 3", ErrEnded, Ended, 3},
		},
		"stderr ends last": {
			{"out", "ended 0", nil, Unknown, 0},
			{"err", runningMessage, nil, Running, 0},
			{"out", "alive", nil, Running, 0}, // nothing after "ended" is a message of the script
			{"err", "ended 0", ErrEnded, Ended, 0},
		},
		"largest exit code": {
			{"err", runningMessage, nil, Running, 0},
			{"err", "ended 255", nil, Running, 0},
			{"out", "ended 255", ErrEnded, Ended, 255},
		},
		"missing":                 rejected("ended missing", NoCommand),
		"unable":                  rejected("ended unable", Unsupported),
		"failed before the start": rejected("ended failed", NotStarted),
		"code without a start":    rejected("ended 2", NotStarted),
		"failed": {
			{"err", runningMessage, nil, Running, 0},
			{"err", "ended failed", nil, Running, 0},
			{"out", "ended failed", ErrEnded, Failed, 0},
		},
		"lost": {
			{"err", runningMessage, nil, Running, 0},
			{"out", "ended lost", nil, Running, 0},
			{"err", "ended lost", ErrEnded, Failed, 0},
		},
		"lost, and a code": {
			{"err", runningMessage, nil, Running, 0},
			{"out", "ended 0", nil, Running, 0},
			{"err", "ended lost", ErrEnded, Failed, 0},
		},
		"lost before the start": { // the command may have been started nevertheless
			{"err", "ended lost", nil, Unknown, 0},
			{"out", "ended lost", ErrEnded, Failed, 0},
		},
		"answer to a ping": {
			{"err", runningMessage, nil, Running, 0},
			{"out", "alive", nil, Running, 0},
			{"err", "alive", nil, Running, 0},
		},
		"the same end twice": {
			{"err", runningMessage, nil, Running, 0},
			{"out", "ended 1", nil, Running, 0},
			{"out", "ended 1", nil, Running, 0},
		},
		"code that is not a number": {
			{"err", runningMessage, nil, Running, 0},
			{"out", "ended x", nil, Running, 0},
			{"err", "ended x", ErrEnded, Running, 0},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			f := newScriptedRun()
			for i, s := range steps {
				w := map[string]io.Writer{"out": f.Stdout(), "err": f.Stderr()}[s.stream]
				if _, err := io.WriteString(w, f.message(s.message)); !errors.Is(err, s.err) || (err == nil) != (s.err == nil) {
					t.Fatalf("step %d: %v, want %v", i, err, s.err)
				}
				if state, code := f.State(); state != s.state || code != s.code {
					t.Fatalf("step %d: state %d, code %d; want %d, %d", i, state, code, s.state, s.code)
				}
			}
			if f.stdout.Len()+f.stderr.Len() > 0 {
				t.Errorf("output although the command wrote nothing: %q, %q", &f.stdout, &f.stderr)
			}
		})
	}
}

// If a prompt ends like the beginning of a mark, that end is held back, and the
// command may write nothing more. The answer to a ping releases it.
func TestFilter_PingReleasesPartialMark(t *testing.T) {
	mark := markStart + newScriptedRun().mark
	for _, held := range []int{1, 2, len(mark) - 1} {
		synctest.Test(t, func(t *testing.T) {
			f := newScriptedRun()
			pings := make(chan time.Duration, 10)
			from := time.Now()
			f.outFilter.ping = func() { pings <- time.Since(from) }
			prompt := "prompt" + (markStart + f.mark)[:held]
			_ = writePieces(f.Stdout(), prompt)
			if got := f.stdout.String(); got != "prompt" {
				t.Fatalf("output before the answer: %q", got)
			}
			time.Sleep(pingAfter - 1)
			synctest.Wait()
			if len(pings) != 0 {
				t.Fatalf("ping after %s, want %s", <-pings, pingAfter)
			}
			time.Sleep(time.Minute)
			if n := len(pings); n != 1 {
				t.Fatalf("%d pings, want 1", n)
			}
			if after := <-pings; after != pingAfter {
				t.Errorf("ping after %s, want %s", after, pingAfter)
			}
			_ = writePieces(f.Stdout(), f.message("alive"))
			if got := f.stdout.String(); got != prompt {
				t.Errorf("output after the answer: %q, want %q", got, prompt)
			}
			time.Sleep(time.Minute)
			if len(pings) != 0 {
				t.Error("pinged although nothing is held back")
			}
		})
	}
}

func TestFilter_NoPingWhileOutputArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newScriptedRun()
		f.outFilter.ping = func() { t.Error("ping although output was held back for less than pingAfter") }
		for range 100 {
			_ = writePieces(f.Stdout(), "x"+markStart)
			time.Sleep(pingAfter - 1)
		}
		_ = writePieces(f.Stdout(), "x")
		time.Sleep(time.Minute)
	})
}

func TestFilter_PingIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newScriptedRun()
		_ = writePieces(f.Stderr(), f.message(runningMessage)+"password: "+markStart)
		p := make([]byte, 10)
		if n, err := f.Stdin().Read(p); err != nil || string(p[:n]) != "?\n" {
			t.Errorf("sent: %q, %v", p[:n], err)
		}
	})
}

func TestFilter_NothingAfterTheEnd(t *testing.T) {
	f := newScriptedRun()
	_ = writePieces(f.Stderr(), f.message(runningMessage))
	garbage := "garbage" + f.message("ended 9") + markStart
	if err := writePieces(f.Stdout(), "out"+f.message("ended 1")+garbage); err != nil {
		t.Fatalf("before the other stream has ended: %v", err)
	}
	if err := writePieces(f.Stdout(), garbage); err != nil {
		t.Fatalf("output after the end: %v", err)
	}
	if err := writePieces(f.Stderr(), "err"+f.message("ended 1")+garbage); !errors.Is(err, ErrEnded) {
		t.Fatalf("%v, want ErrEnded", err)
	}
	if f.stdout.String() != "out" || f.stderr.String() != "err" {
		t.Errorf("stdout %q, stderr %q", &f.stdout, &f.stderr)
	}
	if _, code := f.State(); code != 1 {
		t.Errorf("code %d, want 1", code)
	}
}

func TestRun_ShellError(t *testing.T) {
	f := newScriptedRun()
	shellError := "sh: 1: kshell: Syntax error" + markStart
	_ = writePieces(f.Stderr(), shellError+strings.Repeat("!", 1<<20), slices.Repeat([]int{7}, 1000)...)
	_ = writePieces(f.Stderr(), f.message(runningMessage)+"the command's")
	if got := f.ShellError(); !strings.HasPrefix(got, shellError) || len(got) != maxEarly {
		t.Errorf("%d bytes, %.40q", len(got), got)
	}
	if got := f.stderr.String(); got != "the command's" {
		t.Errorf("stderr: %q", got)
	}
	if len(New(Options{}).ShellError()) != 0 {
		t.Error("ShellError of a shell that was not started is not empty")
	}
}

func TestFilter_EndlessMessage(t *testing.T) {
	for _, size := range []int{1, 10, 10_000} {
		f := newScriptedRun()
		sizes := slices.Repeat([]int{size}, 10_000/size)
		message := markStart + f.mark + strings.Repeat("x", 10_000)
		if err := writePieces(f.Stdout(), message, sizes...); !errors.Is(err, errBadMessage) {
			t.Errorf("in pieces of %d: %v, want errBadMessage", size, err)
		}
		if kept := len(f.outFilter.message); size == 1 && kept > 2*maxMessage {
			t.Errorf("%d bytes of the message were kept", kept)
		}
	}
}

// failingWriter fails if a piece contains the text.
type failingWriter struct{ text string }

var errFull = errors.New("no space left on device")

func (w failingWriter) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.text) {
		return 0, errFull
	}
	return len(p), nil
}

func TestFilter_WriterFails(t *testing.T) {
	for name, pieces := range map[string][]string{
		"in text":        {"text", "!text"},
		"before a mark":  {"text!MARK"},
		"after a mark":   {"MARKalive\n", "!"},
		"in held output": {markStart, markStart},
	} {
		t.Run(name, func(t *testing.T) {
			text := "!"
			if pieces[0] == markStart {
				text = markStart
			}
			r := New(Options{Stdout: failingWriter{text}})
			var err error
			for i, piece := range pieces {
				if err != nil {
					t.Fatalf("piece %d: %v", i-1, err)
				}
				_, err = io.WriteString(r.Stdout(), strings.ReplaceAll(piece, "MARK", markStart+r.mark))
			}
			if !errors.Is(err, errFull) {
				t.Errorf("%v, want %v", err, errFull)
			}
		})
	}
}

func TestFilter_NoWriter(t *testing.T) {
	r := New(Options{})
	said := func(words string) string { return "text" + markStart + r.mark + words + "\n" }
	if err := writePieces(r.Stderr(), said(runningMessage)+said("ended 4")); err != nil {
		t.Fatal(err)
	}
	if err := writePieces(r.Stdout(), said("ended 4")); !errors.Is(err, ErrEnded) {
		t.Fatal(err)
	}
	if state, code := r.State(); state != Ended || code != 4 {
		t.Errorf("state %d, code %d", state, code)
	}
}

func TestFilter_Allocations(t *testing.T) {
	r := New(Options{Stdout: io.Discard})
	lines := bytes.Repeat([]byte("a line of text\n"), 2200)
	withStarts := bytes.Repeat([]byte(markStart+" a line\n"), 3200)
	for name, p := range map[string][]byte{"text": lines, "with starts of marks": withStarts, "short": []byte("a\n")} {
		if n := testing.AllocsPerRun(100, func() { _, _ = r.Stdout().Write(p) }); n != 0 {
			t.Errorf("%s: %v allocations for a Write, want 0", name, n)
		}
	}
}
