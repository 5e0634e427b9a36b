package nodeshell

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// runHeartbeats runs a heartbeat with the given timeout. The argument long is
// how long the heartbeat runs. runHeartbeats returns the events, each with the
// time since the start. send is called with the number of the heartbeat; the
// first one has the number 1.
func runHeartbeats(
	t *testing.T, timeout, long time.Duration, send func(ctx context.Context, number int) error,
) []string {
	t.Helper()
	var events []string
	synctest.Test(t, func(t *testing.T) {
		begin, number := time.Now(), 0
		event := func(format string, args ...any) {
			events = append(events, fmt.Sprintf("%v: ", time.Since(begin))+fmt.Sprintf(format, args...))
		}
		h := &heartbeat{
			timeout: timeout,
			send: func(ctx context.Context) error {
				event("sent")
				number++
				return send(ctx, number)
			},
			failing:  func(since time.Duration, err error) { event("failing for %v: %v", since, err) },
			restored: func() { event("restored") },
		}
		ctx, cancel := context.WithTimeout(t.Context(), long)
		defer cancel()
		h.run(ctx)
		if took := time.Since(begin); took != long {
			t.Errorf("run returned after %v, want %v", took, long)
		}
	})
	return events
}

func hang(ctx context.Context) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

func TestHeartbeat_Regular(t *testing.T) {
	got := runHeartbeats(t, 5*time.Minute, 200*time.Second, func(context.Context, int) error {
		time.Sleep(time.Second)
		return nil
	})
	if diff := cmp.Diff([]string{"1m0s: sent", "2m0s: sent", "3m0s: sent"}, got); diff != "" {
		t.Error(diff)
	}
}

// An exec that hangs is given up, and the user is warned before the pod ends.
func TestHeartbeat_ExecHangs(t *testing.T) {
	got := runHeartbeats(t, 5*time.Minute, 4*time.Minute, func(ctx context.Context, number int) error {
		if number > 1 && number < 7 {
			return hang(ctx)
		}
		return nil
	})
	want := []string{
		"1m0s: sent", "2m0s: sent", "2m15s: sent", "2m30s: sent",
		"2m45s: failing for 1m45s: no answer within 15s", "2m45s: sent", "3m0s: sent", "3m15s: sent", "3m15s: restored",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Two failures in a row are not reported, and each outage is reported once.
func TestHeartbeat_Refused(t *testing.T) {
	refused := errors.New("refused")
	got := runHeartbeats(t, 5*time.Minute, 355*time.Second, func(_ context.Context, number int) error {
		if number == 3 || number == 7 {
			return nil
		}
		return refused
	})
	want := []string{
		"1m0s: sent", "1m15s: sent", "1m30s: sent", // the third of these succeeds
		"2m30s: sent", "2m45s: sent", "3m0s: sent", "3m0s: failing for 1m30s: refused", "3m15s: sent", "3m15s: restored",
		"4m15s: sent", "4m30s: sent", "4m45s: sent", "4m45s: failing for 1m30s: refused",
		"5m0s: sent", "5m15s: sent", "5m30s: sent", "5m45s: sent",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// With the shortest timeout the user is still warned before the pod ends.
func TestHeartbeat_ShortestTimeout(t *testing.T) {
	got := runHeartbeats(t, 10*time.Second, 9*time.Second, func(ctx context.Context, _ int) error { return hang(ctx) })
	want := []string{"2s: sent", "4s: sent", "6s: sent", "8s: failing for 8s: no answer within 2s", "8s: sent"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHeartbeat_EndsDuringASend(t *testing.T) {
	got := runHeartbeats(t, 5*time.Minute, 65*time.Second, func(ctx context.Context, _ int) error { return hang(ctx) })
	if diff := cmp.Diff([]string{"1m0s: sent"}, got); diff != "" {
		t.Error(diff)
	}
}
