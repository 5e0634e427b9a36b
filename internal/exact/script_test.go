package exact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCommand_ArgumentsUnchanged(t *testing.T) {
	args := []string{"cmd", "", "*", "a b", "$x", "-n", "a\nb", `"'\`, "k=v", "\xff"}
	got := New(Options{}).Command(args)
	if d := cmp.Diff(args, got[len(got)-len(args):]); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"sh", "-c"}, got[:2]); d != "" {
		t.Error(d)
	}
}

func TestCommand_MarkIsSplit(t *testing.T) {
	r := New(Options{})
	all := strings.Join(r.Command([]string{"cmd"}), " ")
	if strings.Contains(all, r.mark) || strings.Contains(strings.ReplaceAll(all, " ", ""), r.mark) {
		t.Error("the arguments contain the mark")
	}
	if len(r.mark) != 32 || r.mark == New(Options{}).mark {
		t.Errorf("mark %q, want 128 random bits", r.mark)
	}
}

func TestCommand_Modes(t *testing.T) {
	some := strings.NewReader("")
	for _, test := range []struct {
		options Options
		want    []string // $3 to $5 of script.sh
	}{
		{Options{}, []string{"nothing", "end", "end"}},
		{Options{Stdin: some}, []string{"blocks", "end", "end"}},
		{Options{Stdin: some, EndIfInputCut: true}, []string{"blocks", "end", "end"}},
		{Options{Stdin: some, KeepRunning: true}, []string{"blocks", "keep", "keep"}},
		{Options{Stdin: some, KeepRunning: true, EndIfInputCut: true}, []string{"blocks", "keep", "end"}},
		{Options{KeepRunning: true}, []string{"nothing", "keep", "keep"}},
		{Options{KeepRunning: true, EndIfInputCut: true}, []string{"nothing", "keep", "keep"}}, // no input to cut off
	} {
		got := New(test.options).Command([]string{"cmd"})
		if d := cmp.Diff(test.want, got[6:9]); d != "" {
			t.Errorf("KeepRunning %t, EndIfInputCut %t: %s", test.options.KeepRunning, test.options.EndIfInputCut, d)
		}
	}
}

// sentScripts returns all parts of the scripts as they are sent.
func sentScripts() []string {
	return []string{
		nothingScript.eval, nothingScript.read, nothingScript.start, nothingScript.rest, blocksScript.start,
		blocksScript.rest, terminalScript,
	}
}

// The scripts are sent without comments and indentation, and with short names.
func TestScript_SentShortened(t *testing.T) {
	for _, sent := range sentScripts() {
		for line := range strings.Lines(sent) {
			if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "\t") || strings.Contains(line, "k_") {
				t.Errorf("sent: %q", line)
			}
		}
	}
}
