package suite

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"kshell/test/contract"
)

// screenTimeout is how long a screen may take to show what is expected.
const screenTimeout = 20 * time.Second

// columns and rows are the initial size of each window.
const columns, rows = 100, 30

// tmux is a private tmux server: its socket is in its own directory, it reads
// no configuration, and it ends with the test.
type tmux struct{ dir string }

func newTmux(t *testing.T) *tmux {
	t.Helper()
	if _, err := exec.LookPath("tmux"); err != nil {
		t.Fatal("this machine has no tmux, which this test drives: `make e2e` installs it (or: apt-get install tmux)")
	}
	dir, err := os.MkdirTemp("", "kshell-tmux-") // not t.TempDir: the path of a socket must be short
	if err != nil {
		t.Fatal(err)
	}
	server := &tmux{dir}
	server.run(t, "new-session", "-d", "-s", "e2e", "-x", strconv.Itoa(columns), "-y", strconv.Itoa(rows), "cat")
	t.Cleanup(func() {
		if out, err := server.command(context.Background(), "kill-server").CombinedOutput(); err != nil {
			t.Errorf("tmux kill-server: %v: %s", err, out)
		}
		_ = os.RemoveAll(dir)
	})
	server.run(t, "set-option", "-g", "status", "off", ";", "set-option", "-g", "default-terminal", "tmux-256color",
		";", "set-option", "-g", "escape-time", "0")
	return server
}

func (s *tmux) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "tmux", append([]string{"-u", "-L", "kshell", "-f", "/dev/null"}, args...)...)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + home,
		"TMUX_TMPDIR=" + s.dir,
		"LC_ALL=C.UTF-8",
		"TERM=tmux-256color",
	}
	return cmd
}

func (s *tmux) run(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), screenTimeout) // for cleanups
	defer cancel()
	var out, errs bytes.Buffer
	cmd := s.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("tmux %q: %v: %s", args, err, errs.String())
	}
	return out.String()
}

// pane is a tmux window with one pane. A local shell runs in it, and the
// variable $CLI of the shell is the path of the program.
type pane struct {
	*tmux
	t       *testing.T
	id      string
	program contract.Program
	prompts map[string]int // the number of the current prompt of each shell
	readies int
	want    map[string]screen
	shots   map[string]screen
	dir     string // for files of the local shell
}

// open opens a pane and waits for its shell. If want is not nil, the method
// shot compares each screen with the one in want.
func (s *tmux) open(t *testing.T, p contract.Program, want map[string]screen) *pane {
	t.Helper()
	w := &pane{
		tmux:    s,
		t:       t,
		program: p,
		want:    want,
		prompts: map[string]int{},
		shots:   map[string]screen{},
		dir:     t.TempDir(),
	}
	w.id = strings.TrimSpace(s.run(t, "new-window", "-d", "-P", "-F", "#{pane_id}", "-c", w.dir, "env", "-i",
		"PATH="+os.Getenv("PATH"), "HOME="+home, "KUBECONFIG="+p.Kubeconfig, "TERM=tmux-256color", "LC_ALL=C.UTF-8",
		"HISTFILE=", `PS1=local \#> `, "CLI="+p.Path, "bash", "--norc", "--noprofile", "-i"))
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the screen at the end:\n%s", w.screen(false))
		}
		s.run(t, "kill-pane", "-t", w.id)
	})
	w.resize(columns, rows)
	w.prompt("local")
	return w
}

func (w *pane) tmuxTo(verb string, args ...string) string {
	w.t.Helper()
	return w.run(w.t, append([]string{verb, "-t", w.id}, args...)...)
}

// text types the given words. keys presses the keys with the given tmux names.
func (w *pane) text(words string)    { w.t.Helper(); w.tmuxTo("send-keys", "-l", "--", words) }
func (w *pane) keys(names ...string) { w.t.Helper(); w.tmuxTo("send-keys", names...) }

