//go:build unix

package terminal

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

type readResult struct {
	text string
	err  error
}

func openInput(t *testing.T, r io.Reader) *Input {
	t.Helper()
	in, err := NewInput(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Cancel() })
	return in
}

// startRead starts one Read in a goroutine.
func startRead(in *Input) <-chan readResult {
	result := make(chan readResult, 1)
	go func() {
		p := make([]byte, 1024)
		n, err := in.Read(p)
		result <- readResult{string(p[:n]), err}
	}()
	return result
}

func readOnce(t *testing.T, in *Input) (got readResult) {
	t.Helper()
	within(t, "Read", func() { got = <-startRead(in) })
	return got
}

// waitForRead waits until a Read is in progress. The Read need not have reached
// the system call: the tests must pass in both cases.
func waitForRead(t *testing.T, in *Input) {
	t.Helper()
	within(t, "start of Read", func() {
		for len(in.lock) == 0 {
			runtime.Gosched()
		}
	})
}

func mustCancel(t *testing.T, in *Input) {
	t.Helper()
	if !in.Cancel() {
		t.Error("Cancel = false, want true")
	}
}

func typeKeys(t *testing.T, user io.Writer, keys string) {
	t.Helper()
	if _, err := io.WriteString(user, keys); err != nil {
		t.Fatal(err)
	}
}

// streams are the kinds of stdin on which a Read can block. open returns both
// ends of a new stream. source, if not nil, replaces the source of NewInput.
var streams = []streamKind{
	{"raw terminal", openRawPty, nil},
	{"terminal", openPty, nil},
	{"raw terminal that cannot be opened again", openRawPty, selectSource},
	{"pipe", func(t *testing.T) (*os.File, *os.File) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = r.Close(), w.Close() })
		return w, r
	}, nil},
	{"socket", func(t *testing.T) (*os.File, *os.File) {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		a, b := os.NewFile(uintptr(fds[0]), "a"), os.NewFile(uintptr(fds[1]), "b")
		t.Cleanup(func() { _, _ = a.Close(), b.Close() })
		return a, b
	}, nil},
}

type streamKind struct {
	name   string
	open   func(t *testing.T) (writer, stream *os.File)
	source func(*os.File) (source, error)
}

func (k *streamKind) openInput(t *testing.T, stream *os.File) *Input {
	t.Helper()
	if k.source == nil {
		return openInput(t, stream)
	}
	src, err := k.source(stream)
	if err != nil {
		t.Fatal(err)
	}
	in := newInput(src)
	t.Cleanup(func() { in.Cancel() })
	return in
}

func openRawPty(t *testing.T) (user, tty *os.File) {
	user, tty = openPty(t)
	t.Cleanup(raw(t, open(t, tty, tty)))
	return user, tty
}

func TestInput_NextReaderGetsKeysTypedAfterCancel(t *testing.T) {
	for _, tt := range streams {
		t.Run(tt.name, func(t *testing.T) {
			writer, stream := tt.open(t)
			for range 50 {
				first := tt.openInput(t, stream)
				result := startRead(first)
				waitForRead(t, first)
				mustCancel(t, first)
				typeKeys(t, writer, "ls\n")
				if got := <-result; !errors.Is(got.err, errCanceled) || got.text != "" {
					t.Fatalf("canceled Read = %q, %v; want errCanceled", got.text, got.err)
				}

				second := tt.openInput(t, stream)
				if got := readOnce(t, second); got.text != "ls\n" || got.err != nil {
					t.Fatalf("next reader got %q, %v; want the keys", got.text, got.err)
				}
				mustCancel(t, second)
			}
		})
	}
}

func TestInput_NextReaderGetsKeysTypedBeforeCancel(t *testing.T) {
	for _, tt := range streams {
		t.Run(tt.name, func(t *testing.T) {
			writer, stream := tt.open(t)
			first := tt.openInput(t, stream)
			typeKeys(t, writer, "ls\n")
			mustCancel(t, first)
			if got := readOnce(t, first); !errors.Is(got.err, errCanceled) || got.text != "" {
				t.Fatalf("Read after Cancel = %q, %v; want errCanceled", got.text, got.err)
			}
			if got := readOnce(t, tt.openInput(t, stream)); got.text != "ls\n" {
				t.Errorf("next reader got %q, %v; want the keys", got.text, got.err)
			}
		})
	}
}

