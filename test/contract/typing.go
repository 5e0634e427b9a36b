//go:build unix

package contract

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kshell/test/faultproxy"
)

// recorder returns a command that replaces a shell. It appends the lines that
// it reads to a file instead of running them, so that the test also detects
// incomplete lines.
func recorder(file string) string {
	return fmt.Sprintf(
		`echo rec''ording; while IFS= read -r line; do printf '%%s\n' "$line" >>%s; echo "got: $line."; done`,
		file,
	)
}

// typedLine returns a line that can be distinguished from its parts, and from
// combinations of the parts of two lines.
func typedLine(i int) string { return fmt.Sprintf("<line %d of them>", i) }

// typePieces types a line and Enter, a few keys at a time. Before each piece,
// it calls the function between.
func (w *Terminal) typePieces(line string, between func()) {
	for keys := line + "\r"; keys != ""; {
		n := min(len(keys), 1+rand.IntN(12)) //nolint:gosec // not a secret
		between()
		w.Type(keys[:n])
		keys = keys[n:]
	}
}

// checkLines checks that each recorded line was typed and was recorded only
// once. It returns the number of recorded lines, without empty ones.
func checkLines(t *testing.T, recorded string, n int) (ran int) {
	t.Helper()
	whole, times := map[string]bool{}, map[string]int{}
	for i := range n {
		whole[typedLine(i)] = true
	}
	for line := range strings.Lines(recorded) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			continue
		}
		times[line]++
		switch {
		case !whole[line]:
			t.Errorf("part of a line was run: %q", line)
		case times[line] > 1:
			t.Errorf("%q was run %d times", line, times[line])
		}
	}
	return len(times)
}

// TypeLines types n lines, faster than a user can type, at a shell whose
// connection is cut at random times. It checks that each line is run completely
// and at most once, and returns the number of lines that were run.
func TypeLines(t *testing.T, w Setup, n int) (ran int) {
	t.Helper()
	pod := w.Pod(t)
	proxy, server := w.Through(t)
	term := w.Open(
		t,
		slices.Concat([]string{"exec"}, server, []string{"-it", pod, "--", "sh", "-c", recorder("lines")})...)
	term.WaitFor("recording\r\n")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(100+rand.IntN(500)) * time.Millisecond): //nolint:gosec // not a secret
				proxy.Cut(faultproxy.Both, faultproxy.RST)
			}
		}
	}()
	for i := range n {
		term.typePieces(typedLine(i), func() { time.Sleep(time.Millisecond) }) // the time between pieces
	}
	close(stop)
	<-stopped
	cut := strings.Count(term.Text(), "connection lost")
	term.Signal(syscall.SIGTERM)
	term.CheckExit(143)
	ran = checkLines(t, w.Run(t, nil, "exec", pod, "--", "cat", "lines").Out, n)
	t.Logf("%d of %d lines were run, the connection was lost %d times", ran, n, cut)
	if ran == 0 || ran == n || cut == 0 {
		t.Errorf("%d of %d lines were run, the connection was lost %d times", ran, n, cut)
	}
	return ran
}

// NodeShellTypeLines types n lines at a shell on a node. The function cut
// breaks the connection. It is called at a random position in each line i with
// i%every == every-1. Each line must be run completely and at most once. When
// kshell reports that the line may be incomplete, the test discards the line
// with Ctrl-U. connection contains the flags that make kshell use a connection
// that cut can break.
func NodeShellTypeLines(t *testing.T, p Program, nodes Nodes, n, every int, cut func(), connection ...string) {
	node, file := nodes.Names[0], fmt.Sprintf("/tmp/kshell-typed-%d", time.Now().UnixNano())
	w := openWindow(t, p, append(nodes.args(node), connection...)...)
	w.Type(recorder(file) + "\r")
	w.waitForText("recording\r\n")
	withheld := func() int {
		return strings.Count(w.errs.String(), "Enter was not sent: the line may be incomplete; check it, press Enter again")
	}
	for i := range n {
		line, before := typedLine(i), withheld()
		if i%every == every-1 {
			at := rand.IntN(len(line)) / 4 //nolint:gosec // cut before this piece, or after the line
			w.typePieces(line, func() {
				if at--; at == 0 {
					cut()
				}
				time.Sleep(time.Millisecond)
			})
			if at > 0 {
				cut()
			}
		} else {
			w.typePieces(line, func() {})
		}
		empty := func() int { return strings.Count(w.Text(), "got: .") } // a line was lost, only Enter arrived
		got, without := func() bool { return strings.Contains(w.Text(), "got: "+line+".") }, empty()
		for begin, entered := time.Now(), time.Now(); !got() && empty() == without && withheld() == before; {
			switch {
			case time.Since(begin) > runTimeout:
				t.Fatalf("neither run nor withheld: %q; the terminal: %q\n%s", line, last(w.Text(), 2000), w.errs)
			case time.Since(entered) > time.Second: // press Enter again, as a user would
				w.Type("\r")
				entered = time.Now()
			}
			select {
			case <-w.changed:
			case <-time.After(10 * time.Millisecond):
			}
		}
		if withheld() > before {
			w.Type("\x15")
		}
	}
	w.Signal(syscall.SIGTERM)
	w.CheckExit(143)
	r := p.Run(t, nil, nodes.args(node, "--", "sh", "-c", "cat "+file+" && rm -f "+file)...)
	ran, lost := checkLines(t, r.Out, n), strings.Count(w.errs.String(), "connection lost")
	t.Logf("%d of %d lines were run, the connection was lost %d times, Enter was withheld %d times", ran, n, lost,
		withheld())
	if ran < n-2*(n/every) || lost < n/every/2 || withheld() == 0 {
		t.Errorf("%d of %d lines were run, the connection was lost %d times, Enter was withheld %d times: %s", ran, n, lost,
			withheld(), w.errs)
	}
}
