package exact

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

// TerminateCommand returns a command only if the script cannot detect that the
// client has disconnected.
func TestTerminateCommand(t *testing.T) {
	full := func() io.Reader { return strings.NewReader(strings.Repeat("x", 2*pipeCapacity)) }
	broken := func() io.Reader { return io.MultiReader(full(), iotest.ErrReader(io.ErrUnexpectedEOF)) }
	short := func() io.Reader { return strings.NewReader("input") }
	tests := map[string]struct {
		input   func() io.Reader
		options Options
		message string
		end     string
		want    bool
	}{
		"more than a pipe":     {full, Options{}, runningMessage, "", true},
		"fits in a pipe":       {short, Options{}, runningMessage, "", false},
		"no input":             {nil, Options{}, runningMessage, "", false},
		"kept":                 {full, Options{KeepRunning: true}, runningMessage, "", false},
		"kept, all input sent": {full, Options{KeepRunning: true, EndIfInputCut: true}, runningMessage, "", false},
		"kept, input cut":      {broken, Options{KeepRunning: true, EndIfInputCut: true}, runningMessage, "", true},
		"ended":                {full, Options{}, runningMessage, "ended 1", false},
		"one stream ended":     {full, Options{}, runningMessage, "half", true},
		"not a process ID":     {full, Options{}, messageRunning + "1; rm -r /", "", false},
		"not started":          {full, Options{}, "alive", "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if test.input != nil {
					test.options.Stdin = test.input()
				}
				r := New(test.options)
				sent := make(chan received)
				go func() { sent <- parse(t, r.Stdin()) }()
				message := func(text string) string { return markStart + r.mark + text + "\n" }
				_ = writePieces(r.Stderr(), message(test.message))
				synctest.Wait()
				switch test.end {
				case "half":
					_ = writePieces(r.Stderr(), message("ended 1"))
				case "":
				default:
					_ = writePieces(r.Stderr(), message(test.end))
					_ = writePieces(r.Stdout(), message(test.end))
				}
				r.Cancel()
				got := r.TerminateCommand()
				if (got != nil) != test.want {
					t.Errorf("got %q, want a command: %t", got, test.want)
				}
				if test.want && !strings.HasSuffix(strings.Join(got, " "), " -4321") {
					t.Errorf("%q does not end the group 4321", got)
				}
				synctest.Wait()
				select {
				case <-sent:
				default:
					t.Error("Stdin does not end after Cancel")
				}
			})
		})
	}
}
