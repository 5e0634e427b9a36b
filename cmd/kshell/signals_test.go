//go:build unix

package main

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

func mustNotForce(t *testing.T) func(int) {
	t.Helper()
	return func(code int) { t.Errorf("forced to end with code %d", code) }
}

func TestASignalIsTheCauseOfTheEnd(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		t.Run(s.String(), func(t *testing.T) {
			if signal.Ignored(s) {
				t.Skip("ignored: nohup?")
			}
			ctx, stop := withSignals(t.Context(), &lastResort{}, mustNotForce(t))
			send(t, s)
			err := causeOf(ctx, t)
			stop()
			var got signalError
			if !errors.As(err, &got) || got.signal != s {
				t.Errorf("cause %v, want %v", err, s)
			}
			if got := exitCode(err); got != exitSignal+int(s) {
				t.Errorf("exit code %d, want %d", got, exitSignal+int(s))
			}
		})
	}
}

func TestAProgramThatHangsIsEndedWhenPatienceIs(t *testing.T) {
	forced := make(chan int, 1)
	ctx, stop := withSignals(t.Context(), &lastResort{}, func(code int) { forced <- code })
	defer stop()
	start := time.Now()
	send(t, syscall.SIGTERM)
	_ = causeOf(ctx, t)
	select {
	case code := <-forced:
		if code != 143 {
			t.Errorf("forced to end with code %d, want 143", code)
		}
		if took := time.Since(start); took < patience {
			t.Errorf("forced to end after %v only", took)
		}
	case <-time.After(deadline):
		t.Fatal("not forced to end")
	}
}

func TestAProgramThatEndsInTimeIsNotForced(t *testing.T) {
	ctx, stop := withSignals(t.Context(), &lastResort{}, mustNotForce(t))
	send(t, syscall.SIGTERM)
	_ = causeOf(ctx, t)
	stop() // waits for whoever could force
	if ctx.Err() == nil {
		t.Error("the context goes on")
	}
}

func TestStopEndsTheContext(t *testing.T) {
	ctx, stop := withSignals(t.Context(), &lastResort{}, mustNotForce(t))
	stop()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cause %v, want %v", err, context.Canceled)
	}
}

// closings is a terminal that counts how often it is closed.
type closings int

func (c *closings) Close() { *c++ }

func TestLastResort_ClosesTerminals(t *testing.T) {
	var l lastResort
	l.close() // without a terminal it does nothing
	l = lastResort{}
	var first, second, late closings
	l.use(&first)
	l.use(&second)
	l.close()
	l.use(&late)
	if first != 0 || second != 1 || late != 1 {
		t.Errorf("closed %d, %d and %d times, want 0 (it was replaced), 1 and 1 (it was used after close)", first, second, late)
	}
}

// timedSignal is a signal and the time from the first signal to it.
type timedSignal struct {
	after  time.Duration
	signal syscall.Signal
}

func TestMustForce(t *testing.T) {
	const ms = time.Millisecond
	for name, test := range map[string]struct {
		first  syscall.Signal
		more   []timedSignal
		held   time.Duration // how long a cleanup takes that ignores its deadline; 0: no cleanup
		ends   time.Duration // when the program ends; 0: never
		forced bool
		took   time.Duration
		limit  time.Duration // when the context of the cleanup ends
	}{
		"program ends":                    {first: syscall.SIGTERM, ends: time.Second, took: time.Second},
		"program hangs":                   {first: syscall.SIGTERM, forced: true, took: patience},
		"second signal":                   {first: syscall.SIGTERM, more: []timedSignal{{600 * ms, syscall.SIGINT}}, forced: true, took: 600 * ms},
		"second signal at once":           {first: syscall.SIGTERM, more: []timedSignal{{0, syscall.SIGTERM}, {499 * ms, syscall.SIGINT}}, ends: time.Second, took: time.Second},
		"HUP follows":                     {first: syscall.SIGHUP, more: []timedSignal{{time.Second, syscall.SIGHUP}}, ends: 1500 * ms, took: 1500 * ms},
		"cleanup in time":                 {first: syscall.SIGTERM, held: 3 * time.Second, ends: 3*time.Second + ms, took: 3*time.Second + ms, limit: removing},
		"cleanup hangs":                   {first: syscall.SIGTERM, held: time.Hour, forced: true, took: removing + 2*reporting, limit: removing},
		"cleanup hangs, INT":              {first: syscall.SIGINT, held: time.Hour, forced: true, took: patience + 2*reporting, limit: patience},
		"cleanup ends, program hangs":     {first: syscall.SIGTERM, held: 3 * time.Second, forced: true, took: 3*time.Second + reporting, limit: removing},
		"cleanup, second signal":          {first: syscall.SIGTERM, more: []timedSignal{{time.Second, syscall.SIGTERM}, {1100 * ms, syscall.SIGINT}}, held: 1900 * ms, ends: 1950 * ms, took: 1950 * ms, limit: patience},
		"cleanup hangs, second signal":    {first: syscall.SIGTERM, more: []timedSignal{{time.Second, syscall.SIGTERM}}, held: time.Hour, forced: true, took: patience + 2*reporting, limit: patience},
		"cleanup hangs, late second one":  {first: syscall.SIGTERM, more: []timedSignal{{3 * time.Second, syscall.SIGTERM}}, held: time.Hour, forced: true, took: 3*time.Second + 2*reporting, limit: 3 * time.Second},
		"cleanup, many signals, all INTs": {first: syscall.SIGINT, more: []timedSignal{{600 * ms, syscall.SIGINT}, {700 * ms, syscall.SIGINT}}, held: 1900 * ms, ends: 1950 * ms, took: 1950 * ms, limit: patience},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var l lastResort
				caught, done, begin := make(chan os.Signal, 2), make(chan struct{}), time.Now()
				if test.held > 0 {
					time.AfterFunc(test.held, l.hold(nil))
					ctx, cancel := l.cleanup(removing)
					defer cancel()
					defer context.AfterFunc(ctx, func() {
						if took := time.Since(begin); took != test.limit {
							t.Errorf("the cleanup may take %v, want %v", took, test.limit)
						}
					})()
				}
				for _, s := range test.more {
					time.AfterFunc(s.after, func() { caught <- s.signal })
				}
				if test.ends > 0 {
					time.AfterFunc(test.ends, func() { close(done) })
				}
				forced := mustForce(test.first, caught, &l, done)
				if took := time.Since(begin); forced != test.forced || took != test.took {
					t.Errorf("forced: %v after %v, want %v after %v", forced, took, test.forced, test.took)
				}
			})
		})
	}
}
