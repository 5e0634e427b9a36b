package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/stream"
)

func TestManyPodsAreAskedForOnPurpose(t *testing.T) {
	const help = "kshell exec --help"
	tests := []struct {
		name string
		args []string
		want errorText
	}{
		{"-l alone", []string{"-l", "app=web", "--", "ls"}, errorText{"-l finds several pods: which of them is meant?", "add --all to run a command in all of them"}},
		{"nothing named", []string{"--all", "--", "ls"}, errorText{"all of which pods? --all needs TYPE/NAME or -l LABEL=VALUE", help}},
		{"an empty selector", []string{"--all", "-l", " ", "--", "ls"}, errorText{"all of which pods? --all needs TYPE/NAME or -l LABEL=VALUE", help}},
		{"an empty name", []string{"--all", "", "--", "ls"}, errorText{"", ""}},
		{"both", []string{"--all", "-l", "a", "web", "--", "ls"}, errorText{"-l and web cannot be used together", help}},
		{"no command", []string{"--all", "deploy/web"}, errorText{"--all needs a command: a shell is for one pod", "put -- COMMAND behind it"}},
		{"a tty", []string{"--all", "-it", "deploy/web", "--", "ls"}, errorText{"--all has no tty: the lines of several pods come out of it", "leave -t out"}},
		{"none at a time", []string{"--all", "--max-parallel", "0", "deploy/web", "--", "ls"}, errorText{"--max-parallel 0 runs nothing", help}},
		{"an unknown output", []string{"--all", "-o", "yaml", "deploy/web", "--", "ls"}, errorText{`unknown --output "yaml"`, "one of text, json"}},
		{"folded JSON", []string{"--all", "-o", "json", "--fold", "deploy/web", "--", "ls"}, errorText{"--fold is for people, --output json for programs: they do not go together", help}},
		{"--fold alone", []string{"--fold", "deploy/web", "--", "ls"}, errorText{"--fold is for several pods: it needs --all", help}},
		{"--output alone", []string{"-o", "json", "web", "--", "ls"}, errorText{"--output is for several pods: it needs --all", help}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := planOf(t, onTerminal, tt.args...)
			if tt.want.Message != "" {
				got := errorTextOf(err)
				got.Hint = strings.TrimSuffix(got.Hint, ", or --pick to choose one") // where there is such a flag
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("words and hint (-want +got):\n%s", diff)
				}
			}
			if outcome.Classify(err).ExitCode != outcome.ExitUsage {
				t.Errorf("exit code %d (%v), want %d", outcome.Classify(err).ExitCode, err, outcome.ExitUsage)
			}
		})
	}
}

func TestThePlanForManyPods(t *testing.T) {
	p, err := planOf(t, pipes, "-l", "app=web", "--all", "--max-parallel", "3", "--fold", "--", "ls", "-l")
	if err != nil {
		t.Fatal(err)
	}
	want := &manyPlan{selector: "app=web", parallel: 3, fold: true}
	if diff := cmp.Diff(want, p.many, cmp.AllowUnexported(manyPlan{})); diff != "" {
		t.Errorf("plan (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ls", "-l"}, p.command); diff != "" || p.target != (pod.Target{}) {
		t.Errorf("target %v, command (-want +got):\n%s", p.target, diff)
	}
	p, err = planOf(t, pipes, "deploy/web", "--all", "-o", "json", "--", "ls")
	if err != nil {
		t.Fatal(err)
	}
	if want := (&manyPlan{parallel: 10, json: true}); *p.many != *want || p.target.Name != "web" {
		t.Errorf("plan %+v for %v, want %+v", p.many, p.target, want)
	}
}

