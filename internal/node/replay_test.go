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
	if err := flag.Set("test.parallel", "8"); err != nil { // most tests wait most of the time
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// terminal returns text as a terminal prints it: with exactly one CR before
// each LF.
func terminal(text string) string {
	var l crStripper
	return strings.ReplaceAll(string(l.flush(l.strip(nil, []byte(text)))), "\n", "\r\n")
}

// fakeContainer is a container whose main process prints output. Its log
// contains the complete lines of the output.
type fakeContainer struct {
	output      []byte
	ended       bool
	logHasCRs   bool   // the log contains the CRs before an LF
	logError    error  // the error of all log requests
	rotatedAway int    // bytes at the beginning that the log no longer contains
	logEnds     int    // if not 0, the log ends early, after these bytes of the output
	gaps        []Gap  // the arguments of OutputMissing
	onGap       func() // called by OutputMissing; may be nil
	unreachable int    // number of calls of LogUnreachable
	cutLast     bool   // the last log was cut off
	logIsCut    bool   // logs are cut off now and then
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
	if r.logEnds > 0 {
		return io.NopCloser(bytes.NewReader(bytes.ReplaceAll(r.output[:r.logEnds], []byte("\r\n"), []byte("\n")))), nil
	}
	if !r.ended {
		lines = lines[:bytes.LastIndexByte(lines, '\n')+1]
	}
	if !r.logHasCRs { // containerd reads lines with bufio.Reader.ReadLine, which removes these CRs
		lines = bytes.ReplaceAll(lines, []byte("\r\n"), []byte("\n"))
	}
	if from.Tail > 0 {
		all := bytes.SplitAfter(lines, []byte("\n"))
		lines = bytes.Join(all[max(0, len(all)-1-int(from.Tail)):], nil)
	}
	if r.cutLast = r.logIsCut && !r.cutLast && rand.IntN(3) == 0; r.cutLast {
		lines = lines[:rand.IntN(len(lines)+1)]
		return io.NopCloser(io.MultiReader(bytes.NewReader(lines), iotest.ErrReader(errors.New("cut")))), nil
	}
	var more io.Reader = strings.NewReader("")
	if follow {
		more = waiting{ctx}
	}
	return io.NopCloser(io.MultiReader(bytes.NewReader(lines), more)), nil
}

// waiting is a reader that blocks until the context ends.
type waiting struct{ ctx context.Context }

func (w waiting) Read([]byte) (int, error) {
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}

// newReplay returns a Replay for r, its output, and the errors that are passed
// to OutputMissing.
func newReplay(r *fakeContainer) (t *Replay, out *bytes.Buffer, missing *[]error) {
	out, missing = &bytes.Buffer{}, &[]error{}
	return &Replay{Output: out, Source: &fakeSource{r, r.openLog, missing}}, out, missing
}

// fakeSource is the ReplaySource of a fakeContainer. Tests replace open.
type fakeSource struct {
	container *fakeContainer
	open      func(ctx context.Context, from LogStart, follow bool) (io.ReadCloser, error)
	missing   *[]error // the arguments of OutputMissing
}

func (s *fakeSource) OpenLog(ctx context.Context, from LogStart, follow bool) (io.ReadCloser, error) {
	return s.open(ctx, from, follow)
}

func (s *fakeSource) OutputMissing(gap Gap) {
	*s.missing = append(*s.missing, gap.Err)
	s.container.gaps = append(s.container.gaps, gap)
	if s.container.onGap != nil {
		s.container.onGap()
	}
}

func (s *fakeSource) LogUnreachable(error) { s.container.unreachable++ }

// send writes p to the replay in pieces of random sizes.
func send(t *testing.T, replay *Replay, p []byte) {
	t.Helper()
	for len(p) > 0 {
		n := min(len(p), 1+rand.IntN(20))
		if _, err := replay.Write(p[:n]); err != nil {
			t.Fatal(err)
		}
		p = p[n:]
	}
}

var repeatedCRs = regexp.MustCompile("\r+")

// The stream is interrupted at random places, and the output contains marks of
// other clients and escape sequences.
func TestReplay_EachByteOnce(t *testing.T) {
	for run := range 300 {
		r := &fakeContainer{logHasCRs: run%2 == 0, logIsCut: run%3 == 0}
		replay, out, missing := newReplay(r)
		var want strings.Builder
		line := 0
		print := func() {
			for range rand.IntN(30) {
				line++
				text := []string{
					fmt.Sprintf("%d\r\n", line), "same\r\n", "$ ", "\x1b[31m", "\x1b", "\x1b_other\x1b\\", "\x1b_ks", "\n", "é",
					"1%\r2%\r", "\r\r\n",
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
			replay.ExpectMark(t.Context(), id)
			print() // only in the log
			streamStart := len(r.output)
			print()
			r.print(markText(id + "-0"))
			if rand.IntN(2) == 0 {
				print()
				r.print(markText(id + "-1"))
			}
			print()
			send(t, replay, r.output[streamStart:len(r.output)-rand.IntN(10)]) // the end of the stream is lost
			select {
			case <-replay.Joined():
			default:
				continue // the stream ended before the mark
			}
		}
		print()
		r.ended, r.logIsCut = true, false
		if err := replay.WriteRest(t.Context()); err != nil {
			t.Fatal(err)
		}
		// If a stream ends directly after a CR, Replay may write this CR twice,
		// which is harmless.
		got := repeatedCRs.ReplaceAllString(terminal(out.String()), "\r")
		all := repeatedCRs.ReplaceAllString(terminal(want.String()), "\r")
		if got != all || len(*missing) > 0 || r.unreachable > 0 && run%3 != 0 {
			t.Fatalf("run %d, missing %v:\n got %q\nwant %q", run, *missing, got, all)
		}
	}
}

func TestReplay_StartAtTail(t *testing.T) {
	r := &fakeContainer{}
	replay, out, missing := newReplay(r)
	for i := range 50 {
		r.print(fmt.Sprintf("%d\r\n", i))
	}
	r.print("$ ")
	replay.StartAtTail(3)
	replay.ExpectMark(t.Context(), "a")
	r.print(markText("a-0"))
	send(t, replay, []byte(markText("a-0")+"live"))
	if want := "48\r\n49\r\n$ live"; out.String() != want || len(*missing) > 0 {
		t.Errorf("got %q, want %q; missing %v", out, want, *missing)
	}
}

func TestReplay_OutputMissing(t *testing.T) {
	first := func() (*fakeContainer, *Replay, *bytes.Buffer, *[]error) {
		r := &fakeContainer{}
		replay, out, missing := newReplay(r)
		replay.ExpectMark(t.Context(), "a")
		r.print(markText("a") + "one\r\n")
		send(t, replay, r.output)
		return r, replay, out, missing
	}
	t.Run("the log cannot be read", func(t *testing.T) {
		r, replay, out, missing := first()
		r.logError = apierrors.NewBadRequest("no log today")
		replay.ExpectMark(t.Context(), "b")
		r.print("lost\r\n" + markText("b") + "two\r\n")
		send(t, replay, []byte(markText("b")+"two\r\n"))
		if out.String() != "one\r\ntwo\r\n" || len(*missing) != 1 || !errors.Is((*missing)[0], r.logError) {
			t.Errorf("got %q, missing %v", out, *missing)
		}
	})
	t.Run("the log was rotated", func(t *testing.T) {
		r, replay, out, missing := first()
		r.print("lost\r\n")
		r.rotatedAway = len(r.output)
		replay.ExpectMark(t.Context(), "b")
		r.print("kept\r\n" + markText("b") + "two\r\n")
		send(t, replay, []byte(markText("b")+"two\r\n"))
		if out.String() != "one\r\nkept\r\ntwo\r\n" || len(*missing) != 1 || !errors.Is((*missing)[0], errLogTooShort) {
			t.Errorf("got %q, missing %v", out, *missing)
		}
	})
	t.Run("the log is unreachable", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, replay, out, missing := first()
			r.logError = errors.New("cut")
			for i := range maxDroppedStreams + 1 {
				id := fmt.Sprint("b", i)
				replay.ExpectMark(t.Context(), id)
				r.print("gap\r\n" + markText(id))
				send(t, replay, []byte(markText(id)+"two\r\n"))
			}
			want := "one\r\n" + strings.Repeat("two\r\n", maxDroppedStreams+1) // each stream has delivered it
			if out.String() != want || len(*missing) != maxDroppedStreams+1 || !errors.Is((*missing)[0], r.logError) ||
				r.unreachable != maxDroppedStreams {
				t.Errorf("got %q, missing %v, unreachable %d times", out, *missing, r.unreachable)
			}
		})
	})
	t.Run("the mark is skipped", func(t *testing.T) {
		r, replay, out, missing := first()
		replay.ExpectMark(t.Context(), "b")
		send(t, replay, []byte("early,"))
		replay.SkipMark("a")
		replay.SkipMark("b")
		<-replay.Joined()
		send(t, replay, []byte("passed"))
		replay.ExpectMark(t.Context(), "c")
		r.print("x\r\n" + markText("c") + "then")
		send(t, replay, []byte(markText("c")+"then"))
		if out.String() != "one\r\nearly,passedx\r\nthen" || len(*missing) != 1 ||
			!errors.Is((*missing)[0], errLogTooShort) {
			t.Errorf("got %q, missing %v", out, *missing)
		}
	})
	t.Run("the log does not contain the mark", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			r, replay, out, missing := first()
			replay.ExpectMark(t.Context(), "b")
			r.print("gap\r\n")
			begin := time.Now()
			send(t, replay, []byte(markText("b")+"two"))
			if out.String() != "one\r\ngap\r\ntwo" || len(*missing) != 1 || time.Since(begin) != logTimeout {
				t.Errorf("got %q after %v, missing %v", out, time.Since(begin), *missing)
			}
		})
	})
}

