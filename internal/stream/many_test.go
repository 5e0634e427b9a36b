package stream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

// The error of a Source that is refused contains its name, and the other Sources
// continue. Run returns when all have ended.
func TestMany_OneIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		forbidden := refuseWith(http.StatusForbidden, "Forbidden", "no")
		a := newObjectsTest(t, handlers{listOf("1", podJSON("a", "1"))}, handlers{
			watchBy(func(*websocket.Conn) { time.Sleep(time.Second) }), forbidden,
		})
		b := newObjectsTest(t, handlers{forbidden}, nil)
		var changes, ends []string
		calls := int32(0)
		m := Many[Object]{
			Sources: []Source[Object]{{"a", a.o}, {"b", b.o}},
			OnChange: func(source string, c Change[Object]) error {
				if atomic.AddInt32(&calls, 1) != 1 {
					t.Error("two calls at the same time")
				}
				changes = append(changes, source+" "+string(c.Type))
				time.Sleep(time.Millisecond)
				atomic.AddInt32(&calls, -1)
				return nil
			},
			OnEnd: func(e *SourceError) { ends = append(ends, e.Error()) },
		}
		err := m.Run(t.Context())
		wantLines(t, changes, "a ADDED", "a SYNCED", "a STALE")
		const refusal = ": the server refused (403): no"
		wantLines(t, ends, "b"+refusal, "a"+refusal)
		var source *SourceError
		if !errors.As(err, &source) || source.Source != "a" || err.Error() != "a"+refusal+"\nb"+refusal {
			t.Errorf("Run: %v", err)
		}
	})
}

// After the context has ended, nothing more is delivered.
func TestMany_Cancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		calls := 0
		m := Many[Object]{
			OnChange: func(string, Change[Object]) error {
				if calls++; calls == 3 {
					time.Sleep(time.Second) // the other Sources now wait for the end of this call
					cancel(stop)
				}
				return nil
			},
			OnEnd: func(e *SourceError) { t.Errorf("OnEnd: %v", e) },
		}
		for i := range 5 {
			x := newObjectsTest(t, handlers{listOf("1", podJSON("a", "1"))}, handlers{stayOpenWatch})
			m.Sources = append(m.Sources, Source[Object]{fmt.Sprint(i), x.o})
		}
		if err := m.Run(ctx); !errors.Is(err, stop) || calls != 3 {
			t.Errorf("%v after %d calls", err, calls)
		}
	})
}

// An error of OnChange ends only its Source.
func TestMany_OnChangeError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("stop")
		x := newObjectsTest(t, handlers{listOf("1")}, handlers{stayOpenWatch})
		y := newObjectsTest(t, handlers{listOf("1")}, handlers{
			watchEvents(time.Minute, eventJSON("ADDED", podJSON("a", "2"))),
		})
		var changes, ends []string
		m := Many[Object]{
			Sources: []Source[Object]{{"x", x.o}, {"y", y.o}},
			OnChange: func(source string, c Change[Object]) error {
				changes = append(changes, source+" "+string(c.Type))
				if source == "x" || c.Type == Added {
					return stop
				}
				return nil
			},
			OnEnd: func(e *SourceError) { ends = append(ends, e.Error()) },
		}
		err := m.Run(t.Context())
		slices.Sort(changes) // the order of the sources is random
		slices.Sort(ends)
		wantLines(t, changes, "x SYNCED", "y ADDED", "y SYNCED")
		wantLines(t, ends, "x: stop", "y: stop")
		if !errors.Is(err, stop) {
			t.Error(err)
		}
	})
}

// A panic of OnChange is passed to the caller of Run.
func TestMany_Panic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newObjectsTest(t, handlers{listOf("1")}, handlers{stayOpenWatch})
		y := newObjectsTest(t, handlers{listOf("1")}, handlers{stayOpenWatch})
		m := Many[Object]{
			Sources:  []Source[Object]{{"x", x.o}, {"y", y.o}},
			OnChange: func(string, Change[Object]) error { panic("oops") },
		}
		defer func() {
			if text := fmt.Sprint(recover()); !strings.Contains(text, "oops") {
				t.Errorf("recovered %q", text)
			}
		}()
		_ = m.Run(t.Context())
		t.Error("no panic")
	})
}