func TestTheContainerIsNamedWhereItDiffers(t *testing.T) {
	same := []remote.Target{{Pod: "a", Container: "x"}, {Pod: "b", Container: "x"}, {Pod: "c"}}
	if diff := cmp.Diff([]string{"a", "b", "c"}, titles(same)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	other := []remote.Target{{Pod: "a", Container: "x"}, {Pod: "b", Container: "y"}, {Pod: "c"}, {Pod: "d\x1b[2J", Container: "x"}}
	if diff := cmp.Diff([]string{"a/x", "b/y", "c", `d\x1b[2J/x`}, titles(other)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// whole makes sure that each write is of whole lines.
type whole struct {
	t *testing.T
	bytes.Buffer
}

func (w *whole) Write(p []byte) (int, error) {
	if len(p) > 0 && p[len(p)-1] != '\n' {
		w.t.Errorf("a write ends in the middle of a line: %.100q", p)
	}
	return w.Buffer.Write(p)
}

func TestEachLineBeginsWithItsPodHoweverItCame(t *testing.T) {
	long := strings.Repeat("x", longest)
	tests := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"lines", "a\nb\n", "p: a\np: b\n"},
		{"no line feed at the end", "a\nb", "p: a\np: b\n"},
		{"empty lines", "\n\na\n\n", strings.Repeat("p: \n", 2) + "p: a\np: \n"},
		{"carriage returns are left alone", "a\r\nb\rc\n", "p: a\r\np: b\rc\n"},
		{"every byte but the line feed", "\x00\x01\xff\xfe\n", "p: \x00\x01\xff\xfe\n"},
		{"as long as may be", long + "\n", "p: " + long + "\n"},
		{"one longer", long + "y\n", "p: " + long + "\np: y\n"},
		{"very long", long + long + "z", "p: " + long + "\np: " + long + "\np: z\n"},
		{"broken before a character, not in it", long[1:] + "ü\n", "p: " + long[1:] + "\np: ü\n"},
		{"broken before a longer one", long[2:] + "👋\n", "p: " + long[2:] + "\np: 👋\n"},
		{"broken in what is no character", long[1:] + "\xff\xff\n", "p: " + long[1:] + "\xff\np: \xff\n"},
	}
	random := rand.New(rand.NewPCG(1, 2))
	for _, tt := range tests {
		for _, most := range []int{1, 2, 7, 1000, longest, longest + 1, 1 << 20} {
			if most < 7 && len(tt.in) > longest+100 {
				continue
			}
			out := &whole{t: t}
			l := newLines(out, prefixed("p", 0, false))
			for rest := []byte(tt.in); len(rest) > 0; {
				n := min(len(rest), 1+random.IntN(most))
				if _, err := l.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			l.end()
			if out.String() != tt.want {
				t.Errorf("%s, in pieces of up to %d: %d bytes %.80q, want %d %.80q", tt.name, most, out.Len(), out.String(), len(tt.want), tt.want)
			}
		}
	}
}

func TestALineIsSaidAsSoonAsItHasEnded(t *testing.T) {
	out := &whole{t: t}
	l := newLines(out, prefixed("p", 0, false))
	_, _ = l.Write([]byte("one\ntw"))
	if got := out.String(); got != "p: one\n" {
		t.Errorf("said %q", got)
	}
}

// What is held is bounded, whatever comes.
func TestLinesHoldLittle(t *testing.T) {
	for name, piece := range map[string][]byte{
		"no line feed":    bytes.Repeat([]byte("x"), 32<<10),
		"line feeds only": bytes.Repeat([]byte("\n"), 32<<10),
		"control bytes":   bytes.Repeat([]byte("\x01"), 32<<10),
	} {
		for kind, f := range map[string]format{
			"text": prefixed(strings.Repeat("pod", 20), 0, true), "JSON": jsonLine(remote.Target{Pod: strings.Repeat("pod", 20)}, "", "stdout"),
		} {
			l := newLines(io.Discard, f)
			for range 5 {
				_, _ = l.Write(piece)
			}
			if n := cap(l.held) + cap(l.ready); n > 2<<20 {
				t.Errorf("%s as %s: %d bytes are held", name, kind, n)
			}
		}
	}
}

func TestColoursTellPodsApartAndEnd(t *testing.T) {
	a, b := string(prefixed("a", 0, true)(nil, []byte("x"), false)), string(prefixed("b", 7, true)(nil, []byte("\x1b[31mred"), false))
	if a != "\x1b[0;36ma:\x1b[0m x\n" || b != "\x1b[0;33mb:\x1b[0m \x1b[31mred\n" {
		t.Errorf("%q, %q", a, b)
	}
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	if notice.ColourAllowed() {
		t.Error("colours in spite of NO_COLOR")
	}
}

func TestJSONLinesGiveEveryByteBack(t *testing.T) {
	inputs := []string{"a <b> & c\n", "\n", "no feed", "\xff\xfe\n\x00\x1b[31m\n", strings.Repeat("ü", longest) + "\n", allBytesOnce()}
	for _, in := range inputs {
		var out bytes.Buffer
		l := newLines(&out, jsonLine(remote.Target{Pod: "p", Container: "c"}, "", "stderr"))
		_, _ = l.Write([]byte(in))
		l.end()
		var got strings.Builder
		for d := json.NewDecoder(&out); d.More(); {
			var line lineJSON
			if err := d.Decode(&line); err != nil {
				t.Fatal(err)
			}
			if line.Pod != "p" || line.Container != "c" || line.Stream != "stderr" || (line.Line == nil) == (line.Base64 == nil) {
				t.Errorf("line %+v", line)
			}
			if line.Line != nil {
				got.WriteString(*line.Line)
			} else {
				raw, err := base64.StdEncoding.DecodeString(*line.Base64)
				if err != nil {
					t.Fatal(err)
				}
				got.Write(raw)
			}
			if !line.Open {
				got.WriteByte('\n')
			}
		}
		if got.String() != in {
			t.Errorf("%.100q came back as %.100q", in, got.String())
		}
	}
}

func allBytesOnce() string {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return string(b)
}

func TestAPodsEndInJSON(t *testing.T) {
	lost := &stream.LostError{Err: errors.New("reset")}
	got := string(jsonEnd(remote.Target{Pod: "p", Container: "c"}, "", newEnded("p", lost), lost))
	want := `{"pod":"p","container":"c","exitCode":255,"cause":"lost","message":"connection lost: reset"}` + "\n"
	if got != want {
		t.Errorf("got %s want %s", got, want)
	}
}

func TestTheTableHasAllEnds(t *testing.T) {
	got := table([]ended{
		newEnded("web-1", nil), newEnded("web-22/app", &stream.ExitError{Code: 3}), newEnded("db", &stream.LostError{Err: io.EOF}),
		newEnded("x", &pod.NotRunningError{}), newEnded("y", outcome.TimeoutError{After: 1}),
	})
	want := []string{
		"POD         EXIT CODE  CAUSE",
		"web-1               0  exited",
		"web-22/app          3  exited",
		"db                255  lost",
		"x                 255  not-running",
		"y                 124  timeout",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func foldOf(t *testing.T, f *folds, title string, err error, out, errs string) ended {
	t.Helper()
	one := f.fold()
	for w, text := range map[io.Writer]string{&one.out: out, &one.err: errs} {
		for len(text) > 0 {
			n := min(len(text), 10_000)
			if _, err := io.WriteString(w, text[:n]); err != nil {
				t.Fatal(err)
			}
			text = text[n:]
		}
	}
	end := newEnded(title, err)
	f.add(one, end, true)
	return end
}

func TestEqualOutputsAreFolded(t *testing.T) {
	var f folds
	defer f.close()
	seven := &stream.ExitError{Code: 7}
	ends := []ended{{title: "a"}, {title: "b"}, {title: "c"}, {title: "d"}, {title: "e"}, {title: "f"}, {title: "g"}}
	foldOf(t, &f, "g", nil, "", "")
	foldOf(t, &f, "c", nil, "same\n", "")
	foldOf(t, &f, "b", nil, "other", "oops\n")
	foldOf(t, &f, "d", seven, "same\n", "")
	foldOf(t, &f, "a", nil, "same\n", "")
	foldOf(t, &f, "e", &stream.LostError{Err: io.EOF}, "same\n", "")
	foldOf(t, &f, "f", nil, "", "only\n")
	var out, errs bytes.Buffer
	if err := f.release(ends, &gate{out: &out, err: &errs}); err != nil {
		t.Fatal(err)
	}
	want := `----------------
a, c
----------------
same
----------------
b
----------------
other
----------------
d (exit code 7)
----------------
same
----------------
e (exit code 255: lost)
----------------
same
----------------
g
----------------
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("stdout (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(rule+"\nb\n"+rule+"\noops\n"+rule+"\nf\n"+rule+"\nonly\n", errs.String()); diff != "" {
		t.Errorf("stderr (-want +got):\n%s", diff)
	}
}

// inTemp has temporary files made in a folder of the test's own.
func inTemp(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir)
	return dir
}

func TestLargeOutputsWaitInFilesThatVanish(t *testing.T) {
	dir := inTemp(t)
	var f folds
	text := strings.Repeat("0123456789abcde\n", 1<<18) // 4 MiB
	foldOf(t, &f, "a", nil, text, "")
	foldOf(t, &f, "b", nil, text, "")
	foldOf(t, &f, "c", nil, text+"x", "")
	if n := f.memory.Load(); n == 0 || n > 2*spoolEach {
		t.Errorf("%d bytes are in memory", n)
	}
	for _, one := range f.kept {
		info, err := one.out.file.Stat()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the file: %v, %v", info.Mode(), err)
		}
	}
	var out bytes.Buffer
	if err := f.release([]ended{{title: "a"}, {title: "b"}, {title: "c"}}, &gate{out: &out, err: io.Discard}); err != nil {
		t.Fatal(err)
	}
	if want := rule + "\na, b\n" + rule + "\n" + text + rule + "\nc\n" + rule + "\n" + text + "x\n"; out.String() != want {
		t.Errorf("%d bytes came out, want %d: %.100q", out.Len(), len(want), out.String())
	}
	f.close()
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 || f.memory.Load() != 0 {
		t.Errorf("left: %v, %d bytes", left, f.memory.Load())
	}
}

func TestManyOutputsTogetherDoNotFillTheMemory(t *testing.T) {
	inTemp(t)
	var f folds
	defer f.close()
	for i := range 200 {
		foldOf(t, &f, fmt.Sprint(i), nil, strings.Repeat(fmt.Sprintf("%07d\n", i), spoolEach/8), "")
	}
	if n := f.memory.Load(); n > spoolAll {
		t.Errorf("%d bytes are in memory", n)
	}
}

func TestAnOutputThatTakesNothingEndsAll(t *testing.T) {
	var cause error
	g := newGate(streams{Out: unwritable{syscall.EPIPE}, Err: unwritable{syscall.EPIPE}}, func(err error) { cause = err })
	l := newLines(g.stdout(), prefixed("p", 0, false))
	if _, err := l.Write([]byte("a\n")); !errors.Is(err, syscall.EPIPE) || !errors.Is(cause, syscall.EPIPE) || !errors.Is(g.broken(), syscall.EPIPE) {
		t.Errorf("write: %v, cause %v, gate %v", err, cause, g.broken())
	}
	e := newLines(g.stderr(), prefixed("p", 0, false))
	if _, err := e.Write([]byte("a\n")); err != nil {
		t.Errorf("a lost stderr ends the command: %v", err)
	}
}

func TestAStdinFileForManyHasToBeReadableTwice(t *testing.T) {
	if err := rereadable(os.DevNull); err != nil {
		t.Error(err)
	}
	if err := rereadable(t.TempDir()); err == nil {
		t.Error("a directory is taken")
	}
}
