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

// Group runs goroutines until Wait returns. If one of them panics, OnPanic is
// called, and Wait panics in the waiting goroutine, whose deferred calls
// restore the terminal. The zero value is ready to use.
type Group struct {
	// OnPanic has to make the waiting goroutine and the others of the group
	// return. It is called in the goroutine that panicked, once per panic. It
	// may be nil.
	OnPanic func()

	wg sync.WaitGroup

	mu    sync.Mutex
	fault *fault // of the first goroutine that panicked
}

// fault is the value of a panic and the stack of its goroutine.
type fault struct {
	value any
	stack []byte
}

func (f *fault) String() string { return fmt.Sprintf("%v\n\n%s", f.value, f.stack) }

// Go runs f in a goroutine. As with sync.WaitGroup, it must not be called
// concurrently with Wait while no goroutine of the group is running.
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

// Wait waits until all goroutines have returned. If any panicked, Wait panics
// with a string: the value and the stack of the first panic.
func (g *Group) Wait() {
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.fault != nil {
		panic(g.fault.String())
	}
}
