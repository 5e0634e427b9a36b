package main

import (
	"context"
	"testing"
	"time"

	"github.com/creack/pty"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/internal/outcome"
	"kshell/internal/sandbox"
)

// On a terminal, Enter ends the wait before the next attempt, and Ctrl-C ends
// the command.
func TestWatch_EnterTriesNow(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "watch", "pods")
	c.waitFor(`ADDED +web `)
	lose := func() {
		s.Inject(sandbox.Fault{Path: "/", Refusal: &metav1.Status{
			Code: 429, Reason: metav1.StatusReasonTooManyRequests, Message: "later",
			Details: &metav1.StatusDetails{RetryAfterSeconds: 60},
		}})
		s.Restart()
	}
	lose()
	const waiting = `trying again in 60 s \(Enter: now\)`
	c.waitFor(waiting)
	start := time.Now()
	c.keys("\r")
	c.waitFor(waiting) // the attempt has failed
	s.Reset()
	c.keys("\r")
	c.waitFor(`kshell: connected again after `)
	if took := time.Since(start); took >= time.Minute {
		t.Errorf("connected after %v, without Enter", took)
	}
	lose()
	c.waitFor(waiting)
	c.keys("\x03")
	c.mustEnd(outcome.ExitSignal + 2)
}

// Input that is typed when there is no wait before an attempt is not read.
func TestRetryKey(t *testing.T) {
	user, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = user.Close(), tty.Close() }()
	if _, err := user.WriteString("first\n"); err != nil {
		t.Fatal(err)
	}
	k := newRetryKey()
	ctx, cancel := context.WithCancel(t.Context())
	tried, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		k.run(ctx, tty, func() { tried <- struct{}{} })
	}()
	buf := make([]byte, 100)
	if n, err := tty.Read(buf); err != nil || string(buf[:n]) != "first\n" {
		t.Errorf("read %q, %v", buf[:n], err)
	}
	k.waiting(time.Hour)
	k.waiting(time.Millisecond) // a shorter wait, of another cluster
	if _, err := user.WriteString("\n"); err != nil {
		t.Fatal(err)
	}
	<-tried
	cancel()
	<-ended
}
