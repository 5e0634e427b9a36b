//go:build unix

package cleanup

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// deadline is how long a test waits for an event that should happen at once.
const deadline = time.Minute

func send(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), s); err != nil {
		t.Fatal(err)
	}
}

func causeOf(ctx context.Context, t *testing.T) error {
	t.Helper()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(deadline):
		t.Fatal("the context has not ended")
		return nil
	}
}

func mustNotForce(t *testing.T) func(SignalError) {
	t.Helper()
	return func(err SignalError) { t.Errorf("forced to exit: %v", err) }
}

func TestNotifyContext_Cause(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		t.Run(s.String(), func(t *testing.T) {
			if signal.Ignored(s) {
				t.Skip("the signal is ignored, perhaps by nohup")
			}
			ctx, stop := (&Registry{GracePeriod: deadline}).NotifyContext(t.Context(), mustNotForce(t))
			send(t, s)
			err := causeOf(ctx, t)
			stop()
			var got SignalError
			if !errors.As(err, &got) || got.Signal != s {
				t.Errorf("cause %v, want %v", err, s)
			}
		})
	}
}

func TestNotifyContext_ProgramHangs(t *testing.T) {
	forced := make(chan SignalError, 1)
	r := &Registry{}
	var terminal closeCounter
	r.SetTerminal(&terminal)
	ctx, stop := r.NotifyContext(t.Context(), func(err SignalError) {
		if terminal != 1 {
			t.Error("the terminal is not restored before the exit")
		}
		forced <- err
	})
	defer stop()
	start := time.Now()
	send(t, syscall.SIGTERM)
	_ = causeOf(ctx, t)
	select {
	case err := <-forced:
		if err.Signal != syscall.SIGTERM {
			t.Errorf("forced to exit by %v, want TERM", err.Signal)
		}
		if took := time.Since(start); took < DefaultGracePeriod {
			t.Errorf("forced to exit after only %v", took)
		}
	case <-time.After(deadline):
		t.Fatal("not forced to exit")
	}
}

func TestNotifyContext_ProgramEndsInTime(t *testing.T) {
	ctx, stop := (&Registry{GracePeriod: deadline}).NotifyContext(t.Context(), mustNotForce(t))
	send(t, syscall.SIGTERM)
	_ = causeOf(ctx, t)
	stop() // waits for the goroutine that could call force
	if ctx.Err() == nil {
		t.Error("the context has not ended")
	}
}

func TestNotifyContext_StopEndsContext(t *testing.T) {
	ctx, stop := (&Registry{}).NotifyContext(t.Context(), mustNotForce(t))
	stop()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cause %v, want %v", err, context.Canceled)
	}
}

// timedSignal is a signal that is sent some time after the first signal.
type timedSignal struct {
	after  time.Duration
	signal syscall.Signal
}

