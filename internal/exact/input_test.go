package exact

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

// received is what the script receives on its stdin, without the lines that
// precede blocks.
type received struct {
	payload []byte
	pings   int  // `?` lines
	ended   bool // an `end` line was read
	err     error
}

// parse reads lines and blocks, as the script does, until Read fails or `end`
// was read.
func parse(t *testing.T, r io.Reader) received {
	t.Helper()
	var w received
	lines := bufio.NewReaderSize(r, 16)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			if line != "" {
				t.Errorf("a partial line was sent: %q", line)
			}
			w.err = err
			return w
		}
		switch line {
		case "?\n":
			w.pings++
		case "set +f\n": // the rest of the script
			for line != ".\n" {
				if line, err = lines.ReadString('\n'); err != nil {
					t.Fatalf("the rest of the script was cut: %v", err)
				}
			}
		case "end\n":
			w.ended = true
			return w
		default:
			w.payload = append(w.payload, readBlock(t, lines, line)...)
		}
	}
}

func readBlock(t *testing.T, r io.Reader, line string) []byte {
	t.Helper()
	if text, ok := strings.CutPrefix(line, "text "); ok {
		return readText(t, strings.TrimSuffix(text, "\n"))
	}
	var size, count int
	if _, err := fmt.Sscanf(line, "%d %d\n", &size, &count); err != nil {
		t.Fatalf("unknown line: %q", line)
	}
	if size < 1 || count < 1 || size > unit || size*count > maxBlock {
		t.Fatalf("a block of %d times %d bytes", count, size)
	}
	p := make([]byte, size*count)
	if n, err := io.ReadFull(r, p); err != nil {
		t.Fatalf("the block of %d times %d bytes was cut after %d: %v", count, size, n, err)
	}
	return p
}

// readText returns what printf writes if its format is text.
func readText(t *testing.T, text string) (p []byte) {
	t.Helper()
	changed := text == "" || text != strings.Trim(text, " \t") || text[0] == '-' || strings.Contains(text, "%")
	if changed || len(text) > maxText {
		t.Fatalf("a text that read or printf may change: %q", text)
	}
	for len(text) > 0 {
		c := text[0]
		if c == '\\' {
			value, err := strconv.ParseUint(text[1:4], 8, 8)
			if err != nil {
				t.Fatal(err)
			}
			c, text = byte(value), text[3:]
		}
		p, text = append(p, c), text[1:]
	}
	return p
}

func newInput(t *testing.T, source io.Reader) *input {
	t.Helper()
	in := &input{}
	in.init(source)
	t.Cleanup(func() { in.cancel(func() bool { return true }) })
	return in
}

func randomBytes(n int) []byte {
	p := make([]byte, n)
	seed := [32]byte{byte(n), byte(n >> 8), byte(n >> 16)}
	_, _ = rand.NewChaCha8(seed).Read(p)
	return p
}

// oddReader returns pieces of random sizes, sometimes of 0 bytes.
type oddReader struct {
	io.Reader
	random *rand.Rand
	most   int
}

func (r oddReader) Read(p []byte) (int, error) {
	if len(p) == 0 || r.random.IntN(8) == 0 {
		return 0, nil
	}
	return r.Reader.Read(p[:1+r.random.IntN(min(len(p), r.most))])
}

func TestInput_AnyPieces(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	sources := map[string]func(io.Reader) io.Reader{
		"plain":         func(r io.Reader) io.Reader { return r },
		"byte by byte":  iotest.OneByteReader,
		"half reads":    iotest.HalfReader,
		"EOF with data": iotest.DataErrReader,
		"small and odd": func(r io.Reader) io.Reader { return oddReader{r, random, 700} },
		"large and odd": func(r io.Reader) io.Reader { return oddReader{r, random, 300_000} },
	}
	for name, source := range sources {
		for _, size := range []int{0, 1, 9, unit - 1, unit, unit + 1, 200_003, 3*maxBlock + 17} {
			if name == "byte by byte" && size > 300_000 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d", name, size), func(t *testing.T) {
				want := randomBytes(size)
				in := newInput(t, source(bytes.NewReader(want)))
				in.start()
				w := parse(t, oddReader{in, rand.New(rand.NewPCG(uint64(size), 1)), 100_000})
				if !w.ended || w.err != nil {
					t.Fatalf("ended %t, error %v", w.ended, w.err)
				}
				if !bytes.Equal(w.payload, want) {
					t.Errorf("%d bytes were sent, want %d, or their content differs", len(w.payload), size)
				}
			})
		}
	}
}

