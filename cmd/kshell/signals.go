package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"kshell/internal/group"
)

// signalError is the cause of a context that was ended by a signal.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string {
	return fmt.Sprintf("ended by signal %d (%s)", int(e.signal), e.signal)
}

// patience is how long the program may take to end after a signal: output that
// is not read can block it, as can a terminal that is stopped with Ctrl-S.
// After Ctrl-C, cleanups such as the deletion of a pod also get this time,
// whatever signals follow.
var patience = 2 * time.Second

const (
	// sameSignal is how long after the first signal further ones count as the
	// same: timeout(1) sends TERM to the process and to its group.
	sameSignal = 500 * time.Millisecond
	// reporting is how long a cleanup that was cut short may take to report
	// that, and how long the program may take to exit after the last cleanup.
	reporting = time.Second
)

// withSignals returns a context that INT, TERM, HUP and QUIT end, with a
// signalError as its cause, unless they are ignored (nohup). If the program
// does not end after a signal, force is called with the exit code: see
// mustForce. A write to a closed pipe returns an error and does not end the
// process.
func withSignals(parent context.Context, local *lastResort, force func(code int)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	caught, broken, done := make(chan os.Signal, 2), make(chan os.Signal, 1), make(chan struct{})
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
	signal.Notify(broken, syscall.SIGPIPE) // never received: it turns the default action off
	var waiter sync.WaitGroup
	waiter.Go(func() {
		defer local.onPanic()
		select {
		case s := <-caught:
			err := signalError{s.(syscall.Signal)} // all that was asked for are
			cancel(err)
			if mustForce(s, caught, local, done) {
				force(exitCode(err))
			}
		case <-done:
		}
	})
	return ctx, func() {
		signal.Stop(caught)
		signal.Stop(broken)
		close(done)
		waiter.Wait()
		cancel(nil)
	}
}

// mustForce is called after the first signal. It waits until the program has
// ended or must be forced to end, and reports whether it must.
//
// If no cleanup is under way, the program must end at another signal, or after
// patience. Cleanups may take patience if the first signal was INT or another
// signal follows, otherwise as long as removing. Signals within sameSignal of
// the first count as the first. HUP never counts as another signal: closing a
// terminal sends several.
func mustForce(first os.Signal, caught <-chan os.Signal, local *lastResort, done <-chan struct{}) bool {
	begin := time.Now()
	end := begin.Add(max(removing, patience))
	if first == syscall.SIGINT {
		end = begin.Add(patience)
	}
	local.limit(end)
	late := time.NewTimer(patience)
	defer late.Stop()
	var free <-chan struct{} // nil: the program may take until late
	for {
		select {
		case s := <-caught:
			switch {
			case s == syscall.SIGHUP || time.Since(begin) < sameSignal:
				continue
			case !local.holds():
				return true
			}
			local.limit(begin.Add(patience))
			free = local.released()
		case <-late.C:
			if !local.holds() {
				return true
			}
			free = local.released()
		case <-free:
			return !closedWithin(reporting, done)
		case <-local.limited():
			if !local.holds() {
				return true
			}
			_ = closedWithin(reporting, local.released())
			return !closedWithin(reporting, done)
		case <-done:
			return false
		}
	}
}

// closedWithin waits for done to be closed, and reports whether it was closed
// within limit.
func closedWithin(limit time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// lastResort is what must be undone however the program ends: it restores the
// terminal, and deletes the pods that were created. The zero value is ready to
// use. Its methods may be called from any goroutine.
type lastResort struct {
	mu       sync.Mutex
	terminal localTerminal // nil: none was used yet
	closed   bool          // a terminal that is used from now on is restored at once
	panicked bool
	held     map[*item]struct{} // not cleaned up yet
	free     chan struct{}      // closed when held becomes empty; nil: it always was

	cleanups context.Context // of all cleanups; nil: none has begun
	cut      context.CancelFunc
	end      time.Time // deadline of the cleanups; zero: none
	timer    *time.Timer
}

// localTerminal is the part of a terminal.Terminal that lastResort needs.
type localTerminal interface{ Close() }

// item is something to clean up.
type item struct{ cleanUp func() }

// hold registers an item that must be cleaned up before the program ends. The
// caller calls release when it has cleaned up. cleanUp, which may be nil, is
// called after a panic.
func (l *lastResort) hold(cleanUp func()) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.held) == 0 {
		l.held, l.free = map[*item]struct{}{}, make(chan struct{})
	}
	held := &item{cleanUp}
	l.held[held] = struct{}{}
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if delete(l.held, held); len(l.held) == 0 {
			close(l.free)
		}
	})
}

// holds reports whether an item has to be cleaned up.
func (l *lastResort) holds() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held) > 0
}

// released returns a channel that is closed when no item has to be cleaned up.
func (l *lastResort) released() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.held) == 0 {
		free := make(chan struct{})
		close(free)
		return free
	}
	return l.free
}

// cleanup returns a context for a cleanup that may take limit. A signal does
// not end it, but may shorten it.
func (l *lastResort) cleanup(limit time.Duration) (context.Context, context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prepare()
	end := time.Now().Add(limit)
	if !l.end.IsZero() && l.end.Before(end) {
		end = l.end
	}
	return context.WithDeadline(l.cleanups, end)
}

// limit sets the deadline of all cleanups, including those that have begun.
func (l *lastResort) limit(end time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prepare()
	if l.timer != nil {
		l.timer.Stop()
	}
	l.end, l.timer = end, time.AfterFunc(time.Until(end), l.cut)
}

// limited returns a channel that is closed at the deadline of the cleanups.
func (l *lastResort) limited() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prepare()
	return l.cleanups.Done()
}

// prepare makes the context of the cleanups. It is called with mu held.
func (l *lastResort) prepare() {
	if l.cleanups == nil {
		l.cleanups, l.cut = context.WithCancel(context.Background()) //nolint:gosec // limit calls it
	}
}

// clean cleans up all items, concurrently.
func (l *lastResort) clean() {
	l.mu.Lock()
	held := slices.Collect(maps.Keys(l.held))
	l.mu.Unlock()
	var all group.Group
	for _, h := range held {
		if h.cleanUp != nil {
			all.Go(h.cleanUp)
		}
	}
	all.Wait()
}

// use makes t the terminal that is restored when the program ends.
func (l *lastResort) use(t localTerminal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.terminal = t
	if l.closed {
		t.Close()
	}
}

// close restores the terminal. A terminal that is used after that is restored
// at once.
func (l *lastResort) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.terminal != nil {
		l.terminal.Close()
	}
}

// onPanic is deferred in each goroutine whose panics are not passed on to
// another goroutine. It restores the terminal and cleans up before the panic
// ends the process.
func (l *lastResort) onPanic() {
	if cause := recover(); cause != nil {
		l.afterPanic()
		panic(cause)
	}
}

func (l *lastResort) afterPanic() {
	l.mu.Lock()
	l.panicked = true
	l.mu.Unlock()
	l.close()
	l.clean()
}

// yield blocks for good if another goroutine has panicked: that goroutine ends
// the process after it has cleaned up.
func (l *lastResort) yield() {
	l.mu.Lock()
	panicked := l.panicked
	l.mu.Unlock()
	if panicked {
		select {}
	}
}
