//go:build unix

package contract

import (
	"bytes"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// window is a terminal in which kshell runs, with stderr in a buffer.
type window struct {
	*Terminal
	errs *lockedBuffer
}

// lockedBuffer is a buffer for concurrent use.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// openWindow starts the program in a new terminal.
func openWindow(t *testing.T, p Program, args ...string) window {
	t.Helper()
	w := window{errs: &lockedBuffer{}}
	cmd := p.Command(t.Context(), t, args...)
	cmd.Stderr = w.errs
	w.Terminal = openTerminal(t, cmd, pty.Winsize{Rows: 30, Cols: 200})
	return w
}

// waitUntil waits until shown returns true for the text of the terminal.
func (w window) waitUntil(what string, shown func(text string) bool) {
	w.t.Helper()
	late := time.After(runTimeout)
	for !shown(w.Text()) {
		select {
		case <-w.changed:
		case <-late:
			w.t.Fatalf("%s was not shown; the end of what was: %q\n%s", what, last(w.Text(), 2000), w.errs)
		}
	}
}

func (w window) waitForText(words string) {
	w.t.Helper()
	w.waitUntil(words, func(text string) bool { return strings.Contains(text, words) })
}

var number = regexp.MustCompile(`<(\d+)>`)

// lastNumber returns the last number that was shown.
func lastNumber(text string) (n int) {
	all := number.FindAllStringSubmatch(last(text, 4000), -1)
	if len(all) > 0 {
		_, _ = fmt.Sscan(all[len(all)-1][1], &n)
	}
	return n
}

// NodeShellResumes breaks the connection of a node shell by calling cut, while
// the shell prints numbers. cuts is the number of these calls. After each cut,
// kshell must be in the same shell again, and each number must be shown exactly
// once. connection contains the flags that make kshell use a connection that
// cut can break.
func NodeShellResumes(t *testing.T, p Program, n Nodes, cuts int, cut func(), connection ...string) {
	node, stop := n.Names[0], fmt.Sprintf("/tmp/kshell-stop-%d", time.Now().UnixNano())
	runOnNode := func(command ...string) {
		t.Helper()
		if r := p.Run(t, nil, n.args(append([]string{node, "--"}, command...)...)...); r.Code != 0 {
			t.Errorf("%+v", r)
		}
	}
	defer runOnNode("rm", "-f", stop)
	w := openWindow(t, p, append(n.args(node), connection...)...)
	w.Type("PS1='prompt''> '; kept=yes\r")
	w.waitForText("prompt> ")
	w.Type(fmt.Sprintf("i=0; while ! [ -e %s ]; do i=$((i+1)); echo \"<$i>\"; sleep 0.02; done; echo co''unted\r", stop))
	reconnections := func() int { return strings.Count(w.errs.String(), "the same shell") }
	for range cuts {
		begin, before := reconnections(), lastNumber(w.Text())
		w.waitUntil("a number", func(text string) bool { return lastNumber(text) > before+5 })
		cut()
		w.waitUntil(
			"a number after a cut",
			func(text string) bool { return reconnections() > begin && lastNumber(text) > before+10 },
		)
	}
	before := lastNumber(w.Text())
	w.waitUntil("a number after the last cut", func(text string) bool { return lastNumber(text) > before+5 })
	runOnNode("touch", stop)
	w.waitForText("counted")
	for i, m := range number.FindAllStringSubmatch(w.Text(), -1) {
		if m[1] != fmt.Sprint(i+1) {
			w.Type("exit\r")
			w.Exit()
			t.Fatalf("number %d is %s: ...%q\n%s", i+1, m[1], excerpt(w.Text(), m[0]), w.errs.String())
		}
	}
	w.Type("echo kept: $kept\r")
	w.waitForText("kept: yes")
	w.Type("exit 7\r")
	if code := w.Exit(); code != 7 {
		t.Errorf("exit code %d; stderr %s", code, w.errs.String())
	}
	if reconnections() < cuts || strings.Contains(w.errs.String(), "output from ") {
		t.Errorf("%d reconnections of %d: %s", reconnections(), cuts, w.errs.String())
	}
	n.checkNoPods(t, p)
}

// NodeShellLogGap breaks the connection of a node shell by calling cut, while
// the shell prints numbers. Before each cut, it calls lose, which makes a part
// of the log of the shell's pod disappear, during the outage or when kshell
// reads the log again. After each cut, kshell must be in the same shell again.
// No number may be shown twice or out of order, and kshell must report a gap
// for each range of missing numbers. connection contains the flags that make
// kshell use a connection that cut can break.
func NodeShellLogGap(t *testing.T, p Program, n Nodes, cut func(), lose func(pod string), connection ...string) {
	w := openWindow(t, p, append(n.args(n.Names[0]), connection...)...)
	w.Type("PS1='prompt''> '; kept=yes\r")
	w.waitForText("prompt> ")
	r := p.Run(t, nil, "node-shell", "list", "-n", n.Namespace)
	pod := regexp.MustCompile(`(?m)^node-shell-\S+`).FindString(r.Out)
	if pod == "" {
		t.Fatalf("there is no pod: %+v", r)
	}
	w.Type("i=0; while :; do i=$((i+1)); echo \"<$i>\"; sleep 0.02; done\r")
	for range 3 {
		before := lastNumber(w.Text())
		w.waitUntil("a number", func(text string) bool { return lastNumber(text) > before+20 })
		begin, before := strings.Count(w.errs.String(), "the same shell"), lastNumber(w.Text())
		lose(pod)
		cut()
		w.waitUntil("a number after a cut", func(text string) bool {
			return strings.Count(w.errs.String(), "the same shell") > begin && lastNumber(text) > before+20
		})
	}
	// The shell misses a Ctrl-C if the process that it has forked has not started
	// sleep yet.
	interrupted := lastNumber(w.Text())
	w.Type("\x03")
	w.waitUntil("a prompt", func(text string) bool {
		if n := lastNumber(text); n > interrupted+20 {
			interrupted = n
			w.Type("\x03")
		}
		return strings.Count(text, "prompt> ") > 1
	})
	// A Ctrl-C that the shell reads late discards what was typed of a line, and shows
	// another prompt.
	prompts := 0
	w.waitUntil("kept: yes", func(text string) bool {
		if n := strings.Count(text, "prompt> "); n > prompts {
			prompts = n
			w.Type("echo kept: $kept\r")
		}
		return strings.Contains(text, "kept: yes")
	})
	w.Type("exit 7\r")
	if code := w.Exit(); code != 7 {
		t.Errorf("exit code %d; stderr %s", code, w.errs.String())
	}
	previous, ranges := 0, 0
	for _, m := range number.FindAllStringSubmatch(w.Text(), -1) {
		i, err := strconv.Atoi(m[1])
		if err != nil || i <= previous {
			t.Fatalf("%s follows number %d: ...%q\n%s", m[0], previous, excerpt(w.Text(), m[0]), w.errs.String())
		}
		if i > previous+1 {
			ranges++
		}
		previous = i
	}
	if gaps := len(sizedGap.FindAllString(w.errs.String(), -1)); gaps < ranges {
		t.Errorf("%d ranges of numbers are missing, %d gaps are reported: %s", ranges, gaps, w.errs.String())
	}
	t.Logf("%d numbers, %d ranges are missing; stderr: %s", previous, ranges, w.errs.String())
	n.checkNoPods(t, p)
}

// sizedGap matches the part of the message about a gap that has the times.
var sizedGap = regexp.MustCompile(`output from [0-9:]{8} to [0-9:]{8} \([0-9]+ s\) may be missing here`)

func excerpt(text, words string) string {
	i := strings.LastIndex(text, words)
	return text[max(0, i-200):min(len(text), i+100)]
}

// NodeShellDetached checks a shell that is left running, and attached to again.
func NodeShellDetached(t *testing.T, p Program, n Nodes) {
	first := openWindow(t, p, n.args(n.Names[0])...)
	first.Type("PS1='prompt''> '; kept=yes; echo he''re\r")
	first.waitForText("here")
	first.waitForText("prompt> ")
	first.Type("~d")
	if code := first.Exit(); code != 0 || !strings.Contains(first.errs.String(), "is left running on node "+n.Names[0]) {
		t.Fatalf("exit code %d; stderr %s", code, first.errs.String())
	}
	second := openWindow(t, p, n.args("--attach")...)
	second.waitForText("here") // printed before the detach
	second.Type("echo kept: $kept\r")
	second.waitForText("kept: yes")
	second.Type("exit 7\r")
	if code := second.Exit(); code != 7 {
		t.Errorf("exit code %d; stderr %s", code, second.errs.String())
	}
	n.checkNoPods(t, p)
	third := openWindow(t, p, n.args(n.Names[0])...)
	third.Type("echo he''re\r")
	third.waitForText("here")
	third.Type("~.")
	if code := third.Exit(); code != 255 || !strings.Contains(third.errs.String(), "session left") {
		t.Errorf("exit code %d; stderr %s", code, third.errs.String())
	}
	n.checkNoPods(t, p)
	sharedShell(t, p, n)
	if r := p.Run(t, nil, n.args("--attach", "no-such-pod")...); r.Code != 2 {
		t.Errorf("without a terminal: %+v", r)
	}
}

// sharedShell checks a shell with several clients. The shell continues when one
// client leaves, in whatever way. When the shell ends, it ends for all clients.
func sharedShell(t *testing.T, p Program, n Nodes) {
	open := func(args ...string) window {
		t.Helper()
		w := openWindow(t, p, n.args(args...)...)
		w.Type("PS1='prompt''> '\r")
		w.waitForText("prompt> ")
		return w
	}
	checkAlive := func(words string, all ...window) {
		t.Helper()
		all[0].Type("echo '" + words + "''!'\r")
		for _, w := range all {
			w.waitForText(words + "!")
		}
	}
	checkKept := func(w window, code int) {
		t.Helper()
		const words = "other clients are attached to this shell: pod "
		if got := w.Exit(); got != code || !strings.Contains(w.errs.String(), words) {
			t.Errorf("exit code %d, want %d; stderr %s", got, code, w.errs.String())
		}
	}
	first := open(n.Names[0])
	second := open("--attach")
	checkAlive("both hear", first, second)
	second.Type("~.")
	checkKept(second, 255)
	checkAlive("first is alone", first)
	third := open("--attach")
	first.Signal(syscall.SIGTERM)
	checkKept(first, 143)
	checkAlive("third is alone", third)
	fourth := open("--attach")
	checkAlive("both are there", fourth, third)
	third.Type("exit 7\r")
	for _, w := range []window{third, fourth} {
		if code := w.Exit(); code != 7 {
			t.Errorf("exit code %d; stderr %s", code, w.errs.String())
		}
	}
	n.checkNoPods(t, p)
}
