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

// signalError is the cause of a context that a signal has ended.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string {
	return fmt.Sprintf("ended by signal %d (%s)", int(e.signal), e.signal)
}

// patience is how long the program may take to end after a signal. An output
// that is not read can hold it, and a terminal stopped with Ctrl-S. Cleanups
// such as the deletion of a pod get as long after Ctrl-C, whatever signals
// follow.
var patience = 2 * time.Second

const (
	// sameSignal is how long after the first signal others count as the same:
	// timeout(1), for one, sends TERM to the process and to its group.
	sameSignal = 500 * time.Millisecond
	// reporting is how long a cleanup that was cut short may take to say so, and
	// the program to exit after the last cleanup.
	reporting = time.Second
)

// withSignals returns a context that INT, TERM, HUP and QUIT end, with a
// signalError as its cause, unless they are ignored (nohup). If the program
// does not end after the signal, force is called with the exit code: see
// mustForce. Writes to a closed pipe become errors and do not end the process.
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

// mustForce waits, after the first signal, until the program has ended or is to
// be forced to end, and reports which.
//
// Without a cleanup under way the program is forced to end by another signal, or
// after patience. Cleanups may take patience after INT and after another
// signal, else as long as removing. Signals within sameSignal count as the
// first one. HUP never counts as another signal: a terminal that is closed sends
// several.
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

// closedWithin waits for done, and reports whether it was closed in time.
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

// lastResort is what is undone however the program ends: the terminal's raw
// mode, and the pods that were made. The zero value is ready to use. Its methods
// may be called from any goroutine.
type lastResort struct {
	mu       sync.Mutex
	terminal localTerminal // nil: there was none yet
	closed   bool          // no terminal is made raw any more
	panicked bool
	held     map[*thing]struct{} // what is not cleaned up yet
	free     chan struct{}       // closed when nothing is held any more; nil: nothing ever was

	cleanups context.Context // of all cleanups; nil before the first one
	cut      context.CancelFunc
	end      time.Time // of the cleanups; zero: none was set
	timer    *time.Timer
}

// localTerminal is the part of a terminal.Terminal that lastResort needs.
type localTerminal interface{ Close() }

// thing is something to clean up.
type thing struct{ order func() }

// hold registers something that has to be cleaned up before the program ends;
// release reports that it was. order cleans it up after a panic; it may be nil.
func (l *lastResort) hold(order func()) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.held) == 0 {
		l.held, l.free = map[*thing]struct{}{}, make(chan struct{})
	}
	held := &thing{order}
	l.held[held] = struct{}{}
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if delete(l.held, held); len(l.held) == 0 {
			close(l.free)
		}
	})
}

// holds reports whether something has to be cleaned up.
func (l *lastResort) holds() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.held) > 0
}

// released returns a channel that is closed when nothing has to be cleaned up.
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

// cleanup returns the context of a cleanup that may take until limit. A signal
// does not end it, but may make the time shorter.
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

// limit sets when the cleanups end, those that are under way too.
func (l *lastResort) limit(end time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prepare()
	if l.timer != nil {
		l.timer.Stop()
	}
	l.end, l.timer = end, time.AfterFunc(time.Until(end), l.cut)
}

// limited returns a channel that is closed when the cleanups have to end.
func (l *lastResort) limited() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.prepare()
	return l.cleanups.Done()
}

// prepare is called with mu held.
func (l *lastResort) prepare() {
	if l.cleanups == nil {
		l.cleanups, l.cut = context.WithCancel(context.Background()) //nolint:gosec // limit calls it
	}
}

// clean cleans up what is held, all at the same time.
func (l *lastResort) clean() {
	l.mu.Lock()
	held := slices.Collect(maps.Keys(l.held))
	l.mu.Unlock()
	var all group.Group
	for _, h := range held {
		if h.order != nil {
			all.Go(h.order)
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

// close restores the terminal for good: no terminal is made raw any more.
func (l *lastResort) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.terminal != nil {
		l.terminal.Close()
	}
}

// onPanic is deferred in each goroutine whose panic is not passed on to another:
// the terminal is restored for good, and what is held cleaned up, before the
// panic goes on and ends the process.
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

// yield does not return if another goroutine has panicked: that one ends the
// process when it has cleaned up.
func (l *lastResort) yield() {
	l.mu.Lock()
	panicked := l.panicked
	l.mu.Unlock()
	if panicked {
		select {}
	}
}