func TestInput_ReadByteByByte(t *testing.T) {
	want := randomBytes(3000)
	in := newInput(t, bytes.NewReader(want))
	in.start()
	if w := parse(t, iotest.OneByteReader(in)); !w.ended || !bytes.Equal(w.payload, want) {
		t.Errorf("ended %t, %d bytes of %d", w.ended, len(w.payload), len(want))
	}
}

func TestInput_EndIsSentOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInput(t, strings.NewReader(""))
		in.start()
		if w := parse(t, in); !w.ended {
			t.Fatalf("no end: %v", w.err)
		}
		time.AfterFunc(time.Hour, func() { in.cancel(nil) })
		if w := parse(t, in); w.ended || !errors.Is(w.err, errCanceled) {
			t.Errorf("after the end: sent again %t, error %v", w.ended, w.err)
		}
	})
}

// If reading the source fails, no end is sent.
func TestInput_SourceFails(t *testing.T) {
	for _, broken := range []error{errors.New("input/output error"), io.ErrUnexpectedEOF, io.ErrClosedPipe} {
		want := randomBytes(100_000)
		in := newInput(t, io.MultiReader(bytes.NewReader(want), iotest.ErrReader(broken)))
		in.start()
		w := parse(t, in)
		if w.ended || !errors.Is(w.err, broken) {
			t.Errorf("end sent: %t; Read: %v, want %v", w.ended, w.err, broken)
		}
		if !bytes.Equal(w.payload, want) {
			t.Errorf("%d bytes were sent of %d", len(w.payload), len(want))
		}
	}
}

func TestInput_NotReadBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &countingReader{Reader: strings.NewReader("input")}
		r := New(Options{Stdin: source})
		sent := make(chan received, 1)
		go func() { sent <- parse(t, r.Stdin()) }()
		synctest.Wait()
		if n := source.read.Load(); n != 0 {
			t.Errorf("%d bytes were read before the start", n)
		}
		_ = writePieces(r.Stderr(), markStart+r.mark+runningMessage+"\n")
		if w := <-sent; string(w.payload) != "input" || !w.ended {
			t.Errorf("sent after the start: %q, ended %t, %v", w.payload, w.ended, w.err)
		}
		r.Cancel()
	})
}

// peeker implements Peeker.
type peeker struct {
	bufio.Reader
	peeks atomic.Int32 // the number of calls of Peek
}

func newPeeker(text string) *peeker {
	p := &peeker{}
	p.Reset(strings.NewReader(text))
	return p
}

// Peek implements Peeker.
func (p *peeker) Peek(limit int) []byte {
	p.peeks.Add(1)
	peeked, _ := p.Reader.Peek(limit)
	return peeked
}

func TestInput_Early(t *testing.T) {
	for name, tt := range map[string]struct {
		input string
		early string // what precedes the rest of the script
	}{
		"short":    {"it's 1\n", `printf 'it\047s 1\012'`},
		"too long": {strings.Repeat("x", maxText+1), ""},
		"empty":    {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				source := &countingReader{Reader: newPeeker(tt.input)}
				r := New(Options{Stdin: struct {
					io.Reader
					Peeker
				}{source, source.Reader.(Peeker)}})
				lines := bufio.NewReader(r.Stdin())
				_ = writePieces(r.Stderr(), markStart+r.mark+messageReady+"\n")
				if tt.early != "" {
					for _, want := range []string{tt.early, strings.Split(blocksScript.early, "\n")[1], "."} {
						if line, err := lines.ReadString('\n'); err != nil || line != want+"\n" {
							t.Errorf("before the rest: %q, %v, want %q", line, err, want)
						}
					}
				}
				sent := make(chan received, 1)
				go func() { sent <- parse(t, lines) }()
				synctest.Wait()
				if n := source.read.Load(); n != 0 {
					t.Errorf("%d bytes were read before the start", n)
				}
				want := tt.input
				if tt.early != "" {
					want = ""
				}
				_ = writePieces(r.Stderr(), markStart+r.mark+runningMessage+"\n")
				if w := <-sent; string(w.payload) != want || !w.ended {
					t.Errorf("sent after the start: %q, ended %t, %v", w.payload, w.ended, w.err)
				}
				if n := source.read.Load(); n != int64(len(tt.input)) {
					t.Errorf("%d bytes were read, want %d", n, len(tt.input))
				}
				r.Cancel()
			})
		})
	}
}

