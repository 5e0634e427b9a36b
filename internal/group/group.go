// Package group runs goroutines and waits for them. A panic in one of them is
// passed to the goroutine that waits.
//
// It does not know what the goroutines do. It imports no other package of
// kshell, and every package may import it.
//
// Invariants:
//   - Wait returns only after all goroutines of the group have returned.
//   - A panic in a goroutine does not end the process there: Wait panics
//     instead, so that the deferred calls of the waiting goroutine run, such as
//     the one that restores the terminal.
package group

import (
	"fmt"
	"runtime/debug"
	"sync"
)

// Group is a group of goroutines. The zero value is ready to use. The methods
// may be called from any goroutine, with one exception: while no goroutine of
// the group is running, Go must not be called concurrently with Wait (as with
// [sync.WaitGroup]).
type Group struct {
	onPanic func() // may be nil
	wg      sync.WaitGroup

	mu    sync.Mutex
	first *panicRecord // the first panic; guarded by mu
}

// panicRecord is the value of a panic and the stack of its goroutine.
type panicRecord struct {
	value any
	stack []byte
}

func (p *panicRecord) String() string { return fmt.Sprintf("%v\n\n%s", p.value, p.stack) }

// New returns a Group. When one of its goroutines panics, the Group calls
// onPanic in that goroutine. onPanic must make the other goroutines of the
// group return.
func New(onPanic func()) *Group { return &Group{onPanic: onPanic} }

// Go runs f in a goroutine.
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
	if g.first == nil {
		g.first = &panicRecord{value, debug.Stack()}
	}
	g.mu.Unlock()
	if g.onPanic != nil {
		g.onPanic()
	}
}

// Wait waits until all goroutines have returned. If any panicked, Wait panics
// with a string: the value and the stack of the first panic.
func (g *Group) Wait() {
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.first != nil {
		panic(g.first.String())
	}
}
