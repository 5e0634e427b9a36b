package cleanup

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
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

// After a panic, exit is called last, even if a cleanup panics.
func TestRegistryExitAfterPanic(t *testing.T) {
	t.Parallel()
	for name, cleanup := range map[string]func(){
		"cleanup succeeds": func() {},
		"cleanup panics":   func() { panic("second") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r Registry
			var terminal closeCounter
			r.SetTerminal(&terminal)
			r.Register(cleanup)
			var trace string
			r.ExitAfterPanic(func(s string) { trace = s })
			defer func() {
				_ = recover() // exit of this test does not end the process
				if !strings.HasPrefix(trace, "panic: first\n\n") || !strings.Contains(trace, "TestRegistryExitAfterPanic") {
					t.Errorf("the trace is %q", trace)
				}
				if terminal != 1 {
					t.Error("the terminal was not restored")
				}
			}()
			defer r.OnPanic()
			panic("first")
		})
	}
}

func TestRegistryBeforeExit(t *testing.T) {
	t.Parallel()
	var r Registry
	var reasons []string
	r.BeforeExit(func(reason error) { reasons = append(reasons, reason.Error()) })
	removed := r.BeforeExit(func(error) { t.Error("a function that was removed is called") })
	removed()
	r.ExitAfterPanic(func(string) { reasons = append(reasons, "exit") })
	r.AfterPanic("value\n\nstack")
	if diff := cmp.Diff([]string{"panic: value", "exit"}, reasons); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// A function of BeforeExit that blocks delays the exit by 1 s at most.
func TestRegistryBeforeExit_Blocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var r Registry
		unblock := make(chan struct{})
		r.BeforeExit(func(error) { <-unblock })
		begin := time.Now()
		r.AfterPanic("value")
		if took := time.Since(begin); took != exitDelay {
			t.Errorf("it took %v, want %v", took, exitDelay)
		}
		close(unblock)
		synctest.Wait()
	})
}