func TestReplay_LogIsReadFromTheLastMark(t *testing.T) {
	r := &fakeContainer{}
	replay, _, _ := newReplay(r)
	for _, id := range []string{"a", "b"} {
		replay.ExpectMark(t.Context(), id)
		streamStart := len(r.output)
		r.print(markText(id) + "text\r\n")
		send(t, replay, r.output[streamStart:])
	}
	want := []LogStart{{}, {Since: time.Unix(1000, 0).Add(-sinceSlack)}}
	if fmt.Sprint(r.requests) != fmt.Sprint(want) {
		t.Errorf("requests %v, want %v", r.requests, want)
	}
}

func TestReplay_OutputFails(t *testing.T) {
	full := errors.New("full")
	r := &fakeContainer{}
	replay, _, _ := newReplay(r)
	replay.Output = failing{full}
	replay.ExpectMark(t.Context(), "a")
	r.print("text\r\n" + markText("a"))
	if _, err := replay.Write(r.output); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	r.ended = true
	if err := replay.WriteRest(t.Context()); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func FuzzCutMark(f *testing.F) {
	for _, seed := range []string{
		"", "text", markText("a"), "x" + markText("a-1") + "y", "\x1b", "\x1b_kshell a", "\x1b_kshell a b\x1b\\\n",
		"\x1b_kshell a 1\x1b\\\r\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		text, m, rest, complete := cutMark(p)
		markLen := 0
		if m != nil {
			markLen = len(m.text)
		}
		if len(text)+markLen+len(rest) != len(p) || !bytes.HasPrefix(p, text) || !bytes.HasSuffix(p, rest) {
			t.Fatalf("%q was cut into %q, a mark of %d bytes and %q", p, text, markLen, rest)
		}
		if !complete && len(rest) > maxMark+100 {
			t.Fatalf("%d bytes are held", len(rest))
		}
	})
}
