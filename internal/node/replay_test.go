package node

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "8"); err != nil { // most tests are idle most of the time
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// terminal is text as a terminal has it: with a CR before each LF, and no more.
func terminal(text string) string {
	var l crStripper
	return strings.ReplaceAll(string(l.flush(l.strip(nil, []byte(text)))), "\n", "\r\n")
}

// reel is a container whose main process prints: all its output is one stream of bytes, of which the log has the whole lines.
type fakeContainer struct {
	output      []byte
	ended       bool
	logHasCRs   bool  // the log has each
	logError    error // of the log
	rotatedAway int   // bytes at the beginning that the log has no more
	unreachable int   // of the log
	cutLast     bool  // off, the last time
	logIsCut    bool  // it breaks off now and then
	requests    []LogStart
}

func (r *fakeContainer) print(text string) { r.output = append(r.output, text...) }

func markText(id string) string { return fmt.Sprintf("\x1b_kshell %s %d\x1b\\\r\n", id, 1000) }

func (r *fakeContainer) openLog(ctx context.Context, from LogStart, follow bool) (io.ReadCloser, error) {
	r.requests = append(r.requests, from)
	if r.logError != nil {
		return nil, r.logError
	}
	lines := r.output[r.rotatedAway:]
	if !r.ended {
		lines = lines[:bytes.LastIndexByte(lines, '\n')+1]
	}
	if !r.logHasCRs { // as bufio's ReadLine does, by which containerd reads
		lines = bytes.ReplaceAll(lines, []byte("\r\n"), []byte("\n"))
	}
	if from.Tail > 0 {
		all := bytes.SplitAfter(lines, []byte("\n"))
		lines = bytes.Join(all[max(0, len(all)-1-int(from.Tail)):], nil)
	}
	if r.cutLast = r.logIsCut && !r.cutLast && rand.IntN(3) == 0; r.cutLast {
		return io.NopCloser(io.MultiReader(bytes.NewReader(lines[:rand.IntN(len(lines)+1)]), iotest.ErrReader(errors.New("cut")))), nil
	}
	var more io.Reader = strings.NewReader("")
	if follow {
		more = waiting{ctx}
	}
	return io.NopCloser(io.MultiReader(bytes.NewReader(lines), more)), nil
}

// waiting brings nothing until the context ends.
type waiting struct{ ctx context.Context }

func (w waiting) Read([]byte) (int, error) {
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

// newTape is a tape for r, that remembers its gaps.
func newReplay(r *fakeContainer) (t *Replay, out *bytes.Buffer, gaps *[]error) {
	out, gaps = &bytes.Buffer{}, &[]error{}
	return &Replay{Output: out, Log: r.openLog, OnUnreachable: func(error) { r.unreachable++ }, OnGap: func(err error) { *gaps = append(*gaps, err) }}, out, gaps
}

// send gives the tape a part of the output in pieces of random sizes.
func send(t *testing.T, tape *Replay, p []byte) {
	t.Helper()
	for len(p) > 0 {
		n := min(len(p), 1+rand.IntN(20))
		if _, err := tape.Write(p[:n]); err != nil {
			t.Fatal(err)
		}
		p = p[n:]
	}
}

var twice = regexp.MustCompile("\r+")

// A shell is attached to again and again, at random places, with foreign marks and escape sequences about: all that it printed comes once.
func TestEachByteComesOnceHoweverOftenTheLinkBreaks(t *testing.T) {
	for run := range 300 {
		r := &fakeContainer{logHasCRs: run%2 == 0, logIsCut: run%3 == 0}
		tape, out, gaps := newReplay(r)
		var want strings.Builder
		line := 0
		print := func() {
			for range rand.IntN(30) {
				line++
				text := []string{
					fmt.Sprintf("%d\r\n", line), "same\r\n", "$ ", "\x1b[31m", "\x1b", "\x1b_other\x1b\\", "\x1b_ks", "\n", "é", "1%\r2%\r", "\r\r\n",
				}[rand.IntN(11)]
				r.print(text)
				want.WriteString(text)
			}
			if rand.IntN(4) == 0 {
				r.print("x" + markText("foreign"))
				want.WriteString("x")
			}
		}
		print()
		for cut := range 6 {
			id := fmt.Sprintf("id%d", cut)
			tape.ExpectMark(t.Context(), id)
			print() // nobody has it but the log
			begins := len(r.output)
			print()
			r.print(markText(id + "-0"))
			if rand.IntN(2) == 0 {
				print()
				r.print(markText(id + "-1"))
			}
			print()
			send(t, tape, r.output[begins:len(r.output)-rand.IntN(10)]) // the end is lost with the link
			select {
			case <-tape.Joined():
			default:
				continue // the link broke before the mark came: nothing was joined
			}
		}
		print()
		r.ended, r.logIsCut = true, false
		if err := tape.WriteRest(t.Context()); err != nil {
			t.Fatal(err)
		}
		// A CR more than there was moves nothing: where a link broke right behind one it comes twice.
		got, all := twice.ReplaceAllString(terminal(out.String()), "\r"), twice.ReplaceAllString(terminal(want.String()), "\r")
		if got != all || len(*gaps) > 0 || r.unreachable > 0 && run%3 != 0 {
			t.Fatalf("run %d, gaps %v:\n got %q\nwant %q", run, *gaps, got, all)
		}
	}
}

func TestWhoComesFromElsewhereSeesTheLastLines(t *testing.T) {
	r := &fakeContainer{}
	tape, out, gaps := newReplay(r)
	for i := range 50 {
		r.print(fmt.Sprintf("%d\r\n", i))
	}
	r.print("$ ")
	tape.StartAtTail(3)
	tape.ExpectMark(t.Context(), "a")
	r.print(markText("a-0"))
	send(t, tape, []byte(markText("a-0")+"live"))
	if want := "48\r\n49\r\n$ live"; out.String() != want || len(*gaps) > 0 {
		t.Errorf("got %q, want %q; gaps %v", out, want, *gaps)
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	first := func() (*fakeContainer, *Replay, *bytes.Buffer, *[]error) {
		r := &fakeContainer{}
		tape, out, gaps := newReplay(r)
		tape.ExpectMark(t.Context(), "a")
		r.print(markText("a") + "one\r\n")
		send(t, tape, r.output)
		return r, tape, out, gaps
	}
	t.Run("the log cannot be read", func(t *testing.T) {
		r, tape, out, gaps := first()
		r.logError = apierrors.NewBadRequest("no log today")
		tape.ExpectMark(t.Context(), "b")
		r.print("lost\r\n" + markText("b") + "two\r\n")
		send(t, tape, []byte(markText("b")+"two\r\n"))
		if out.String() != "one\r\ntwo\r\n" || len(*gaps) != 1 || !errors.Is((*gaps)[0], r.logError) {
			t.Errorf("got %q, gaps %v", out, *gaps)
		}
	})
	t.Run("the log was rotated away", func(t *testing.T) {
		r, tape, out, gaps := first()
		r.print("lost\r\n")
		r.rotatedAway = len(r.output)
		tape.ExpectMark(t.Context(), "b")
		r.print("kept\r\n" + markText("b") + "two\r\n")
		send(t, tape, []byte(markText("b")+"two\r\n"))
		if out.String() != "one\r\nkept\r\ntwo\r\n" || len(*gaps) != 1 || !errors.Is((*gaps)[0], errLogTooShort) {
			t.Errorf("got %q, gaps %v", out, *gaps)
		}
	})
	t.Run("there is no connection for the log", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, tape, out, gaps := first()
			r.logError = errors.New("cut")
			for i := range maxDroppedStreams + 1 {
				id := fmt.Sprint("b", i)
				tape.ExpectMark(t.Context(), id)
				r.print("gap\r\n" + markText(id))
				send(t, tape, []byte(markText(id)+"two\r\n"))
			}
			if out.String() != "one\r\ntwo\r\n" || len(*gaps) != 1 || !errors.Is((*gaps)[0], r.logError) || r.unreachable != maxDroppedStreams {
				t.Errorf("got %q, gaps %v, %d losses", out, *gaps, r.unreachable)
			}
		})
	})
	t.Run("no mark can be made", func(t *testing.T) {
		r, tape, out, gaps := first()
		tape.ExpectMark(t.Context(), "b")
		send(t, tape, []byte("early,"))
		tape.SkipMark("a")
		tape.SkipMark("b")
		<-tape.Joined()
		send(t, tape, []byte("passed"))
		tape.ExpectMark(t.Context(), "c")
		r.print("x\r\n" + markText("c") + "then")
		send(t, tape, []byte(markText("c")+"then"))
		if out.String() != "one\r\nearly,passedthen" || len(*gaps) != 1 || !errors.Is((*gaps)[0], errNoPosition) {
			t.Errorf("got %q, gaps %v", out, *gaps)
		}
	})
	t.Run("the log never brings the mark", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, tape, out, gaps := first()
			tape.ExpectMark(t.Context(), "b")
			r.print("gap\r\n")
			begin := time.Now()
			send(t, tape, []byte(markText("b")+"two"))
			if out.String() != "one\r\ngap\r\ntwo" || len(*gaps) != 1 || time.Since(begin) != logTimeout {
				t.Errorf("got %q after %v, gaps %v", out, time.Since(begin), *gaps)
			}
		})
	})
}

