package cleanup

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// SignalError is the cause of a context that was ended by a signal.
type SignalError struct{ Signal syscall.Signal }

func (e SignalError) Error() string {
	return fmt.Sprintf("ended by signal %d (%s)", int(e.Signal), e.Signal)
}

// DefaultGracePeriod is how long the program may take to exit after a signal.
// The limit is needed because output that nobody reads, or a terminal that is
// stopped with Ctrl-S, can block the exit. Registered cleanups get more time:
// see NotifyContext.
const DefaultGracePeriod = 2 * time.Second

func (r *Registry) gracePeriod() time.Duration {
	if r.GracePeriod == 0 {
		return DefaultGracePeriod
	}
	return r.GracePeriod
}

const (
	// repeatInterval is how long after the first signal further signals are
	// ignored. One cause can send several: timeout(1), for example, sends TERM
	// to the process and again to its group.
	repeatInterval = 500 * time.Millisecond
	// exitDelay is how long a cleanup may take after its deadline to report
	// its failure, how long the program may take to exit after the last
	// cleanup, and how long the functions of BeforeExit may take.
	exitDelay = time.Second
)

// NotifyContext returns a context that INT, TERM, HUP and QUIT end, with a
// SignalError as its cause. A signal that is ignored (nohup) stays ignored. A
// write to a closed pipe returns an error and does not end the process.
//
// After a signal, the program has GracePeriod to exit. Registered cleanups get
// 10 s (Timeout) before the process is forced to exit. They get only
// GracePeriod, counted from the first signal, if that was INT or if a second
// signal arrives. Without registered cleanups, the second signal forces the
// exit at once. Signals within 500 ms of the first one count as the first. HUP
// is never a second signal, because closing a terminal sends several.
//
// To force the exit, NotifyContext restores the terminal, calls the functions of
// BeforeExit, and then force, which must end the process.
func (r *Registry) NotifyContext(parent context.Context, force func(SignalError)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals, pipe, done := make(chan os.Signal, 2), make(chan os.Signal, 1), make(chan struct{})
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(signals, s)
		}
	}
	signal.Notify(pipe, syscall.SIGPIPE) // nothing reads pipe: Notify only disables the default action
	var waiter sync.WaitGroup
	waiter.Go(func() {
		defer r.OnPanic()
		select {
		case s := <-signals:
			err := SignalError{s.(syscall.Signal)} // all four are a syscall.Signal
			cancel(err)
			r.cancelBackground()
			if r.mustForce(s, signals, done) {
				r.RestoreTerminal()
				r.runBeforeExit(err)
				force(err)
			}
		case <-done:
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		signal.Stop(pipe)
		close(done)
		waiter.Wait()
		cancel(nil)
	}
}

// mustForce is called after the first signal. It waits until the program has
// ended (done is closed) or must be forced to exit, and reports whether it
// must. NotifyContext describes the rules.
func (r *Registry) mustForce(first os.Signal, signals <-chan os.Signal, done <-chan struct{}) bool {
	grace, begin := r.gracePeriod(), time.Now()
	deadline := begin.Add(max(Timeout, grace))
	if first == syscall.SIGINT {
		deadline = begin.Add(grace)
	}
	r.setDeadline(deadline)
	graceOver := time.NewTimer(grace)
	defer graceOver.Stop()
	var cleanedUp <-chan struct{} // set when the program must exit right after the cleanups
	for {
		select {
		case s := <-signals:
			switch {
			case s == syscall.SIGHUP || time.Since(begin) < repeatInterval:
				continue
			case !r.isPending():
				return true
			}
			r.setDeadline(begin.Add(grace))
			cleanedUp = r.done()
		case <-graceOver.C:
			if !r.isPending() {
				return true
			}
			cleanedUp = r.done()
		case <-cleanedUp:
			return !closedInTime(done)
		case <-r.expired():
			if !r.isPending() {
				return true
			}
			_ = closedInTime(r.done())
			return !closedInTime(done)
		case <-done:
			return false
		}
	}
}

// closedInTime waits for c to be closed, and reports whether it was closed
// within exitDelay.
func closedInTime(c <-chan struct{}) bool {
	timer := time.NewTimer(exitDelay)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
		return false
	}
}
