//go:build unix

package contract

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
)

// window is a terminal in which a kshell runs whose stderr is not the terminal.
type window struct {
	*Terminal
	errs *locked
}

// locked is a buffer that is written and read at the same time.
type locked struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// openWindow starts the program in a new terminal.
func openWindow(t *testing.T, p Program, args ...string) window {
	t.Helper()
	w := window{errs: &locked{}}
	cmd := p.Command(t.Context(), t, args...)
	cmd.Stderr = w.errs
	w.Terminal = openTerminal(t, cmd, pty.Winsize{Rows: 30, Cols: 200})
	return w
}

// await waits until the terminal has shown something.
func (w window) await(what string, shown func(text string) bool) {
	w.t.Helper()
	late := time.After(limit)
	for !shown(w.Text()) {
		select {
		case <-w.changed:
		case <-late:
			w.t.Fatalf("%s was not shown; the end of what was: %q\n%s", what, last(w.Text(), 2000), w.errs)
		}
	}
}

func (w window) awaits(words string) {
	w.t.Helper()
	w.await(words, func(text string) bool { return strings.Contains(text, words) })
}

var number = regexp.MustCompile(`<(\d+)>`)

// count is the last number that was shown.
func count(text string) (n int) {
	all := number.FindAllStringSubmatch(last(text, 4000), -1)
	if len(all) > 0 {
		_, _ = fmt.Sscan(all[len(all)-1][1], &n)
	}
	return n
}

// NodeShellResumes is what a shell on a node promises whose link is broken so many times while it counts: it is the same shell, and each
// number is shown once. Connection are flags that lead to where cut breaks all connections.
func NodeShellResumes(t *testing.T, p Program, n Nodes, cuts int, cut func(), connection ...string) {
	node, stop := n.Names[0], fmt.Sprintf("/tmp/kshell-stop-%d", time.Now().UnixNano())
	on := func(command ...string) {
		t.Helper()
		if r := p.Run(t, nil, n.args(append([]string{node, "--"}, command...)...)...); r.Code != 0 {
			t.Errorf("%+v", r)
		}
	}
	defer on("rm", "-f", stop)
	w := openWindow(t, p, append(n.args(node), connection...)...)
	w.Type("PS1='prompt''> '; kept=yes\r")
	w.awaits("prompt> ")
	w.Type(fmt.Sprintf("i=0; while ! [ -e %s ]; do i=$((i+1)); echo \"<$i>\"; sleep 0.02; done; echo co''unted\r", stop))
	again := func() int { return strings.Count(w.errs.String(), "the shell is the same") }
	for range cuts {
		begin, before := again(), count(w.Text())
		w.await("a number", func(text string) bool { return count(text) > before+5 })
		cut()
		w.await("a number after a cut", func(text string) bool { return again() > begin && count(text) > before+10 })
	}
	before := count(w.Text())
	w.await("a number after the last cut", func(text string) bool { return count(text) > before+5 })
	on("touch", stop)
	w.awaits("counted")
	for i, m := range number.FindAllStringSubmatch(w.Text(), -1) {
		if m[1] != fmt.Sprint(i+1) {
			w.Type("exit\r")
			w.End()
			t.Fatalf("number %d is %s: ...%q\n%s", i+1, m[1], around(w.Text(), m[0]), w.errs.String())
		}
	}
	w.Type("echo kept: $kept\r")
	w.awaits("kept: yes")
	w.Type("exit 7\r")
	if code := w.End(); code != 7 {
		t.Errorf("exit code %d; stderr %s", code, w.errs.String())
	}
	if again() < cuts || strings.Contains(w.errs.String(), "output from ") {
		t.Errorf("%d reconnections of %d: %s", again(), cuts, w.errs.String())
	}
	n.none(t, p)
}

func around(text, words string) string {
	i := strings.LastIndex(text, words)
	return text[max(0, i-200):min(len(text), i+100)]
}

// NodeShellStays is what a shell promises that is left running, and come back to.
func NodeShellStays(t *testing.T, p Program, n Nodes) {
	first := openWindow(t, p, n.args(n.Names[0])...)
	first.Type("PS1='prompt''> '; kept=yes; echo he''re\r")
	first.awaits("here")
	first.awaits("prompt> ")
	first.Type("~d")
	if code := first.End(); code != 0 || !strings.Contains(first.errs.String(), "is left running on node "+n.Names[0]) {
		t.Fatalf("exit code %d; stderr %s", code, first.errs.String())
	}
	second := openWindow(t, p, n.args("--attach")...)
	second.awaits("here") // what was printed before
	second.Type("echo kept: $kept\r")
	second.awaits("kept: yes")
	second.Type("exit 7\r")
	if code := second.End(); code != 7 {
		t.Errorf("exit code %d; stderr %s", code, second.errs.String())
	}
	n.none(t, p)
	third := openWindow(t, p, n.args(n.Names[0])...)
	third.Type("echo he''re\r")
	third.awaits("here")
	third.Type("~.")
	if code := third.End(); code != 255 || !strings.Contains(third.errs.String(), "session left") {
		t.Errorf("exit code %d; stderr %s", code, third.errs.String())
	}
	n.none(t, p)
	sharedShell(t, p, n)
	if r := p.Run(t, nil, n.args("--attach", "no-such-pod")...); r.Code != 2 {
		t.Errorf("without a terminal: %+v", r)
	}
}

// sharedShell is one shell at which several are: it goes on when one of them leaves, whatever the way, and ends for all of them at once.
func sharedShell(t *testing.T, p Program, n Nodes) {
	at := func(args ...string) window {
		t.Helper()
		w := openWindow(t, p, n.args(args...)...)
		w.Type("PS1='prompt''> '\r")
		w.awaits("prompt> ")
		return w
	}
	alive := func(words string, all ...window) {
		t.Helper()
		all[0].Type("echo '" + words + "''!'\r")
		for _, w := range all {
			w.awaits(words + "!")
		}
	}
	stays := func(w window, code int) {
		t.Helper()
		if got := w.End(); got != code || !strings.Contains(w.errs.String(), "kept: other clients are attached") {
			t.Errorf("exit code %d, want %d; stderr %s", got, code, w.errs.String())
		}
	}
	first := at(n.Names[0])
	second := at("--attach")
	alive("both hear", first, second)
	second.Type("~.")
	stays(second, 255)
	alive("first is alone", first)
	third := at("--attach")
	first.Signal(syscall.SIGTERM)
	stays(first, 143)
	alive("third is alone", third)
	fourth := at("--attach")
	alive("both are there", fourth, third)
	third.Type("exit 7\r")
	for _, w := range []window{third, fourth} {
		if code := w.End(); code != 7 {
			t.Errorf("exit code %d; stderr %s", code, w.errs.String())
		}
	}
	n.none(t, p)
}
