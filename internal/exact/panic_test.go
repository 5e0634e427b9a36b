package exact

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// panicking is a reader whose Read panics.
type panicking struct{}

func (panicking) Read([]byte) (int, error) { panic("broken stdin") }

// A panic in the goroutine that reads stdin makes the session's Read panic, so
// that the session's deferred calls restore the terminal.
func TestInput_SourcePanics(t *testing.T) {
	for name, wait := range map[string]func(in *input){
		"Read":   func(in *input) { _, _ = io.ReadAll(in) },
		"cancel": func(in *input) { in.cancel(func() bool { return true }) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				in := &input{}
				in.init(panicking{})
				in.start()
				defer func() {
					if p := recover(); !strings.HasPrefix(fmt.Sprint(p), "broken stdin") {
						t.Errorf("recovered %v", p)
					}
				}()
				wait(in)
				t.Error("no panic")
			})
		})
	}
}
