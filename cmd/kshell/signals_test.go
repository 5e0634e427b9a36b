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
			ctx, stop := withSignals(t.Context(), (&lastResort{}).released, mustNotForce(t))
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

func TestASecondSignalEndsAProgramThatHangs(t *testing.T) {
	forced := make(chan int, 1)
	ctx, stop := withSignals(t.Context(), (&lastResort{}).released, func(code int) { forced <- code })
	defer stop()
	send(t, syscall.SIGTERM)
	_ = causeOf(ctx, t)
	send(t, syscall.SIGINT)
	select {
	case code := <-forced:
		if code != 143 {
			t.Errorf("forced to end with code %d, want the first signal's, 143", code)
		}
	case <-time.After(deadline):
		t.Fatal("not forced to end")
	}
}

func TestASecondSignalIsNotKeptWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caught, start := make(chan os.Signal, 1), time.Now()
		caught <- syscall.SIGINT
		if !impatient(caught, (&lastResort{}).released, nil) || time.Since(start) > 0 {
			t.Errorf("the program is made to end after %v, and not by the second signal", time.Since(start))
		}
	})
}

// A terminal that is closed sends HUP more than once: what is to be done at the end is done all the same.
func TestASecondHUPIsNobodysImpatience(t *testing.T) {
	caught, done := make(chan os.Signal), make(chan struct{})
	impatience := make(chan bool)
	go func() { impatience <- impatient(caught, (&lastResort{}).released, done) }()
	caught <- syscall.SIGHUP
	caught <- syscall.SIGHUP
	close(done)
	if <-impatience {
		t.Error("the program is made to end by HUP")
	}
}

func TestAProgramThatHangsIsEndedWhenPatienceIs(t *testing.T) {
	forced := make(chan int, 1)
	ctx, stop := withSignals(t.Context(), (&lastResort{}).released, func(code int) { forced <- code })
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
	ctx, stop := withSignals(t.Context(), (&lastResort{}).released, mustNotForce(t))
	send(t, syscall.SIGTERM)
	_ = causeOf(ctx, t)
	stop() // waits for whoever could force
	if ctx.Err() == nil {
		t.Error("the context goes on")
	}
}

func TestStopEndsTheContext(t *testing.T) {
	ctx, stop := withSignals(t.Context(), (&lastResort{}).released, mustNotForce(t))
	stop()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cause %v, want %v", err, context.Canceled)
	}
}

func TestTheLastResortUndoesWhatWasSet(t *testing.T) {
	var l lastResort
	l.run() // nothing set: nothing to undo
	undone := ""
	l.set(func() { undone += "a" })
	l.set(func() { undone += "b" })
	l.run()
	if undone != "b" {
		t.Errorf("undone %q, want the newest, b", undone)
	}
}