func (w *pane) resize(width, height int) {
	w.t.Helper()
	w.tmuxTo("resize-window", "-x", strconv.Itoa(width), "-y", strconv.Itoa(height))
}

// enter types a command line and Enter.
func (w *pane) enter(line string) {
	w.t.Helper()
	w.text(line)
	w.keys("Enter")
}

// prompt waits for the next prompt of a shell whose PS1 is `name \#> `. The
// number makes each prompt unique.
func (w *pane) prompt(name string) {
	w.t.Helper()
	w.prompts[name]++
	w.wait(fmt.Sprintf("the last line is the prompt %s %d", name, w.prompts[name]), func(s screen) bool {
		return s.last() == fmt.Sprintf("%s %d>", name, w.prompts[name])
	})
}

// local and remote run a command line in the local or the remote shell, and
// wait for the next prompt.
func (w *pane) local(line string)  { w.t.Helper(); w.enter(line); w.prompt("local") }
func (w *pane) remote(line string) { w.t.Helper(); w.enter(line); w.prompt("pod") }

// ready clears the screen, starts a command that reads from the terminal, and
// waits until the shell no longer reads the keys, so that the command gets
// them.
func (w *pane) ready(line string) {
	w.t.Helper()
	w.readies++
	w.enter(fmt.Sprintf("clear; echo ready %d; %s", w.readies, line))
	w.line(fmt.Sprint("ready ", w.readies))
}

// line waits for a screen line that is equal to words. A line that the user
// typed does not match, because it begins with a prompt.
func (w *pane) line(words string) {
	w.t.Helper()
	w.wait(fmt.Sprintf("a line %q", words), func(s screen) bool { return slices.Contains(s.lines, words) })
}

// contains waits until the screen contains the text in words.
func (w *pane) contains(words string) {
	w.t.Helper()
	w.wait(fmt.Sprintf("words %q", words), func(s screen) bool { return strings.Contains(s.String(), words) })
}

