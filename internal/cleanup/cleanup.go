// Package cleanup restores the terminal and runs registered cleanups on every
// exit path: a return, a signal, a second signal, a panic in any goroutine. It
// also handles the signals that end the program.
//
// It imports only internal/group. It does not know what is cleaned up, what is
// printed, or which exit code belongs to a signal or a panic.
//
// Invariants:
//   - The program exits within [Registry.GracePeriod] after a signal, or, if
//     cleanups are registered, within [Timeout] and two more seconds. The
//     functions of [Registry.BeforeExit] may take one more second.
//   - A signal does not cancel a cleanup's context, but can shorten its time
//     limit.
//   - If a goroutine panics, the terminal is restored first, then the
//     registered cleanups run, then the process ends: see
//     [Registry.ExitAfterPanic].
package cleanup

import (
	"context"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"kshell/internal/group"
)

// Timeout is how long a cleanup may take, such as the deletion of a pod.
const Timeout = 10 * time.Second

// Terminal is a terminal whose modes must be restored. Close restores them,
// and prevents later changes. It may be called more than once.
type Terminal interface{ Close() }

// Registry holds the terminal and the cleanups that must not be skipped,
// however the program ends. The zero value is ready to use. Its methods may be
// called from any goroutine.
type Registry struct {
	// GracePeriod replaces [DefaultGracePeriod] if it is not zero. It must be
	// set before the first call of a method.
	GracePeriod time.Duration

	mu       sync.Mutex
	terminal Terminal // nil if none was set
	restored bool     // RestoreTerminal was called: SetTerminal restores later terminals at once
	panicked bool
	exit     func(trace string)        // set by ExitAfterPanic; may be nil
	before   map[*func(error)]struct{} // added by BeforeExit
	pending  map[*entry]struct{}       // registered and not done
	allDone  chan struct{}             // closed when pending becomes empty; nil before the first Register

	background  group.Group                      // runs the functions passed to Go
	running     map[*context.CancelFunc]struct{} // end the contexts of those that have not returned
	signaled    bool                             // cancelBackground was called
	interrupted bool                             // a signal has ended the context of such a function

	ctx      context.Context // parent of the cleanups' contexts; nil until it is needed
	cancel   context.CancelFunc
	deadline time.Time // of all cleanups; zero if there is no deadline
	timer    *time.Timer
}

// entry is a registered cleanup. Its address identifies it.
type entry struct{ run func() }

// Register registers a cleanup. After a signal, the program does not exit until
// the registered cleanups are done. In the normal case, the caller runs the
// cleanup itself, and calls done afterwards. After a panic, AfterPanic calls
// run, unless run is nil.
func (r *Registry) Register(run func()) (done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) == 0 {
		r.pending, r.allDone = map[*entry]struct{}{}, make(chan struct{})
	}
	e := &entry{run}
	r.pending[e] = struct{}{}
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		if delete(r.pending, e); len(r.pending) == 0 {
			close(r.allDone)
		}
	})
}

// Go runs f in a goroutine, so that the program can print its last messages at
// the same time. The context of f ends after Timeout, or at the first signal.
// The program must call Wait before it exits.
func (r *Registry) Go(f func(ctx context.Context)) {
	ctx, cancel := r.Context()
	r.mu.Lock()
	if r.running == nil {
		r.running = map[*context.CancelFunc]struct{}{}
	}
	r.running[&cancel] = struct{}{}
	if r.signaled {
		r.interruptRunning()
	}
	r.mu.Unlock()
	r.background.Go(func() {
		defer func() {
			cancel()
			r.mu.Lock()
			defer r.mu.Unlock()
			delete(r.running, &cancel)
		}()
		f(ctx)
	})
}

// Wait waits for the functions passed to Go, and reports whether a signal has
// ended the context of one of them before it returned.
func (r *Registry) Wait() (interrupted bool) {
	r.background.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.interrupted
}

// cancelBackground ends the contexts of the functions passed to Go, including
// those that will be passed to it.
func (r *Registry) cancelBackground() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.signaled = true
	r.interruptRunning()
}

// interruptRunning ends the contexts of the running functions. It is called
// with mu held.
func (r *Registry) interruptRunning() {
	for cancel := range r.running {
		(*cancel)()
		r.interrupted = true
	}
}

// isPending reports whether a registered cleanup is not done.
func (r *Registry) isPending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.pending) > 0
}

// done returns a channel that is closed when all registered cleanups are done.
func (r *Registry) done() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.pending) == 0 {
		closed := make(chan struct{})
		close(closed)
		return closed
	}
	return r.allDone
}

// Context returns a context for one cleanup. It ends after Timeout, or earlier
// after a signal: see NotifyContext.
func (r *Registry) Context() (context.Context, context.CancelFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.createContext()
	deadline := time.Now().Add(Timeout)
	if !r.deadline.IsZero() && r.deadline.Before(deadline) {
		deadline = r.deadline
	}
	return context.WithDeadline(r.ctx, deadline)
}

