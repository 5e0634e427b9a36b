package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// refusedLog returns the error of a log request whose response has this status
// code.
func refusedLog(code int) error {
	pods := schema.GroupResource{Resource: "pods"}
	return apierrors.NewGenericServerResponse(code, "GET", pods, "shell", "upstream said no", 0, true)
}

type logResult func(context.Context) (io.ReadCloser, error)

// logs makes the next log requests return these results, in order. Further
// requests read the log of r.
func logs(replay *Replay, r *fakeContainer, results ...logResult) (requests *int) {
	requests = new(int)
	replay.Source.(*fakeSource).open = func(ctx context.Context, from LogStart, follow bool) (io.ReadCloser, error) {
		*requests++
		if len(results) == 0 {
			return r.openLog(ctx, from, follow)
		}
		next := results[0]
		results = results[1:]
		return next(ctx)
	}
	return requests
}

func failed(err error) logResult {
	return func(context.Context) (io.ReadCloser, error) { return nil, err }
}

func content(text string, err error) logResult {
	return func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader(text), iotest.ErrReader(err))), nil
	}
}

func silent(ctx context.Context) (io.ReadCloser, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// interruptedReplay returns a Replay whose stream was interrupted after "one".
// After that, the shell printed "gap", which only the log contains. rejoin
// joins a new stream.
func interruptedReplay(t *testing.T) (r *fakeContainer, replay *Replay, out *bytes.Buffer, missing *[]error) {
	t.Helper()
	r = &fakeContainer{}
	replay, out, missing = newReplay(r)
	replay.ExpectMark(t.Context(), "a")
	r.print(markText("a") + "one\r\n")
	send(t, replay, r.output)
	r.print("gap\r\n")
	return r, replay, out, missing
}

func rejoin(t *testing.T, r *fakeContainer, replay *Replay) {
	t.Helper()
	replay.ExpectMark(t.Context(), "b")
	r.print(markText("b") + "two\r\n")
	send(t, replay, []byte(markText("b")+"two\r\n"))
	select {
	case <-replay.Joined():
	default:
		t.Error("the stream was not joined")
	}
}

func wantMissing(t *testing.T, missing []error, want string) {
	t.Helper()
	if len(missing) != 1 || missing[0].Error() != want {
		t.Errorf("missing %v, want %q", missing, want)
	}
}

func TestReplayLog_RetriedWithoutLoss(t *testing.T) {
	cut := errors.New("cut")
	for name, results := range map[string][]logResult{
		"503":           {failed(refusedLog(503))},
		"500, 502, 504": {failed(refusedLog(500)), failed(refusedLog(502)), failed(refusedLog(504))},
		"429":           {failed(refusedLog(429))},
		"no connection": {failed(cut)},
		"cut off":       {content(markText("a")+"one\ng", cut)},
		"ends early":    {content(markText("a")+"one\nga", io.EOF)},
		"unexpected EOF": {
			content(markText("a")+"one\nga", io.ErrUnexpectedEOF), content(markText("a")+"one\ngap", io.ErrUnexpectedEOF),
		},
		"many with new output": {
			content(markText("a")+"one\ng", cut), content(markText("a")+"one\nga", cut),
			content(markText("a")+"one\ngap", cut), content(markText("a")+"one\ngap\n", cut),
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, replay, out, missing := interruptedReplay(t)
				requests := logs(replay, r, results...)
				rejoin(t, r, replay)
				if want := "one\r\ngap\r\ntwo\r\n"; out.String() != want || len(*missing) > 0 || r.unreachable > 0 {
					t.Errorf("got %q, want %q; missing %v, unreachable %d times", out, want, *missing, r.unreachable)
				}
				if *requests != len(results)+1 {
					t.Errorf("%d requests", *requests)
				}
			})
		})
	}
}

