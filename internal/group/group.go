// Package group runs goroutines that are waited for, and passes their panics
// on to the goroutine that waits.
//
// It imports no other package of kshell, and every package may import it.
package group

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// Group runs goroutines for the one that calls Wait. A panic in any of them
// calls OnPanic and then comes out of Wait, in the waiting goroutine, whose
// deferred calls restore the terminal. The zero value is ready to use.
type Group struct {
	// OnPanic makes the waiting goroutine, and the others of the group, return.
	// It is called in the goroutine that panicked, once per panic; nil: nothing
	// is called.
	OnPanic func()

	wg sync.WaitGroup

	mu    sync.Mutex
	fault *fault // of the first goroutine that panicked
}

// fault is a panic with the stack of where it happened.
type fault struct {
	value any
	stack []byte
}

func (f *fault) String() string { return fmt.Sprintf("%v\n\n%s", f.value, f.stack) }

// Go runs f in a goroutine of its own. Like that of a sync.WaitGroup, it must
// not be called while a Wait of a group without running goroutines may begin.
func (g *Group) Go(f func()) {
	g.wg.Go(func() {
		defer g.recover()
		f()
	})
}

// recover is deferred in each goroutine.
func (g *Group) recover() {
	value := recover()
	if value == nil {
		return
	}
	g.mu.Lock()
	if g.fault == nil {
		g.fault = &fault{value, debug.Stack()}
	}
	g.mu.Unlock()
	if g.OnPanic != nil {
		g.OnPanic()
	}
}

// Wait waits until all goroutines have returned. If one of them panicked, it
// panics with the value and the stack of the first that did, as a string.
func (g *Group) Wait() {
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault != nil {
		panic(g.fault.String())
	}
}
