package notice

import (
	"errors"
	"strings"
	"testing"
)

// upper is a Commands that changes every command visibly. It has a note about
// the command cat.
type upper struct{}

func (upper) Complete(command string) (completed, note string) {
	if command == "cat" {
		note = "a note"
	}
	return strings.ToUpper(command), note
}

func TestPrinterHint_Commands(t *testing.T) {
	for hint, want := range map[string]string{
		"type `ls` or `ps a`":  "hint: type `LS` or `PS A`\n",
		"`ls`":                 "hint: `LS`\n",
		"`cat` or `cat`":       "hint: `CAT` or `CAT` (a note)\n",
		"no command":           "hint: no command\n",
		"one ` is no command":  "hint: one ` is no command\n",
		"`ls` and ` is no one": "hint: `LS` and ` is no one\n",
	} {
		var out strings.Builder
		p := New(&out)
		p.Commands = upper{}
		p.WithPrefix("web").Hint("%s", hint)
		if out.String() != want {
			t.Errorf("got %q, want %q", out.String(), want)
		}
		out.Reset()
		p.Error(WithHint(errors.New("failed"), hint))
		if got := out.String(); got != "kshell: failed\n"+want {
			t.Errorf("error: got %q, want the hint %q", got, want)
		}
	}
}
