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

// refusedLog returns the error of a log request that is answered with this
// status.
func refusedLog(code int) error {
	return apierrors.NewGenericServerResponse(code, "GET", schema.GroupResource{Resource: "pods"}, "shell", "upstream said no", 0, true)
}

// logs makes the next log requests return these results, in order. Further
// requests read the log of r.
func logs(tape *Replay, r *fakeContainer, results ...func(ctx context.Context) (io.ReadCloser, error)) (requests *int) {
	requests = new(int)
	tape.Log = func(ctx context.Context, from LogStart, follow bool) (io.ReadCloser, error) {
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

func failed(err error) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return nil, err }
}

func content(text string, err error) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader(text), iotest.ErrReader(err))), nil
	}
}

func silent(ctx context.Context) (io.ReadCloser, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// outage returns a tape whose stream was interrupted after "one"; "gap" was
// printed after that. rejoin resumes it.
func interruptedReplay(t *testing.T) (r *fakeContainer, tape *Replay, out *bytes.Buffer, gaps *[]error) {
	t.Helper()
	r = &fakeContainer{}
	tape, out, gaps = newReplay(r)
	tape.ExpectMark(t.Context(), "a")
	r.print(markText("a") + "one\r\n")
	send(t, tape, r.output)
	r.print("gap\r\n")
	return r, tape, out, gaps
}

func rejoin(t *testing.T, r *fakeContainer, tape *Replay) {
	t.Helper()
	tape.ExpectMark(t.Context(), "b")
	r.print(markText("b") + "two\r\n")
	send(t, tape, []byte(markText("b")+"two\r\n"))
	select {
	case <-tape.Joined():
	default:
		t.Error("the stream was not joined")
	}
}

func wantGap(t *testing.T, gaps []error, want string) {
	t.Helper()
	if len(gaps) != 1 || gaps[0].Error() != want {
		t.Errorf("gaps %v, want %q", gaps, want)
	}
}

// A log that the server refuses, or that is cut off, is requested again, and no
// output is missing.
func TestTapeLog_RetriedWithoutAGap(t *testing.T) {
	cut := errors.New("cut")
	for name, results := range map[string][]func(context.Context) (io.ReadCloser, error){
		"503":            {failed(refusedLog(503))},
		"500, 502, 504":  {failed(refusedLog(500)), failed(refusedLog(502)), failed(refusedLog(504))},
		"429":            {failed(refusedLog(429))},
		"no connection":  {failed(cut)},
		"it is cut":      {content(markText("a")+"one\ng", cut)},
		"it ends early":  {content(markText("a")+"one\nga", io.EOF)},
		"it breaks off":  {content(markText("a")+"one\nga", io.ErrUnexpectedEOF), content(markText("a")+"one\ngap", io.ErrUnexpectedEOF)},
		"many, but more": {content(markText("a")+"one\ng", cut), content(markText("a")+"one\nga", cut), content(markText("a")+"one\ngap", cut), content(markText("a")+"one\ngap\n", cut)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, tape, out, gaps := interruptedReplay(t)
				requests := logs(tape, r, results...)
				rejoin(t, r, tape)
				if want := "one\r\ngap\r\ntwo\r\n"; out.String() != want || len(*gaps) > 0 || r.unreachable > 0 {
					t.Errorf("got %q, want %q; gaps %v, %d losses", out, want, *gaps, r.unreachable)
				}
				if *requests != len(results)+1 {
					t.Errorf("%d requests", *requests)
				}
			})
		})
	}
}

// Without the log the output of the outage is missing, and the session goes on.
func TestTapeLog_UnavailableKeepsTheSession(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "pods"}, "shell", errors.New(`User "dev" cannot get resource "pods/log"`))
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
				r, tape, out, gaps := interruptedReplay(t)
				r.logError = c.err
				requests := logs(tape, r)
				begin := time.Now()
				rejoin(t, r, tape)
				if out.String() != "one\r\ntwo\r\n" || r.unreachable > 0 {
					t.Errorf("got %q, %d losses", out, r.unreachable)
				}
				wantGap(t, *gaps, c.want)
				if took := time.Since(begin); took > 3*time.Second || *requests != c.requests {
					t.Errorf("%d requests in %v", *requests, took)
				}
				r.logError = nil // the log of the next outage can be read
				r.print("gap2\r\n")
				tape.ExpectMark(t.Context(), "c")
				r.print(markText("c") + "three\r\n")
				send(t, tape, []byte(markText("c")+"three\r\n"))
				if want := "one\r\ntwo\r\ngap2\r\nthree\r\n"; out.String() != want || len(*gaps) != 1 {
					t.Errorf("got %q, want %q; gaps %v", out, want, *gaps)
				}
			})
		})
	}
}

func TestTapeLog_NeverAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tape, out, gaps := interruptedReplay(t)
		logs(tape, r, silent)
		begin := time.Now()
		rejoin(t, r, tape)
		if out.String() != "one\r\ntwo\r\n" || r.unreachable > 0 || time.Since(begin) != logTimeout {
			t.Errorf("got %q, %d losses, after %v", out, r.unreachable, time.Since(begin))
		}
		wantGap(t, *gaps, "no data from the container's log within 10s")
	})
}

func TestTapeLog_EndsEarlyEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tape, out, gaps := interruptedReplay(t)
		var results []func(context.Context) (io.ReadCloser, error)
		for range maxLogAttempts + 1 {
			results = append(results, content(markText("a")+"one\nga", io.EOF))
		}
		logs(tape, r, results...)
		rejoin(t, r, tape)
		if out.String() != "one\r\ngatwo\r\n" || r.unreachable > 0 {
			t.Errorf("got %q, %d losses", out, r.unreachable)
		}
		wantGap(t, *gaps, "the container's log ended early")
	})
}

// If nothing of the log could be read, the output of the new stream before the
// mark is written, such as the first prompt.
func TestTapeLog_UnavailableShowsTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &fakeContainer{logError: refusedLog(503)}
		tape, out, gaps := newReplay(r)
		tape.ExpectMark(t.Context(), "a")
		r.print("$ " + markText("foreign") + "ls\r\n" + markText("a") + "file\r\n")
		send(t, tape, r.output)
		if want := "$ ls\r\nfile\r\n"; out.String() != want {
			t.Errorf("got %q, want %q", out, want)
		}
		wantGap(t, *gaps, "cannot read the container's log (HTTP 503)")
	})
}

// At the end of a shell, too, the log is requested again.
func TestTapeRest_Retried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, tape, out, gaps := interruptedReplay(t)
		r.ended = true
		logs(tape, r, failed(refusedLog(503)), content(markText("a")+"one\ng", io.ErrUnexpectedEOF))
		if err := tape.WriteRest(t.Context()); err != nil || out.String() != "one\r\ngap\r\n" || len(*gaps) > 0 {
			t.Errorf("got %q, %v, gaps %v", out, err, *gaps)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r, tape, _, _ := interruptedReplay(t)
		r.logError = refusedLog(503)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		err := tape.WriteRest(ctx)
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
