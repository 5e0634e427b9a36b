package node

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// slow is a log that returns each part after a pause, and then nothing until
// the context ends.
type slow struct {
	ctx   context.Context
	pause time.Duration
	parts []string
}

func (s *slow) Read(p []byte) (int, error) {
	if len(s.parts) == 0 {
		<-s.ctx.Done()
		return 0, s.ctx.Err()
	}
	select {
	case <-time.After(s.pause):
	case <-s.ctx.Done():
		return 0, s.ctx.Err()
	}
	n := copy(p, s.parts[0])
	s.parts = s.parts[1:]
	return n, nil
}

func (s *slow) Close() error { return nil }

func TestTapeLog_PatienceIsForEachRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tape, out, gaps := interruptedReplay(t)
		logs(tape, r, func(ctx context.Context) (io.ReadCloser, error) {
			return &slow{ctx, logTimeout - time.Second, []string{markText("a") + "one\n", "g", "ap\n", markText("b")}}, nil
		})
		rejoin(t, r, tape)
		if want := "one\r\ngap\r\ntwo\r\n"; out.String() != want || len(*gaps) > 0 {
			t.Errorf("got %q, want %q; gaps %v", out, want, *gaps)
		}
	})
}

func TestTapeLog_EmptyReadsBringNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tape, _, gaps := interruptedReplay(t)
		logs(tape, r, func(ctx context.Context) (io.ReadCloser, error) {
			return &slow{ctx, logTimeout - time.Second, make([]string, 100)}, nil
		})
		begin := time.Now()
		rejoin(t, r, tape)
		if took := time.Since(begin); took != logTimeout {
			t.Errorf("gave up after %v, want %v", took, logTimeout)
		}
		wantGap(t, *gaps, errLogSilent.Error())
	})
}

func TestTapeLog_PausesBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tape, _, _ := interruptedReplay(t)
		begin := time.Now()
		var at []time.Duration
		tape.Log = func(context.Context, LogStart, bool) (io.ReadCloser, error) {
			at = append(at, time.Since(begin))
			return nil, refusedLog(503)
		}
		rejoin(t, r, tape)
		if want := []time.Duration{0, 0, logRetryPause, 3 * logRetryPause}; !slices.Equal(at, want) {
			t.Errorf("requests after %v, want %v", at, want)
		}
	})
}

// A shell's first stream begins with the whole log, however long it is.
func TestTapeLog_LongLogBeforeTheFirstStream(t *testing.T) {
	r := &fakeContainer{}
	tape, out, gaps := newReplay(r)
	tape.ExpectMark(t.Context(), "a")
	text := strings.Repeat(strings.Repeat("x", 98)+"\r\n", maxUnmatched/50)
	r.print(text + markText("a"))
	send(t, tape, []byte(markText("a")+"live"))
	if out.String() != text+"live" || len(*gaps) > 0 {
		t.Errorf("got %d bytes, want %d; gaps %v", out.Len(), len(text+"live"), *gaps)
	}
}

func TestTapeRest_OutputFailsForTheLastLines(t *testing.T) {
	full := errors.New("full")
	r := &fakeContainer{ended: true}
	tape, _, _ := newReplay(r)
	tape.Output = failing{full}
	tape.StartAtTail(3)
	r.print("text\r\n")
	if err := tape.WriteRest(t.Context()); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
}

func TestTape_GiveUpOfAnEarlierMark(t *testing.T) {
	r := &fakeContainer{}
	tape, out, gaps := newReplay(r)
	tape.ExpectMark(t.Context(), "b")
	r.print("early")
	send(t, tape, r.output)
	tape.SkipMark("a")
	select {
	case <-tape.Joined():
		t.Fatal("the stream counts as joined")
	default:
	}
	r.print(markText("b") + "live")
	send(t, tape, []byte(markText("b")+"live"))
	if out.String() != "earlylive" || len(*gaps) > 0 {
		t.Errorf("got %q, gaps %v", out, *gaps)
	}
}

func TestTape_SessionEndsDuringTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tape, out, gaps := interruptedReplay(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		logs(tape, r, silent)
		tape.ExpectMark(ctx, "b")
		if _, err := tape.Write([]byte(markText("b"))); err != nil {
			t.Error(err)
		}
		if out.String() != "one\r\n" || len(*gaps) > 0 || r.unreachable > 0 {
			t.Errorf("got %q, gaps %v, %d losses; want nothing more", out, *gaps, r.unreachable)
		}
	})
}

func TestParseMark_Limits(t *testing.T) {
	mark := func(long int) string {
		const second = " 1000"
		return markStart + strings.Repeat("x", long-len(second)) + second + markEnd + "\r\n"
	}
	longest := mark(maxMark)
	for n := range len(longest) {
		if m, ok := parseMark([]byte(longest[:n])); m != nil || ok {
			t.Errorf("the first %d bytes of the longest mark: got %v, %v; more input is needed", n, m, ok)
		}
	}
	if m, _ := parseMark([]byte(longest)); m == nil || len(m.text) != len(longest) {
		t.Errorf("the longest mark: got %v", m)
	}
	for name, text := range map[string]string{
		"too long":          mark(maxMark + 1),
		"endless":           markStart + strings.Repeat("x", maxMark+len(markEnd)),
		"empty":             markStart + markEnd + "\n",
		"no time":           markStart + "a" + markEnd + "\n",
		"no line end":       markStart + "a 1000" + markEnd + "x",
		"CR without LF":     markStart + "a 1000" + markEnd + "\rx",
		"another sequence":  "\x1b_other" + strings.Repeat("x", len(markStart)),
		"another beginning": "\x1b[",
	} {
		if m, ok := parseMark([]byte(text)); m != nil || !ok {
			t.Errorf("%s: got %v, %v; it is not a mark", name, m, ok)
		}
	}
}