// countingReader counts the bytes that were read from it.
type countingReader struct {
	io.Reader
	read atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func TestInput_NotReadAfterCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &endlessReader{}
		r := New(Options{Stdin: source})
		r.Cancel()
		_ = writePieces(r.Stderr(), markStart+r.mark+runningMessage+"\n")
		synctest.Wait()
		if n := source.read.Load(); n != 0 {
			t.Errorf("%d bytes were read", n)
		}
	})
}

// Blocks are large on a fast connection, because the script starts a process for
// each, and small on a slow one, because a request waits for the end of a block.
func TestInput_BlockSizes(t *testing.T) {
	const fast, medium, slow = 10 * time.Millisecond, 200 * time.Millisecond, time.Second
	for name, c := range map[string]struct {
		took []time.Duration // for each block except the last
		want []int
	}{
		"fast":   {[]time.Duration{fast, fast}, []int{1536 << 10, 1536 << 10, 1536 << 10}},
		"medium": {[]time.Duration{medium, medium}, []int{1536 << 10, 1536 << 10, 1536 << 10}},
		"slow": {
			[]time.Duration{slow, slow, slow, slow, slow},
			[]int{1536 << 10, 768 << 10, 384 << 10, 192 << 10, 64 << 10, 64 << 10},
		},
		"slow, fast": {[]time.Duration{slow, fast, fast}, []int{1536 << 10, 768 << 10, 768 << 10, 1536 << 10}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := newInput(t, &endlessReader{})
				in.start()
				var got []int
				for _, took := range append(c.took, 0) {
					synctest.Wait()
					block, err := in.readBlock()
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, block)
					time.Sleep(took)
				}
				if !slices.Equal(got, c.want) {
					t.Errorf("blocks of %d bytes, want %d", got, c.want)
				}
			})
		})
	}
}

// readBlock reads the next block, and returns its size.
func (in *input) readBlock() (int, error) {
	line := make([]byte, 100)
	n, err := io.ReadFull(in, line)
	if err != nil {
		return 0, err
	}
	var size, count int
	if _, err := fmt.Sscanf(string(line), "%d %d\n", &size, &count); err != nil {
		return 0, err
	}
	rest := bytes.IndexByte(line, '\n') + 1 + size*count - n
	_, err = io.CopyN(io.Discard, in, int64(rest))
	return size * count, err
}

func TestInput_PingBetweenBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		want := randomBytes(2*maxBlock + 5)
		in := newInput(t, bytes.NewReader(want))
		in.start()
		synctest.Wait()
		var sent bytes.Buffer
		p := make([]byte, 5000) // less than a block
		for i := range 4000 {
			n, err := in.Read(p)
			if err != nil {
				t.Fatal(err)
			}
			sent.Write(p[:n])
			if i%50 == 0 {
				in.ping()
				in.ping() // a second ping before the `?` line is sent has no effect
			}
			if bytes.HasSuffix(sent.Bytes(), []byte("end\n")) {
				break
			}
			synctest.Wait()
		}
		w := parse(t, &sent)
		if !bytes.Equal(w.payload, want) {
			t.Errorf("%d bytes were sent, want %d, or their content differs", len(w.payload), len(want))
		}
		if w.pings < 2 || w.pings > 10 {
			t.Errorf("%d pings", w.pings)
		}
	})
}

func TestInput_PingWithoutInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, source := range []io.Reader{nil, strings.NewReader("")} {
			in := newInput(t, source)
			in.start()
			if source != nil {
				if w := parse(t, in); !w.ended {
					t.Fatal("no end")
				}
			}
			time.AfterFunc(time.Second, in.ping)
			time.AfterFunc(time.Minute, func() { in.cancel(nil) })
			if w := parse(t, in); w.pings != 1 || w.ended || len(w.payload) > 0 {
				t.Errorf("%d pings, ended %t, %d bytes", w.pings, w.ended, len(w.payload))
			}
		}
	})
}

// When both streams have ended, nothing more is sent, not even the rest of a
// block.
func TestInput_NothingSentAfterStop(t *testing.T) {
	for name, taken := range map[string]int{"before a block": 0, "within a line": 3, "within a block": 5000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := newInput(t, &endlessReader{})
				in.start()
				synctest.Wait()
				if _, err := io.ReadFull(in, make([]byte, taken)); err != nil {
					t.Fatal(err)
				}
				in.stop(true)
				in.ping()
				time.AfterFunc(time.Minute, func() { in.cancel(nil) })
				from := time.Now()
				n, err := in.Read(make([]byte, 10_000))
				if n != 0 || !errors.Is(err, errCanceled) || time.Since(from) != time.Minute {
					t.Errorf("%d bytes were sent after %s: %v", n, time.Since(from), err)
				}
			})
		})
	}
}

