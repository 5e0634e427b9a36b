package interactive

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// watched runs an idleWatch with a limit in the background, and returns what it
// does: warn, clear and end, with the time since the start.
func watched(ctx context.Context, limit time.Duration) (w *idleWatch, events *[]string) {
	w, events = newIdleWatch(limit), new([]string)
	start := time.Now()
	add := func(what string) func() {
		return func() { *events = append(*events, what+" "+time.Since(start).String()) }
	}
	w.warn, w.clear, w.end = add("warn"), add("clear"), add("end")
	go w.run(ctx)
	return w, events
}

func TestIdleWatch(t *testing.T) {
	for _, test := range []struct {
		name  string
		limit time.Duration
		keys  []time.Duration // when keys are typed
		want  []string
	}{
		{"no key", 30 * time.Minute, nil, []string{"warn 29m0s", "end 30m0s"}},
		{"short limit", 100 * time.Second, nil, []string{"warn 1m30s", "end 1m40s"}},
		{"very short limit", time.Second, nil, []string{"warn 900ms", "end 1s"}},
		{
			"a key before the warning", 30 * time.Minute,
			[]time.Duration{10 * time.Minute},
			[]string{"warn 39m0s", "end 40m0s"},
		},
		{
			"a key after the warning", 30 * time.Minute,
			[]time.Duration{29*time.Minute + 30*time.Second},
			[]string{"warn 29m0s", "clear 29m30s", "warn 58m30s", "end 59m30s"},
		},
		{
			"many keys", 10 * time.Second,
			[]time.Duration{time.Second, time.Second, 2 * time.Second, 9 * time.Second},
			[]string{"warn 18s", "end 19s"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, events := watched(t.Context(), test.limit)
				start := time.Now()
				for _, at := range test.keys {
					time.Sleep(at - time.Since(start))
					w.typed()
					synctest.Wait()
				}
				time.Sleep(2 * test.limit)
				synctest.Wait()
				if !slices.Equal(*events, test.want) {
					t.Errorf("got %q, want %q", *events, test.want)
				}
			})
		})
	}
}

// After a suspension, the user is warned before the session ends.
func TestIdleWatch_Suspended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var suspended atomic.Int64
		w := newIdleWatch(30 * time.Minute)
		w.now = func() time.Time { return time.Now().Add(time.Duration(suspended.Load())) }
		start, warned, ended := time.Now(), time.Duration(0), time.Duration(0)
		w.warn, w.end = func() { warned = time.Since(start) }, func() { ended = time.Since(start) }
		go w.run(t.Context())
		time.Sleep(10*time.Minute + time.Second)
		suspended.Store(int64(8 * time.Hour))
		time.Sleep(time.Hour)
		synctest.Wait()
		if warned != 10*time.Minute+10*time.Second || ended != warned+time.Minute {
			t.Errorf("the user was warned after %v, and the session ended after %v", warned, ended)
		}
	})
}

func TestIdleWatch_SessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		_, events := watched(ctx, time.Minute)
		time.Sleep(30 * time.Second)
		cancel()
		time.Sleep(time.Hour)
		if len(*events) > 0 {
			t.Errorf("got %q", *events)
		}
	})
}
