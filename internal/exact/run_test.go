package exact

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

// Something has to be run to end a command only where the script cannot see that the client is gone, and never for one that is to be kept.
func TestLeftoverIsForWhatTheScriptCannotSee(t *testing.T) {
	full := func() io.Reader { return strings.NewReader(strings.Repeat("x", 2*pipe)) }
	broken := func() io.Reader { return io.MultiReader(full(), iotest.ErrReader(io.ErrUnexpectedEOF)) }
	short := func() io.Reader { return strings.NewReader("input") }
	tests := map[string]struct {
		input   func() io.Reader
		options Options
		words   string
		end     string
		want    bool
	}{
		"much input":                  {full, Options{}, running, "", true},
		"a pipe holds it":             {short, Options{}, running, "", false},
		"no input":                    {nil, Options{}, running, "", false},
		"kept":                        {full, Options{KeepRunning: true}, running, "", false},
		"kept, whole, all was sent":   {full, Options{KeepRunning: true, EndIfInputCut: true}, running, "", false},
		"kept, whole, its end is not": {broken, Options{KeepRunning: true, EndIfInputCut: true}, running, "", true},
		"it has ended":                {full, Options{}, running, "ended 1", false},
		"half of its end is here":     {full, Options{}, running, "half", true},
		"no process group":            {full, Options{}, wordRunning + "1; rm -r /", "", false},
		"nothing was said":            {full, Options{}, "alive", "", false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if test.input != nil {
					test.options.Stdin = test.input()
				}
				r := New(test.options)
				sent := make(chan wire)
				go func() { sent <- parse(t, r.Stdin()) }()
				said := func(words string) string { return lead + r.mark + words + "\n" }
				_ = deliver(r.Stderr(), said(test.words))
				synctest.Wait()
				switch test.end {
				case "half":
					_ = deliver(r.Stderr(), said("ended 1"))
				case "":
				default:
					_ = deliver(r.Stderr(), said(test.end))
					_ = deliver(r.Stdout(), said(test.end))
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
