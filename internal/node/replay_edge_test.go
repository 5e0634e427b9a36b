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

// slow is a log that returns each part after a pause, and then blocks until the
// context ends.
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

func TestReplayLog_TimeoutIsPerRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, replay, out, missing := interruptedReplay(t)
		logs(replay, r, func(ctx context.Context) (io.ReadCloser, error) {
			return &slow{ctx, logTimeout - time.Second, []string{markText("a") + "one\n", "g", "ap\n", markText("b")}}, nil
		})
		rejoin(t, r, replay)
		if want := "one\r\ngap\r\ntwo\r\n"; out.String() != want || len(*missing) > 0 {
			t.Errorf("got %q, want %q; missing %v", out, want, *missing)
		}
	})
}

func TestReplayLog_EmptyReadsDoNotExtendTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, replay, _, missing := interruptedReplay(t)
		logs(replay, r, func(ctx context.Context) (io.ReadCloser, error) {
			return &slow{ctx, logTimeout - time.Second, make([]string, 100)}, nil
		})
		begin := time.Now()
		rejoin(t, r, replay)
		if took := time.Since(begin); took != logTimeout {
			t.Errorf("gave up after %v, want %v", took, logTimeout)
		}
		wantMissing(t, *missing, errLogSilent.Error())
	})
}

func TestReplayLog_PausesBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, replay, _, _ := interruptedReplay(t)
		begin := time.Now()
		var at []time.Duration
		replay.Source.(*fakeSource).open = func(context.Context, LogStart, bool) (io.ReadCloser, error) {
			at = append(at, time.Since(begin))
			return nil, refusedLog(503)
		}
		rejoin(t, r, replay)
		if want := []time.Duration{0, 0, logRetryPause, 3 * logRetryPause}; !slices.Equal(at, want) {
			t.Errorf("requests after %v, want %v", at, want)
		}
	})
}

// The first stream of a shell begins with the complete log, however long it is.
func TestReplayLog_LongLogBeforeTheFirstStream(t *testing.T) {
	r := &fakeContainer{}
	replay, out, missing := newReplay(r)
	replay.ExpectMark(t.Context(), "a")
	text := strings.Repeat(strings.Repeat("x", 98)+"\r\n", maxHeld/50)
	r.print(text + markText("a"))
	send(t, replay, []byte(markText("a")+"live"))
	if out.String() != text+"live" || len(*missing) > 0 {
		t.Errorf("got %d bytes, want %d; missing %v", out.Len(), len(text+"live"), *missing)
	}
}

func TestReplay_WriteRestOutputFailsForTheLastLines(t *testing.T) {
	full := errors.New("full")
	r := &fakeContainer{ended: true}
	replay, _, _ := newReplay(r)
	replay.Output = failing{full}
	replay.StartAtTail(3)
	r.print("text\r\n")
	if err := replay.WriteRest(t.Context()); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
}

func TestReplay_SkipEarlierMark(t *testing.T) {
	r := &fakeContainer{}
	replay, out, missing := newReplay(r)
	replay.ExpectMark(t.Context(), "b")
	r.print("early")
	send(t, replay, r.output)
	replay.SkipMark("a")
	select {
	case <-replay.Joined():
		t.Fatal("the stream counts as joined")
	default:
	}
	r.print(markText("b") + "live")
	send(t, replay, []byte(markText("b")+"live"))
	if out.String() != "earlylive" || len(*missing) > 0 {
		t.Errorf("got %q, missing %v", out, *missing)
	}
}

func TestReplay_SessionEndsWhileLogIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, replay, out, missing := interruptedReplay(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		logs(replay, r, silent)
		replay.ExpectMark(ctx, "b")
		if _, err := replay.Write([]byte(markText("b"))); err != nil {
			t.Error(err)
		}
		if out.String() != "one\r\n" || len(*missing) > 0 || r.unreachable > 0 {
			t.Errorf("got %q, missing %v, %d losses; want nothing more", out, *missing, r.unreachable)
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