// A key typed during Cancel is read either by the canceled reader or by the
// next one.
func TestInput_CancelLosesNoKey(t *testing.T) {
	user, tty := openPty(t)
	defer raw(t, open(t, tty, tty))()
	for range 200 {
		first := openInput(t, tty)
		result := startRead(first)
		typed := make(chan struct{})
		go func() {
			defer close(typed)
			_, _ = user.WriteString("x")
		}()
		mustCancel(t, first)
		<-typed
		if got := <-result; got.text == "x" {
			continue
		}
		if got := readOnce(t, openInput(t, tty)); got.text != "x" {
			t.Fatalf("next reader got %q, %v; want the key", got.text, got.err)
		}
	}
}

func TestInput_ReadAll(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 20_000)
	path := filepath.Join(t.TempDir(), "stdin")
	if err := os.WriteFile(path, []byte(long), 0o600); err != nil {
		t.Fatal(err)
	}
	openFile := func(path string) func(t *testing.T) io.Reader {
		return func(t *testing.T) io.Reader {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = f.Close() })
			return f
		}
	}
	tests := []struct {
		name string
		open func(t *testing.T) io.Reader
		want string
	}{
		{"file", openFile(path), long},
		{"/dev/null", openFile(os.DevNull), ""},
		{"reader that is not a file", func(*testing.T) io.Reader { return strings.NewReader(long) }, long},
		{"pipe", func(t *testing.T) io.Reader {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = r.Close() })
			go func() {
				_, _ = w.WriteString(long)
				_ = w.Close()
			}()
			return r
		}, long},
		{"descriptor above the limit of select", func(t *testing.T) io.Reader {
			f, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = f.Close() }()
			high, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, unix.FD_SETSIZE)
			if err != nil {
				t.Skipf("no descriptor that high: %v", err)
			}
			dup := os.NewFile(uintptr(high), "high")
			t.Cleanup(func() { _ = dup.Close() })
			return dup
		}, long},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			in := openInput(t, tt.open(t))
			got, err := io.ReadAll(in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(len(tt.want), len(got)); diff != "" || string(got) != tt.want {
				t.Errorf("the input was changed; length (-want +got):\n%s", diff)
			}
			mustCancel(t, in)
			if got := readOnce(t, in); !errors.Is(got.err, errCanceled) {
				t.Errorf("Read after Cancel = %v, want errCanceled", got.err)
			}
		})
	}
}

func TestInput_Peek(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	in := openInput(t, r)
	peek := func(limit int, want string) {
		t.Helper()
		var got []byte
		within(t, "Peek", func() { got = in.Peek(limit) })
		if string(got) != want {
			t.Errorf("Peek(%d) = %q, want %q", limit, got, want)
		}
	}
	read := func(want string) {
		t.Helper()
		if got := readOnce(t, in); got.text != want || got.err != nil {
			t.Errorf("Read = %q, %v, want %q", got.text, got.err, want)
		}
	}
	peek(8, "")
	_, _ = w.WriteString("abcdef")
	peek(4, "abcd")
	peek(2, "ab")
	read("abcd")
	read("ef")
	_, _ = w.WriteString("gh")
	_ = w.Close()
	peek(8, "gh")
	read("gh")
	peek(8, "")
	for range 2 {
		if got := readOnce(t, in); got.text != "" || !errors.Is(got.err, io.EOF) {
			t.Errorf("Read at the end = %q, %v", got.text, got.err)
		}
	}
	mustCancel(t, in)
	peek(8, "")
}

