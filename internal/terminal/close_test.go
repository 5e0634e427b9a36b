//go:build unix

package terminal

import (
	"errors"
	"testing"
)

func TestClose_RawFails(t *testing.T) {
	_, tty := openPty(t)
	before := modesOf(t, tty)
	for name, use := range map[string]func(*Terminal){
		"while raw": func(terminal *Terminal) { raw(t, terminal); terminal.Close() },
		"after restore": func(terminal *Terminal) {
			raw(t, terminal)()
			terminal.Close()
		},
		"never raw": (*Terminal).Close,
		"twice":     func(terminal *Terminal) { raw(t, terminal); terminal.Close(); terminal.Close() },
		"after a panic": func(terminal *Terminal) {
			raw(t, terminal)
			defer func() { _ = recover() }()
			defer terminal.RestoreOnPanic()
			panic("broken")
		},
	} {
		t.Run(name, func(t *testing.T) {
			terminal := open(t, tty, tty)
			use(terminal)
			if _, err := terminal.Raw(); !errors.Is(err, errClosed) {
				t.Errorf("Raw returns %v, want errClosed", err)
			}
			if modesOf(t, tty) != before {
				t.Error("the terminal's modes have changed")
			}
		})
	}
}
