package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
)

// window is a terminal in which a kshell runs.
type window struct {
	t    *testing.T
	tty  io.ReadWriteCloser
	cmd  *exec.Cmd
	errs locked // its stderr, which is not the terminal
	done chan struct{}

	mu   sync.Mutex
	text []byte // what came
	came chan struct{}
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
func openWindow(t *testing.T, p Program, args ...string) *window {
	t.Helper()
	w := &window{t: t, cmd: p.Command(t.Context(), t, args...), done: make(chan struct{}), came: make(chan struct{}, 1)}
	w.cmd.Stderr = &w.errs
	tty, err := pty.StartWithSize(w.cmd, &pty.Winsize{Rows: 30, Cols: 200})
	if err != nil {
		t.Fatal(err)
	}
	w.tty = tty
	go w.read()
	t.Cleanup(func() {
		_ = w.cmd.Process.Kill() // it may have ended
		_ = w.cmd.Wait()
		_ = w.tty.Close()
		<-w.done
	})
	return w
}

func (w *window) read() {
	defer close(w.done)
	buf := make([]byte, 32<<10)
	for {
		n, err := w.tty.Read(buf)
		w.mu.Lock()
		w.text = append(w.text, buf[:n]...)
		w.mu.Unlock()
		select {
		case w.came <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

func (w *window) all() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return string(w.text)
}

// await waits until the terminal has shown something.
func (w *window) await(what string, shown func(text string) bool) {
	w.t.Helper()
	deadline := time.After(limit)
	for !shown(w.all()) {
		select {
		case <-w.came:
		case <-deadline:
			w.t.Fatalf("%s was not shown; the end of what was: %q", what, tail(w.all(), 2000))
		}
	}
}

func (w *window) awaits(words string) {
	w.t.Helper()
	w.await(words, func(text string) bool { return strings.Contains(text, words) })
}

func (w *window) keys(keys string) {
	w.t.Helper()
	if _, err := io.WriteString(w.tty, keys); err != nil {
		w.t.Fatal(err)
	}
}

// ends waits for the program's end, and gives its exit code.
func (w *window) ends() int {
	w.t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- w.cmd.Wait() }()
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			w.t.Error(err)
		}
	case <-time.After(limit):
		w.t.Fatalf("it has not ended; the end of what was shown: %q", tail(w.all(), 2000))
	}
	return w.cmd.ProcessState.ExitCode()
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }

var number = regexp.MustCompile(`<(\d+)>`)

// last is the last number that was shown.
func last(text string) (n int) {
	all := number.FindAllStringSubmatch(tail(text, 4000), -1)
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
	w.keys("PS1='prompt''> '; kept=yes\r")
	w.awaits("prompt> ")
	w.keys(fmt.Sprintf("i=0; while ! [ -e %s ]; do i=$((i+1)); echo \"<$i>\"; sleep 0.02; done; echo co''unted\r", stop))
	again := func() int { return strings.Count(w.errs.String(), "the shell is the same") }
	for range cuts {
		begin, before := again(), last(w.all())
		w.await("a number", func(text string) bool { return last(text) > before+5 })
		cut()
		w.await("a number after a cut", func(text string) bool { return again() > begin && last(text) > before+10 })
	}
	before := last(w.all())
	w.await("a number after the last cut", func(text string) bool { return last(text) > before+5 })
	on("touch", stop)
	w.awaits("counted")
	for i, m := range number.FindAllStringSubmatch(w.all(), -1) {
		if m[1] != fmt.Sprint(i+1) {
			w.keys("exit\r")
			w.ends()
			t.Fatalf("number %d is %s: ...%q\n%s", i+1, m[1], around(w.all(), m[0]), w.errs.String())
		}
	}
	w.keys("echo kept: $kept\r")
	w.awaits("kept: yes")
	w.keys("exit 7\r")
	if code := w.ends(); code != 7 {
		t.Errorf("exit code %d; stderr %s", code, w.errs.String())
	}
	if again() < cuts || strings.Contains(w.errs.String(), "not all here") {
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
	first.keys("PS1='prompt''> '; kept=yes; echo he''re\r")
	first.awaits("here")
	first.awaits("prompt> ")
	first.keys("~d")
	if code := first.ends(); code != 0 || !strings.Contains(first.errs.String(), "is left running on node "+n.Names[0]) {
		t.Fatalf("exit code %d; stderr %s", code, first.errs.String())
	}
	second := openWindow(t, p, n.args("--attach")...)
	second.awaits("here") // what was printed before
	second.keys("echo kept: $kept\r")
	second.awaits("kept: yes")
	second.keys("exit 7\r")
	if code := second.ends(); code != 7 {
		t.Errorf("exit code %d; stderr %s", code, second.errs.String())
	}
	n.none(t, p)
	third := openWindow(t, p, n.args(n.Names[0])...)
	third.keys("echo he''re\r")
	third.awaits("here")
	third.keys("\r~.")
	if code := third.ends(); code != 255 || !strings.Contains(third.errs.String(), "session left") {
		t.Errorf("exit code %d; stderr %s", code, third.errs.String())
	}
	n.none(t, p)
	if r := p.Run(t, nil, n.args("--attach", "no-such-pod")...); r.Code != 2 {
		t.Errorf("without a terminal: %+v", r)
	}
}