// When one stream has ended, the rest of the script and empty lines are sent,
// but no input.
func TestInput_SentAfterFirstStop(t *testing.T) {
	for name, taken := range map[string]int{"before the rest": 0, "within the rest": 3, "within a block": 5000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := newInput(t, &endlessReader{})
				in.rest = []byte("the rest\n")
				in.start()
				synctest.Wait()
				got := make([]byte, taken, 10_000)
				if _, err := io.ReadFull(in, got); err != nil {
					t.Fatal(err)
				}
				in.stop(false)
				in.ping()
				time.AfterFunc(time.Second, func() { in.check() })
				time.AfterFunc(time.Minute, func() { in.cancel(nil) })
				for err := error(nil); err == nil; {
					var n int
					n, err = in.Read(got[len(got):cap(got)])
					got = got[:len(got)+n]
				}
				want := "the rest\n\n"
				if taken > len(want) {
					want = string(got[:taken]) + "\n"
				}
				if string(got) != want {
					t.Errorf("sent %d bytes, %.100q; want %d bytes", len(got), got, len(want))
				}
			})
		})
	}
}

func TestInput_CancelEndsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, _ := io.Pipe()
		in := newInput(t, source)
		in.start()
		time.AfterFunc(time.Second, func() { in.cancel(nil) })
		if n, err := in.Read(make([]byte, 10)); n != 0 || !errors.Is(err, errCanceled) {
			t.Errorf("%d, %v", n, err)
		}
		_ = source.Close() // ends the goroutine that reads source
	})
}

func TestInput_CancelWaitsForSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, _ := io.Pipe()
		slow := &slowReader{Reader: source}
		in := newInput(t, slow)
		in.start()
		synctest.Wait()
		in.cancel(func() bool { _ = source.Close(); return true })
		if !slow.ended.Load() {
			t.Error("the source is still being read")
		}
	})
}

// slowReader waits a second before it returns an error.
type slowReader struct {
	io.Reader
	ended atomic.Bool
}

func (s *slowReader) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil {
		time.Sleep(time.Second)
		s.ended.Store(true)
	}
	return n, err
}

// cancelReader is a reader that implements Canceler.
type cancelReader struct {
	io.Reader
	cancel func() bool
}

// Cancel implements Canceler.
func (r cancelReader) Cancel() bool { return r.cancel() }

func TestInput_CancelWithUninterruptibleSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, writer := io.Pipe()
		r := New(Options{Stdin: cancelReader{source, func() bool { return false }}})
		_ = writePieces(r.Stderr(), markStart+r.mark+runningMessage+"\n")
		synctest.Wait() // wait until the goroutine blocks in a Read of source
		from := time.Now()
		if !r.Cancel() || time.Since(from) > 0 {
			t.Error("Cancel waited")
		}
		if n, err := r.Stdin().Read(make([]byte, 10)); n != 0 || !errors.Is(err, errCanceled) {
			t.Errorf("%d, %v", n, err)
		}
		_, _ = writer.Write([]byte("late")) // ends the goroutine that reads the source
	})
}

// endlessReader is an endless source of zero bytes.
type endlessReader struct{ read atomic.Int64 }

func (e *endlessReader) Read(p []byte) (int, error) {
	clear(p)
	e.read.Add(int64(len(p)))
	return len(p), nil
}

func TestInput_FastSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &endlessReader{}
		in := newInput(t, source)
		in.start()
		taken := int64(0)
		p := make([]byte, 30_000)
		for range 2000 {
			synctest.Wait()
			if ahead := source.read.Load() - taken; ahead > maxBlock+pieceSize {
				t.Fatalf("%d bytes were read ahead", ahead)
			}
			if len(in.buffered.buf) > maxBlock {
				t.Fatalf("the buffer has %d bytes", len(in.buffered.buf))
			}
			n, err := in.Read(p)
			if err != nil {
				t.Fatal(err)
			}
			taken += int64(n)
		}
		if taken < 10*maxBlock {
			t.Errorf("only %d bytes were sent", taken)
		}
	})
}
