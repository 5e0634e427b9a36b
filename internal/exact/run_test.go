package exact

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

// Something has to be run to end a command only where the script cannot see that the client is gone, and never for one that is to be kept.
func TestTerminateCommand(t *testing.T) {
	full := func() io.Reader { return strings.NewReader(strings.Repeat("x", 2*pipeCapacity)) }
	broken := func() io.Reader { return io.MultiReader(full(), iotest.ErrReader(io.ErrUnexpectedEOF)) }
	short := func() io.Reader { return strings.NewReader("input") }
	tests := map[string]struct {
		input   func() io.Reader
		options Options
		words   string
		end     string
		want    bool
	}{
		"much input":                  {full, Options{}, runningMessage, "", true},
		"a pipe holds it":             {short, Options{}, runningMessage, "", false},
		"no input":                    {nil, Options{}, runningMessage, "", false},
		"kept":                        {full, Options{KeepRunning: true}, runningMessage, "", false},
		"kept, whole, all was sent":   {full, Options{KeepRunning: true, EndIfInputCut: true}, runningMessage, "", false},
		"kept, whole, its end is not": {broken, Options{KeepRunning: true, EndIfInputCut: true}, runningMessage, "", true},
		"it has ended":                {full, Options{}, runningMessage, "ended 1", false},
		"half of its end is here":     {full, Options{}, runningMessage, "half", true},
		"no process group":            {full, Options{}, messageRunning + "1; rm -r /", "", false},
		"nothing was said":            {full, Options{}, "alive", "", false},
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
				said := func(words string) string { return markStart + r.mark + words + "\n" }
				_ = writePieces(r.Stderr(), said(test.words))
				synctest.Wait()
				switch test.end {
				case "half":
					_ = writePieces(r.Stderr(), said("ended 1"))
				case "":
				default:
					_ = writePieces(r.Stderr(), said(test.end))
					_ = writePieces(r.Stdout(), said(test.end))
				}
				r.Cancel()
				got := r.TerminateCommand()
				if (got != nil) != test.want {
					t.Errorf("to be run: %q, want something: %t", got, test.want)
				}
				if test.want && !strings.HasSuffix(strings.Join(got, " "), " -4321") {
					t.Errorf("%q does not end the group 4321", got)
				}
				synctest.Wait()
				select {
				case <-sent:
				default:
					t.Error("Stdin is not over after Cancel")
				}
			})
		})
	}
}