func TestTheLogIsReadFromTheLastMarkOn(t *testing.T) {
	r := &fakeContainer{}
	tape, _, _ := newReplay(r)
	for _, id := range []string{"a", "b"} {
		tape.ExpectMark(t.Context(), id)
		begins := len(r.output)
		r.print(markText(id) + "text\r\n")
		send(t, tape, r.output[begins:])
	}
	want := []LogStart{{}, {Since: time.Unix(1000, 0).Add(-sinceSlack)}}
	if fmt.Sprint(r.requests) != fmt.Sprint(want) {
		t.Errorf("asked for %v, want %v", r.requests, want)
	}
}

func TestAnOutputThatFailsEndsTheTape(t *testing.T) {
	full := errors.New("full")
	r := &fakeContainer{}
	tape, _, _ := newReplay(r)
	tape.Output = failing{full}
	tape.ExpectMark(t.Context(), "a")
	r.print("text\r\n" + markText("a"))
	if _, err := tape.Write(r.output); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	r.ended = true
	if err := tape.WriteRest(t.Context()); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func FuzzCutMark(f *testing.F) {
	for _, seed := range []string{"", "text", markText("a"), "x" + markText("a-1") + "y", "\x1b", "\x1b_kshell a", "\x1b_kshell a b\x1b\\\n", "\x1b_kshell a 1\x1b\\\r\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		text, m, rest, whole := cutMark(p)
		long := 0
		if m != nil {
			long = len(m.text)
		}
		if len(text)+long+len(rest) != len(p) || !bytes.HasPrefix(p, text) || !bytes.HasSuffix(p, rest) {
			t.Fatalf("%q is not %q, %d, %q", p, text, long, rest)
		}
		if !whole && len(rest) > maxMark+100 {
			t.Fatalf("%d bytes are held back", len(rest))
		}
	})
}