func TestRegistryMustForce(t *testing.T) {
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		first   syscall.Signal
		more    []timedSignal
		cleanup time.Duration // the duration of a cleanup that ignores its deadline; 0: no cleanup
		ends    time.Duration // when the program ends; 0: never
		forced  bool
		took    time.Duration
		limit   time.Duration // when the context of the cleanup ends
	}{
		"program ends":  {first: syscall.SIGTERM, ends: time.Second, took: time.Second},
		"program hangs": {first: syscall.SIGTERM, forced: true, took: DefaultGracePeriod},
		"second signal": {
			first: syscall.SIGTERM, more: []timedSignal{{600 * ms, syscall.SIGINT}},
			forced: true, took: 600 * ms,
		},
		"second signal at once": {
			first: syscall.SIGTERM, more: []timedSignal{{0, syscall.SIGTERM}, {499 * ms, syscall.SIGINT}}, ends: time.Second,
			took: time.Second,
		},
		"HUP follows": {
			first: syscall.SIGHUP, more: []timedSignal{{time.Second, syscall.SIGHUP}}, ends: 1500 * ms,
			took: 1500 * ms,
		},
		"cleanup in time": {
			first: syscall.SIGTERM, cleanup: 3 * time.Second, ends: 3*time.Second + ms,
			took: 3*time.Second + ms, limit: Timeout,
		},
		"cleanup hangs": {
			first: syscall.SIGTERM, cleanup: time.Hour,
			forced: true, took: Timeout + 2*exitDelay, limit: Timeout,
		},
		"cleanup hangs, INT": {
			first: syscall.SIGINT, cleanup: time.Hour,
			forced: true, took: DefaultGracePeriod + 2*exitDelay, limit: DefaultGracePeriod,
		},
		"cleanup ends, program hangs": {
			first: syscall.SIGTERM, cleanup: 3 * time.Second,
			forced: true, took: 3*time.Second + exitDelay, limit: Timeout,
		},
		"cleanup, second signal": {
			first: syscall.SIGTERM, more: []timedSignal{{time.Second, syscall.SIGTERM}, {1100 * ms, syscall.SIGINT}},
			cleanup: 1900 * ms, ends: 1950 * ms,
			took: 1950 * ms, limit: DefaultGracePeriod,
		},
		"cleanup hangs, second signal": {
			first: syscall.SIGTERM, more: []timedSignal{{time.Second, syscall.SIGTERM}}, cleanup: time.Hour,
			forced: true, took: DefaultGracePeriod + 2*exitDelay, limit: DefaultGracePeriod,
		},
		"cleanup hangs, late second one": {
			first: syscall.SIGTERM, more: []timedSignal{{3 * time.Second, syscall.SIGTERM}}, cleanup: time.Hour,
			forced: true, took: 3*time.Second + 2*exitDelay, limit: 3 * time.Second,
		},
		"cleanup, many signals, all INTs": {
			first: syscall.SIGINT, more: []timedSignal{{600 * ms, syscall.SIGINT}, {700 * ms, syscall.SIGINT}},
			cleanup: 1900 * ms, ends: 1950 * ms,
			took: 1950 * ms, limit: DefaultGracePeriod,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r Registry
				signals, done, begin := make(chan os.Signal, 2), make(chan struct{}), time.Now()
				if test.cleanup > 0 {
					time.AfterFunc(test.cleanup, r.Register(nil))
					ctx, cancel := r.Context()
					defer cancel()
					defer context.AfterFunc(ctx, func() {
						if took := time.Since(begin); took != test.limit {
							t.Errorf("the cleanup may take %v, want %v", took, test.limit)
						}
					})()
				}
				for _, s := range test.more {
					time.AfterFunc(s.after, func() { signals <- s.signal })
				}
				if test.ends > 0 {
					time.AfterFunc(test.ends, func() { close(done) })
				}
				forced := r.mustForce(test.first, signals, done)
				if took := time.Since(begin); forced != test.forced || took != test.took {
					t.Errorf("forced: %v after %v, want %v after %v", forced, took, test.forced, test.took)
				}
			})
		})
	}
}

// A signal cancels the functions passed to Go, so that Wait returns soon.
func TestRegistryGo_Signal(t *testing.T) {
	r := &Registry{GracePeriod: deadline}
	if r.Wait() {
		t.Error("interrupted without a function")
	}
	_, stop := r.NotifyContext(t.Context(), mustNotForce(t))
	defer stop()
	started := make(chan struct{})
	r.Go(func(ctx context.Context) {
		close(started)
		<-ctx.Done()
	})
	<-started
	send(t, syscall.SIGTERM)
	if !r.Wait() {
		t.Error("not interrupted")
	}
	r.Go(func(ctx context.Context) {
		if ctx.Err() == nil {
			t.Error("a function that is started after the signal has a context that has not ended")
		}
	})
	r.Wait()
}

// A signal interrupts only the functions that are running. Functions that have
// returned are not kept.
func TestRegistryGo_SignalAfterEnd(t *testing.T) {
	r := &Registry{GracePeriod: deadline}
	ctx, stop := r.NotifyContext(t.Context(), mustNotForce(t))
	for range 3 {
		r.Go(func(context.Context) {})
	}
	r.Wait()
	if len(r.running) > 0 {
		t.Errorf("%d functions are kept", len(r.running))
	}
	send(t, syscall.SIGTERM)
	_ = causeOf(ctx, t)
	stop() // waits until the signal is handled
	if r.Wait() {
		t.Error("interrupted, although no function was running")
	}
}

func TestRegistryGo_Timeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		begin := time.Now()
		r.Go(func(ctx context.Context) { <-ctx.Done() })
		if interrupted := r.Wait(); interrupted || time.Since(begin) != Timeout {
			t.Errorf("interrupted: %v after %v, want false after %v", interrupted, time.Since(begin), Timeout)
		}
	})
}
