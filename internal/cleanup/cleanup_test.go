package cleanup

import (
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// closeCounter is a terminal that counts how often it is closed.
type closeCounter int

func (c *closeCounter) Close() { *c++ }

func TestRegistryRestoreTerminal(t *testing.T) {
	t.Parallel()
	(&Registry{}).RestoreTerminal() // without a terminal it does nothing
	var r Registry
	var first, second, late closeCounter
	r.SetTerminal(&first)
	r.SetTerminal(&second)
	r.RestoreTerminal()
	r.SetTerminal(&late)
	if first != 0 || second != 1 || late != 1 {
		t.Errorf("closed %d, %d and %d times, want 0 (replaced), 1 and 1 (set after the restore)", first, second, late)
	}
}

func TestRegistryRegister(t *testing.T) {
	t.Parallel()
	var r Registry
	select {
	case <-r.done():
	default:
		t.Error("no cleanup is registered, and the channel is not closed")
	}
	runs := ""
	firstDone, secondDone := r.Register(func() { runs += "a" }), r.Register(nil)
	done := r.done()
	r.runAll()
	firstDone()
	firstDone() // a second call does nothing
	if r.runAll(); runs != "a" {
		t.Errorf("runs %q, want one of the first cleanup", runs)
	}
	select {
	case <-done:
		t.Error("the second cleanup is not done, and the channel is closed")
	default:
	}
	secondDone()
	<-done
	<-r.done()
}

func TestRegistryOnPanic(t *testing.T) {
	t.Parallel()
	var r Registry
	var terminal closeCounter
	r.SetTerminal(&terminal)
	restoredFirst := false
	r.Register(func() { restoredFirst = terminal == 1 })
	defer func() {
		if value := recover(); value != "test" || terminal != 1 || !restoredFirst {
			t.Errorf("panic %v, terminal closed %d times, before the cleanup: %v", value, terminal, restoredFirst)
		}
	}()
	defer r.OnPanic()
	panic("test")
}