// wait waits until the screen meets the given condition. The parameter what
// describes the condition in the error message.
func (w *pane) wait(what string, is func(screen) bool) {
	w.t.Helper()
	var s screen
	for deadline := time.Now().Add(screenTimeout); time.Now().Before(deadline); {
		if s = w.screen(false); is(s) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("not after %v: %s\n%s", screenTimeout, what, s)
}

// shot records the screen, with colors, cursor and modes, if w.want is nil.
// Otherwise, it compares the screen with that of kubectl. The caller must have
// waited for the last text of the screen. When it records, shot itself waits
// until the screen no longer changes, because the cursor and the modes may
// follow the text.
func (w *pane) shot(name string) {
	w.t.Helper()
	if w.want == nil {
		w.shots[name] = w.stableScreen()
		return
	}
	want, ok := w.want[name]
	if !ok {
		w.t.Fatalf("kubectl has no screen %q", name)
	}
	got := screen{}
	for deadline := time.Now().Add(screenTimeout); time.Now().Before(deadline); {
		if got = w.screen(true); got.String() == want.String() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Errorf("screen %q\nkubectl's: %q\nkshell's:  %q\n%s", name, want.diff(got), got.diff(want), got)
}

// stableScreen waits until the screen has not changed for half a second, and
// returns it.
func (w *pane) stableScreen() screen {
	w.t.Helper()
	is, since := w.screen(true), time.Now()
	for deadline := time.Now().Add(screenTimeout); time.Since(since) < time.Second/2 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		if now := w.screen(true); now.String() != is.String() {
			is, since = now, time.Now()
		}
	}
	return is
}

// screen is the content of a terminal.
type screen struct {
	lines []string // without trailing blanks, and without empty lines at the end
	state string   // the cursor, and modes
}

func (s screen) String() string { return strings.Join(s.lines, "\n") + "\n" + s.state }

func (s screen) last() string {
	if len(s.lines) == 0 {
		return ""
	}
	return s.lines[len(s.lines)-1]
}

// diff returns the lines of s that are different in o.
func (s screen) diff(o screen) (lines []string) {
	for i, line := range s.lines {
		if i >= len(o.lines) || o.lines[i] != line {
			lines = append(lines, fmt.Sprintf("%d: %s", i, line))
		}
	}
	if s.state != o.state {
		lines = append(lines, s.state)
	}
	return lines
}

// screen returns the content of the pane. If full is true, the content includes
// the escape codes for colors, and the state.
func (w *pane) screen(full bool) screen {
	w.t.Helper()
	const state = "#{cursor_x} #{cursor_y} alternate=#{alternate_on} cursor=#{cursor_flag} " +
		"keypad=#{keypad_flag}#{keypad_cursor_flag}" +
		" insert=#{insert_flag} wrap=#{wrap_flag} origin=#{origin_flag} mouse=#{mouse_any_flag} #{pane_width}x#{pane_height}"
	if !full {
		return screen{lines: trimLines(w.tmuxTo("capture-pane", "-p"))}
	}
	out := w.run(w.t, "display-message", "-p", "-t", w.id, state, ";", "capture-pane", "-p", "-e", "-t", w.id)
	first, rest, _ := strings.Cut(out, "\n")
	var column, row int
	var modes string
	if _, err := fmt.Sscanf(first, "%d %d", &column, &row); err != nil {
		w.t.Fatalf("tmux printed %q: %v", first, err)
	}
	modes = strings.SplitN(first, " ", 3)[2]
	lines, above := withoutIntendedDifferences(trimLines(rest), row)
	return screen{lines, fmt.Sprintf("cursor %d,%d %s", column, row-above, modes)}
}

var blanks = regexp.MustCompile(` +$`)

func trimLines(text string) []string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		lines[i] = blanks.ReplaceAllString(line, "")
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// intendedDifferences are lines that only one program shows, on purpose. They
// are removed before screens are compared.
var intendedDifferences = []struct {
	line *regexp.Regexp
	why  string
}{
	{
		regexp.MustCompile(`^command terminated with exit code \d+$`),
		"kubectl's; kshell prints no message about the command's own exit code",
	},
	{regexp.MustCompile(`^Defaulted container "a" out of: a, b$`), "kubectl's words for the container that it took"},
	{regexp.MustCompile(`^kshell: .*container.*$`), "kshell's words for the container that it took"},
}

// seenDifferences contains the intended differences that occurred. The test
// fails if one of them never occurs.
var seenDifferences = map[string]bool{}

// withoutIntendedDifferences removes the lines that are intended differences.
// above is the number of removed lines above the given row.
func withoutIntendedDifferences(lines []string, row int) (rest []string, above int) {
	for i, line := range lines {
		is := false
		for _, d := range intendedDifferences {
			if d.line.MatchString(line) {
				is, seenDifferences[d.line.String()] = true, true
			}
		}
		switch {
		case !is:
			rest = append(rest, line)
		case i < row:
			above++
		}
	}
	return rest, above
}

// foreground returns the PID of the foreground process group of the pane's
// terminal, and checks that it is the program.
func (w *pane) foreground() int {
	w.t.Helper()
	shell := strings.TrimSpace(w.run(w.t, "display-message", "-p", "-t", w.id, "#{pane_pid}"))
	stat, err := os.ReadFile(filepath.Join("/proc", shell, "stat"))
	if err != nil {
		w.t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // begins with the third field; see proc(5)
	pid, err := strconv.Atoi(fields[8-3])                                     // tpgid
	if err != nil {
		w.t.Fatal(err)
	}
	program, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil || program != w.program.Path {
		w.t.Fatalf("the foreground process is %d, %s (%v), not %s", pid, program, err, w.program.Path)
	}
	return pid
}

// settings returns the output of stty in the local shell.
func (w *pane) settings(name string) string {
	w.t.Helper()
	w.local("stty -a >" + name)
	text, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}