// setDeadline sets the deadline of all cleanups, including those that have
// begun.
func (r *Registry) setDeadline(deadline time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.createContext()
	if r.timer != nil {
		r.timer.Stop()
	}
	r.deadline, r.timer = deadline, time.AfterFunc(time.Until(deadline), r.cancel)
}

// expired returns a channel that is closed at the deadline of the cleanups.
func (r *Registry) expired() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.createContext()
	return r.ctx.Done()
}

// createContext creates ctx once. It is called with mu held.
func (r *Registry) createContext() {
	if r.ctx == nil {
		r.ctx, r.cancel = context.WithCancel(context.Background()) //nolint:gosec // setDeadline calls it
	}
}

// OutliveContext returns a context that ends after limit. If ctx ends earlier,
// the returned context ends half a grace period after ctx, but not later than
// limit. It is for a request whose answer determines what must be cleaned up.
func (r *Registry) OutliveContext(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(r.gracePeriod()/2, cancel)
		context.AfterFunc(longer, func() { timer.Stop() })
	})
	return longer, func() {
		stop()
		cancel()
	}
}

// SetTerminal makes t the terminal that is restored when the program ends. It
// replaces an earlier terminal. If RestoreTerminal was called before, t is
// restored at once.
func (r *Registry) SetTerminal(t Terminal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.terminal = t
	if r.restored {
		t.Close()
	}
}

// RestoreTerminal restores the terminal, if one was set.
func (r *Registry) RestoreTerminal() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.restored = true
	if r.terminal != nil {
		r.terminal.Close()
	}
}

// PanicError is the reason that the functions of BeforeExit get after a panic.
type PanicError struct{ Value any }

// Error returns the first line of the value. The other lines may be a stack.
func (e PanicError) Error() string {
	text, _, _ := strings.Cut(fmt.Sprint(e.Value), "\n")
	return "panic: " + text
}

// BeforeExit adds a function that is called before the process ends because of
// a panic, or because NotifyContext forces the exit after a signal. f gets the
// reason, a PanicError or a SignalError. All functions together may take 1 s.
// remove removes f.
func (r *Registry) BeforeExit(f func(reason error)) (remove func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.before == nil {
		r.before = map[*func(error)]struct{}{}
	}
	r.before[&f] = struct{}{}
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.before, &f)
	}
}

// runBeforeExit calls the functions of BeforeExit, and waits up to 1 s.
func (r *Registry) runBeforeExit(reason error) {
	r.mu.Lock()
	before := slices.Collect(maps.Keys(r.before))
	r.mu.Unlock()
	done := make(chan struct{})
	go func() { // the process does not wait for it for longer than 1 s
		defer close(done)
		defer func() { _ = recover() }() // a second panic must not replace the reason
		for _, f := range before {
			(*f)(reason)
		}
	}()
	_ = closedInTime(done)
}

// ExitAfterPanic makes AfterPanic call exit, with the value and the stack of
// the panic, as its last step. exit must end the process. Without
// ExitAfterPanic, the Go runtime ends the process, with exit code 2.
func (r *Registry) ExitAfterPanic(exit func(trace string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.exit = exit
}

// OnPanic must be deferred in each goroutine whose panics are not passed on to
// another goroutine. If the goroutine panics, OnPanic calls AfterPanic, and
// panics again.
func (r *Registry) OnPanic() {
	if value := recover(); value != nil {
		r.AfterPanic(value)
		panic(value)
	}
}

// AfterPanic restores the terminal, runs all registered cleanups that are not
// done and the functions of BeforeExit, and ends the process if ExitAfterPanic
// was called. The caller must have recovered from a panic with this value, and
// must panic again if AfterPanic returns.
func (r *Registry) AfterPanic(value any) {
	trace := fmt.Sprintf("panic: %v\n\n%s", value, debug.Stack())
	r.mu.Lock()
	r.panicked = true
	exit := r.exit
	r.mu.Unlock()
	if exit != nil {
		defer exit(trace) // also if a cleanup panics
	}
	r.RestoreTerminal()
	r.runAll()
	r.runBeforeExit(PanicError{value})
}

// runAll runs all pending cleanups concurrently.
func (r *Registry) runAll() {
	r.mu.Lock()
	pending := slices.Collect(maps.Keys(r.pending))
	r.mu.Unlock()
	var all group.Group
	for _, e := range pending {
		if e.run != nil {
			all.Go(e.run)
		}
	}
	all.Wait()
}

// BlockIfPanicked never returns if another goroutine has panicked. main calls
// it before it exits, so that the other goroutine can run the cleanups and
// print the panic.
func (r *Registry) BlockIfPanicked() {
	r.mu.Lock()
	panicked := r.panicked
	r.mu.Unlock()
	if panicked {
		select {}
	}
}