// If the log cannot be read, what was printed during the outage is missing, but
// the session continues.
func TestReplayLog_UnavailableKeepsTheSession(t *testing.T) {
	reason := errors.New(`User "dev" cannot get resource "pods/log"`)
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "shell", reason)
	for name, c := range map[string]struct {
		err      error
		requests int
		want     string
	}{
		"500":       {refusedLog(500), maxLogAttempts, "cannot read the container's log (HTTP 500)"},
		"503":       {refusedLog(503), maxLogAttempts, "cannot read the container's log (HTTP 503)"},
		"429":       {refusedLog(429), maxLogAttempts, "cannot read the container's log (HTTP 429)"},
		"forbidden": {forbidden, 1, "cannot read the container's log: " + forbidden.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, replay, out, missing := interruptedReplay(t)
				r.logError = c.err
				requests := logs(replay, r)
				begin := time.Now()
				rejoin(t, r, replay)
				if out.String() != "one\r\ntwo\r\n" || r.unreachable > 0 {
					t.Errorf("got %q, unreachable %d times", out, r.unreachable)
				}
				wantMissing(t, *missing, c.want)
				if took := time.Since(begin); took > 3*time.Second || *requests != c.requests {
					t.Errorf("%d requests in %v", *requests, took)
				}
				r.logError = nil // the next request succeeds
				r.print("gap2\r\n")
				replay.ExpectMark(t.Context(), "c")
				r.print(markText("c") + "three\r\n")
				send(t, replay, []byte(markText("c")+"three\r\n"))
				if want := "one\r\ntwo\r\ngap2\r\nthree\r\n"; out.String() != want || len(*missing) != 1 {
					t.Errorf("got %q, want %q; missing %v", out, want, *missing)
				}
			})
		})
	}
}

func TestReplayLog_NeverAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, replay, out, missing := interruptedReplay(t)
		logs(replay, r, silent)
		begin := time.Now()
		rejoin(t, r, replay)
		if out.String() != "one\r\ntwo\r\n" || r.unreachable > 0 || time.Since(begin) != logTimeout {
			t.Errorf("got %q, unreachable %d times, after %v", out, r.unreachable, time.Since(begin))
		}
		wantMissing(t, *missing, "no data from the container's log within 10s")
	})
}

func TestReplayLog_EndsEarlyEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, replay, out, missing := interruptedReplay(t)
		var results []logResult
		for range maxLogAttempts + 1 {
			results = append(results, content(markText("a")+"one\nga", io.EOF))
		}
		logs(replay, r, results...)
		rejoin(t, r, replay)
		if out.String() != "one\r\ngatwo\r\n" || r.unreachable > 0 {
			t.Errorf("got %q, unreachable %d times", out, r.unreachable)
		}
		wantMissing(t, *missing, "the container's log ended early")
	})
}

// If nothing of the log could be read, the new stream's output before the mark,
// such as the first prompt, is written.
func TestReplayLog_UnavailableShowsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &fakeContainer{logError: refusedLog(503)}
		replay, out, missing := newReplay(r)
		replay.ExpectMark(t.Context(), "a")
		r.print("$ " + markText("foreign") + "ls\r\n" + markText("a") + "file\r\n")
		send(t, replay, r.output)
		if want := "$ ls\r\nfile\r\n"; out.String() != want {
			t.Errorf("got %q, want %q", out, want)
		}
		wantMissing(t, *missing, "cannot read the container's log (HTTP 503)")
	})
}

func TestReplay_WriteRestRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, replay, out, missing := interruptedReplay(t)
		r.ended = true
		logs(replay, r, failed(refusedLog(503)), content(markText("a")+"one\ng", io.ErrUnexpectedEOF))
		if err := replay.WriteRest(t.Context()); err != nil || out.String() != "one\r\ngap\r\n" || len(*missing) > 0 {
			t.Errorf("got %q, %v, missing %v", out, err, *missing)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r, replay, _, _ := interruptedReplay(t)
		r.logError = refusedLog(503)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		err := replay.WriteRest(ctx)
		var refused *logError
		if !errors.As(err, &refused) || refused.Code != 503 || time.Since(begin) > time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

func TestLogError(t *testing.T) {
	status := &apierrors.StatusError{ErrStatus: metav1.Status{Code: 404, Message: `pods "shell" not found`}}
	for want, err := range map[string]error{
		"cannot read the container's log (HTTP 504)":              newLogError(fmt.Errorf("x: %w", refusedLog(504))),
		`cannot read the container's log: pods "shell" not found`: newLogError(status),
		"cannot read the container's log: cut":                    newLogError(errors.New("cut")),
	} {
		if err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	}
}