func TestInput_Short(t *testing.T) {
	file := func(size int64) *os.File {
		f, err := os.Create(filepath.Join(t.TempDir(), "input"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		return f
	}
	short := func(name string, f *os.File, want bool) {
		t.Helper()
		in := openInput(t, f)
		if got := in.Short(); got != want {
			t.Errorf("%s: Short = %t, want %t", name, got, want)
		}
		mustCancel(t, in)
	}
	short("empty file", file(0), true)
	short("file of 64 KiB", file(shortInput), true)
	large := file(shortInput + 1)
	short("larger file", large, false)
	if _, err := large.Seek(1, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	short("larger file, after its first byte", large, true)

	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	short("null device", null, true)
	_, tty := openPty(t)
	short("terminal", tty, false)

	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	typeKeys(t, w, "text")
	short("open pipe", r, false)
	_ = w.Close()
	short("closed pipe", r, true)
	if got, err := io.ReadAll(r); string(got) != "text" || err != nil {
		t.Errorf("ReadAll after Short = %q, %v", got, err)
	}
}

// During a Read, Peek returns nothing, and does not wait.
func TestInput_PeekDuringRead(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	defer func() { _ = w.Close() }()
	in := openInput(t, r)
	result := startRead(in)
	waitForRead(t, in)
	within(t, "Peek", func() {
		if got := in.Peek(8); len(got) != 0 {
			t.Errorf("Peek = %q", got)
		}
	})
	typeKeys(t, w, "x")
	if got := <-result; got.text != "x" || got.err != nil {
		t.Errorf("Read = %q, %v", got.text, got.err)
	}
}

func TestInput_CtrlD(t *testing.T) {
	user, tty := openPty(t)
	typeKeys(t, user, "a\n\x04")
	got, err := io.ReadAll(openInput(t, tty))
	if string(got) != "a\n" || err != nil {
		t.Errorf("ReadAll = %q, %v; want the line before Ctrl-D", got, err)
	}
}

func TestInput_Hangup(t *testing.T) {
	user, tty := openPty(t)
	in := openInput(t, tty)
	result := startRead(in)
	waitForRead(t, in)
	_ = user.Close()
	within(t, "end of Read", func() {
		if got := <-result; got.err == nil || errors.Is(got.err, errCanceled) {
			t.Errorf("Read = %q, %v; want the end or an error", got.text, got.err)
		}
	})
}

func TestInput_ClosedFile(t *testing.T) {
	_, tty := openPty(t)
	_ = tty.Close()
	if got := readOnce(t, openInput(t, tty)); !errors.Is(got.err, os.ErrClosed) {
		t.Errorf("Read = %v, want os.ErrClosed", got.err)
	}
}

// Another process may share the stream, set it to non-blocking mode, and read
// from it. Read must then not fail with EAGAIN.
func TestInput_NonBlockingStream(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = r.Close(), w.Close() }()
	results := make(chan readResult)
	for range 2 {
		fd, err := unix.FcntlInt(r.Fd(), unix.F_DUPFD_CLOEXEC, 0) // r.Fd has made r blocking, as stdin usually is
		if err != nil {
			t.Fatal(err)
		}
		stdin := os.NewFile(uintptr(fd), "stdin")
		defer func() { _ = stdin.Close() }()
		in := openInput(t, stdin)
		go func() {
			for p := make([]byte, 10); ; {
				n, err := in.Read(p)
				results <- readResult{string(p[:n]), err}
				if err != nil {
					return
				}
			}
		}()
	}
	if err := unix.SetNonblock(int(r.Fd()), true); err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		typeKeys(t, w, "x") // wakes both readers; only one of them can read the byte
		if got := <-results; got.text != "x" || got.err != nil {
			t.Fatalf("Read = %q, %v; want what was written", got.text, got.err)
		}
	}
	_ = w.Close()
	for range 2 {
		if got := <-results; !errors.Is(got.err, io.EOF) {
			t.Errorf("Read = %q, %v; want the end", got.text, got.err)
		}
	}
}

func TestInput_CancelCannotInterruptRead(t *testing.T) {
	near, far := net.Pipe()
	defer func() { _, _ = near.Close(), far.Close() }()
	in := openInput(t, near)
	result := startRead(in)
	waitForRead(t, in)
	within(t, "Cancel", func() {
		for range 2 {
			if in.Cancel() {
				t.Error("Cancel = true during a blocked Read")
			}
		}
	})
	if _, err := in.Read(make([]byte, 1)); !errors.Is(err, errCanceled) {
		t.Errorf("second Read = %v, want errCanceled", err)
	}

	typeKeys(t, far, "x")
	if got := <-result; got.text != "x" || got.err != nil {
		t.Errorf("blocked Read = %q, %v; want the byte that was typed", got.text, got.err)
	}
	if got := readOnce(t, in); !errors.Is(got.err, errCanceled) {
		t.Errorf("next Read = %v, want errCanceled", got.err)
	}
}

// errCanceled must not be io.EOF, because io.EOF closes the remote command's
// stdin.
func TestErrCanceled_IsNotEOF(t *testing.T) {
	if errors.Is(errCanceled, io.EOF) {
		t.Error("errCanceled is io.EOF")
	}
}

func TestInput_CancelClosesDescriptors(t *testing.T) {
	_, tty := openPty(t)
	lowest := func() int {
		fd, err := unix.FcntlInt(tty.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fd)
		return fd
	}
	before := lowest()
	for range 10 {
		mustCancel(t, openInput(t, tty))
	}
	if after := lowest(); after > before+1 {
		t.Errorf("lowest free descriptor %d, before %d", after, before)
	}
}

func BenchmarkInput(b *testing.B) {
	f, err := os.Open("/dev/zero")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	in, err := NewInput(f)
	if err != nil {
		b.Fatal(err)
	}
	defer in.Cancel()
	p := make([]byte, 32<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := in.Read(p); err != nil {
			b.Fatal(err)
		}
	}
}

// During a pause, another program reads the input.
func TestInput_Pause(t *testing.T) {
	for _, tt := range streams {
		t.Run(tt.name, func(t *testing.T) {
			w, r := tt.open(t)
			testPause(t, tt.openInput(t, r), w, r)
		})
	}
}

func testPause(t *testing.T, in *Input, w, r *os.File) {
	for _, reading := range []bool{true, false} {
		var read <-chan readResult
		if reading {
			read = startRead(in)
			waitForRead(t, in)
		}
		var resume func()
		within(t, "Pause", func() {
			var ok bool
			if resume, ok = in.Pause(); !ok {
				t.Error("Pause = false")
			}
		})
		if _, ok := in.Pause(); ok {
			t.Error("Pause succeeded during a pause")
		}
		if !reading {
			read = startRead(in)
		}
		if _, err := w.WriteString("other\n"); err != nil {
			t.Fatal(err)
		}
		other := make([]byte, 100)
		n, err := r.Read(other) // as another program could do
		if err != nil || string(other[:n]) != "other\n" {
			t.Errorf("the other program has read %q, %v", other[:n], err)
		}
		resume()
		resume()
		if _, err := w.WriteString("own\n"); err != nil {
			t.Fatal(err)
		}
		var got readResult
		within(t, "Read", func() { got = <-read })
		if got.text != "own\n" || got.err != nil {
			t.Errorf("read %q, %v", got.text, got.err)
		}
	}
	mustCancel(t, in)
	if _, ok := in.Pause(); ok {
		t.Error("Pause succeeded after Cancel")
	}
}

// Cancel during a pause ends a Read at once, but returns only when the pause
// has ended.
func TestInput_CancelDuringPause(t *testing.T) {
	for _, tt := range streams {
		t.Run(tt.name, func(t *testing.T) {
			_, r := tt.open(t)
			testCancelDuringPause(t, tt.openInput(t, r))
		})
	}
}

func testCancelDuringPause(t *testing.T, in *Input) {
	resume, ok := in.Pause()
	if !ok {
		t.Fatal("Pause = false")
	}
	read := startRead(in)
	canceled := make(chan bool, 1)
	go func() { canceled <- in.Cancel() }()
	var got readResult
	within(t, "Read", func() { got = <-read })
	if !errors.Is(got.err, errCanceled) {
		t.Errorf("Read = %q, %v", got.text, got.err)
	}
	resume()
	if !<-canceled {
		t.Error("Cancel = false")
	}
}
