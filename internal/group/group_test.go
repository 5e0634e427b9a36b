package group

import (
	"strings"
	"sync/atomic"
	"testing"
)

// panicOf returns what f panics with, or nil.
func panicOf(f func()) (value any) {
	defer func() { value = recover() }()
	f()
	return nil
}

func TestGroup_Wait(t *testing.T) {
	var g Group
	var done atomic.Int32
	for range 10 {
		g.Go(func() { done.Add(1) })
	}
	if value := panicOf(g.Wait); value != nil || done.Load() != 10 {
		t.Errorf("Wait panicked with %v after %d of 10 goroutines returned, want no panic after 10", value, done.Load())
	}
}

func TestGroup_Panic(t *testing.T) {
	for name, set := range map[string]bool{"with onPanic": true, "without onPanic": false} {
		t.Run(name, func(t *testing.T) {
			stop := make(chan struct{})
			g := &Group{}
			if set {
				g = New(func() { close(stop) })
				g.Go(func() { <-stop })
			}
			g.Go(panics)
			value, _ := panicOf(g.Wait).(string)
			if !strings.HasPrefix(value, "broken\n\n") || !strings.Contains(value, "group.panics(") {
				t.Errorf("Wait panicked with %q, want the value and the stack of the goroutine", value)
			}
		})
	}
}

func panics() { panic("broken") }
