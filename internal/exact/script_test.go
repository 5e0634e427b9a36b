package exact

import (
	"slices"
	"strings"
	"testing"

	"kshell/internal/script"

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

// The script that is sent is fullScript without comments and indentation.
func TestScript_SentWithoutComments(t *testing.T) {
	var want []string
	for line := range strings.Lines(fullScript()) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			want = append(want, line)
		}
	}
	if got := strings.Split(strings.TrimSuffix(script.Shrink(fullScript()), "\n"), "\n"); !slices.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	if n := len(script.Shrink(fullScript())); n > 5<<10 {
		t.Errorf("the script has %d bytes, want at most 5 KiB", n)
	}
}
