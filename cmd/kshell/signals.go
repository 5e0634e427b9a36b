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
)

// signalError is the cause of a context that a signal has ended.
type signalError struct{ signal syscall.Signal }

func (e signalError) Error() string {
	return fmt.Sprintf("ended by signal %d (%s)", int(e.signal), e.signal)
}

// patience is how long the program may take to end after a signal before it is made to: an output that nobody reads can hold
// it, and a terminal stopped with Ctrl-S.
var patience = 2 * time.Second

// withSignals gives a context that ends, with a signalError as its cause, on INT, TERM, HUP and QUIT, unless they are ignored (nohup). On
// a second one that is no HUP, or after 2 s, force is called with the exit code. Writes to a closed pipe become errors instead of the
// end of the process.
//
// What held has begun, such as the removal of a pod, has removing more.
func withSignals(parent context.Context, held func() <-chan struct{}, force func(code int)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	caught, broken, done := make(chan os.Signal, 2), make(chan os.Signal, 1), make(chan struct{})
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
	signal.Notify(broken, syscall.SIGPIPE) // never received: what counts is that the default action is off
	var waiter sync.WaitGroup
	waiter.Go(func() {
		select {
		case s := <-caught:
			err := signalError{s.(syscall.Signal)} // all that was asked for are
			cancel(err)
			if impatient(caught, held, done) {
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

// impatient says, after a first signal, whether the program is to be made to end; not so: it has ended. A HUP makes nobody impatient: who closes
// a terminal sends several, the kernel and each shell in it.
func impatient(caught <-chan os.Signal, held func() <-chan struct{}, done <-chan struct{}) bool {
	late, free := time.After(patience), (<-chan struct{})(nil)
	for {
		select {
		case s := <-caught:
			if s != syscall.SIGHUP {
				return true
			}
		case <-late:
			if free != nil {
				return true
			}
			late, free = time.After(removing), held()
		case <-free:
			return true
		case <-done:
			return false
		}
	}
}

// lastResort is what must be undone however the program ends: the terminal's raw mode, and the pods that were made. The zero value is ready.
type lastResort struct {
	mu   sync.Mutex
	undo func()
	held map[*thing]struct{} // what is not put in order yet
	free chan struct{}       // closed when there is nothing any more; nil: there never was
}

// thing is one of those.
type thing struct{ order func() }

// hold says that something has to be put in order yet, however the program ends; release, that it is. Order does that, in a panic; it may be nil.
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

// remove puts in order what is held, all at the same time.
func (l *lastResort) remove() {
	l.mu.Lock()
	held := slices.Collect(maps.Keys(l.held))
	l.mu.Unlock()
	var all sync.WaitGroup
	for _, h := range held {
		if h.order != nil {
			all.Go(h.order)
		}
	}
	all.Wait()
}

// onPanic is deferred in each goroutine whose panic nobody else takes care of: all is undone before the panic goes on.
func (l *lastResort) onPanic() {
	if cause := recover(); cause != nil {
		l.run()
		l.remove()
		panic(cause)
	}
}

// released is closed when nothing is held.
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

func (l *lastResort) set(undo func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.undo = undo
}

func (l *lastResort) run() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.undo != nil {
		l.undo()
	}
}
