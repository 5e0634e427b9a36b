package terminal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// step is input that is typed on a connection, and the part of the input that
// is sent. If connection is 0, the input is typed during an outage.
type step struct {
	connection int
	typed      string
	sent       string
}

func TestLineGuard_NewShell(t *testing.T) {
	for name, steps := range map[string][]step{
		"nothing begun":        {{1, "ls\r", "ls\r"}, {2, "pwd\r", "pwd\r"}},
		"nothing typed before": {{3, "pwd\r", "pwd\r"}},
		"a line begun": {
			{1, "cd /tmp && ", "cd /tmp && "},
			{2, "rm *", ""},
			{2, "\r", ""},
			{2, "ls\r", "ls\r"},
		},
		"a line begun, Ctrl-C": {{1, "cd /tmp\x03", "cd /tmp\x03"}, {2, "ls\r", "ls\r"}},
		"a line begun, Ctrl-U": {{1, "cd /tmp\x15", "cd /tmp\x15"}, {2, "ls\r", "ls\r"}},
		"Ctrl-C in the rest":   {{1, "cd ", "cd "}, {2, "/t", ""}, {2, "\x03", ""}, {2, "ls\r", "ls\r"}},
		"Ctrl-U in the rest":   {{1, "cd ", "cd "}, {2, "/t", ""}, {2, "\x15ls\r", "ls\r"}},
		"the middle of a line is lost": {
			{1, "cd ", "cd "},
			{0, "/tm", ""},
			{2, "p", ""},
			{2, "\r", ""},
			{2, "ls\r", "ls\r"},
		},
		"Enter is lost": {{1, "cd ", "cd "}, {0, "/tmp\r", ""}, {2, "ls\r", "ls\r"}},
		"Enter and more are lost": {
			{1, "cd ", "cd "},
			{0, "/tmp\r", ""},
			{0, "l", ""},
			{2, "s\r", ""},
			{2, "pwd\r", "pwd\r"},
		},
		"begun during the outage": {
			{1, "ls\r", "ls\r"},
			{0, "cd", ""},
			{2, " /tmp", ""},
			{2, "\r", ""},
			{2, "ls\r", "ls\r"},
		},
		"whole line during the outage": {{1, "ls\r", "ls\r"}, {0, "cd /tmp\r", ""}, {2, "ls\r", "ls\r"}},
		"a report after Enter":         {{1, "cd ", "cd "}, {2, "x\r\x1b[I", "\x1b[I"}, {2, "ls\r", "ls\r"}},
		"three connections": {
			{1, "cd ", "cd "},
			{2, "/tm", ""},
			{3, "p", ""},
			{4, "\r", ""},
			{4, "ls\r", "ls\r"},
		},
		"begun again and lost again": {
			{1, "cd ", "cd "},
			{2, "\r", ""},
			{2, "ls ", "ls "},
			{3, "-l\r", ""},
			{3, "pwd\r", "pwd\r"},
		},
		"a line from the history": {{1, "\x1b[A", "\x1b[A"}, {2, "\r", ""}, {2, "ls\r", "ls\r"}},
		"reports are not typed":   {{1, "\x1b[1;1R", "\x1b[1;1R"}, {2, "ls\r", "ls\r"}},
		"reports are passed on": {
			{1, "a", "a"},
			{2, "b\x1b[1;", ""},
			{2, "1R", "\x1b[1;1R"},
			{2, "\x1b[Ac\x1b[I\x1b", "\x1b[I"},
			{2, "[M !!x", "\x1b[M !!"},
			{2, "\r", ""},
			{2, "d", "d"},
		},
		"a paste without brackets": {
			{1, "cd ", "cd "},
			{2, "/tmp\rrm *\rls", ""},
			{2, " -l\rx\r", ""},
			{2, "pwd\r", "pwd\r"},
		},
		"a paste": {
			{1, "\x1b[200~cd ", "\x1b[200~cd "},
			{2, "/tmp\r", ""},
			{2, "rm *\r", ""},
			{2, "\x03", ""},
			{2, "x\x1b[20", ""},
			{2, "1~", ""},
			{2, "y\r", ""},
			{2, "ls\r", "ls\r"},
		},
		"a paste after the outage": {
			{1, "cd ", "cd "},
			{2, "\x1b[200~/tmp\r\x1b[201~", ""},
			{2, "\r", ""},
			{2, "ls\r", "ls\r"},
		},
		"a paste during the outage": {
			{1, "ls\r", "ls\r"},
			{0, "\x1b[200~cd ", ""},
			{2, "/tmp\r", ""},
			{2, "\x1b[201~", ""},
			{2, "\r", ""},
			{2, "ls\r", "ls\r"},
		},
	} {
		t.Run(name, func(t *testing.T) { runSteps(t, &LineGuard{}, steps) })
	}
}

// runSteps passes the steps to g and checks what is sent.
func runSteps(t *testing.T, g *LineGuard, steps []step) {
	t.Helper()
	last := 0
	for i, s := range steps {
		if s.connection > 0 && s.connection != last {
			g.Connected()
			last = s.connection
		}
		if got := string(g.Filter([]byte(s.typed), s.connection)); got != s.sent {
			t.Errorf("step %d: sent %q of %q on connection %d, want %q", i, got, s.typed, s.connection, s.sent)
		}
	}
}

// After a pause that follows the notice of a new shell, the next key begins a
// new line.
func TestLineGuard_NewShell_Pause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &LineGuard{}
		want := func(typed string, connection int, sent string) {
			t.Helper()
			if got := string(g.Filter([]byte(typed), connection)); got != sent {
				t.Errorf("sent %q of %q, want %q", got, typed, sent)
			}
		}
		want("cd ", 1, "cd ")
		time.Sleep(time.Minute) // no effect: only a pause after the notice of the new shell counts
		if !g.Connected() {
			t.Error("Connected = false, want true")
		}
		want("/t", 2, "")
		time.Sleep(newLinePause - time.Millisecond)
		want("mp", 2, "")
		time.Sleep(newLinePause)
		want("\x1b[I", 2, "\x1b[I")
		want("ls\r", 2, "ls\r")
		if g.Connected() {
			t.Error("Connected = true, want false")
		}

		want("cd ", 2, "cd ")
		time.Sleep(time.Minute)
		want("\x1b[I", 2, "\x1b[I") // the line was begun on this connection, so the pause does not end it
		g.Connected()
		want("/tmp\r", 3, "")

		want("\x1b[200~a", 3, "\x1b[200~a")
		g.Connected()
		want("b\r", 4, "")
		time.Sleep(time.Minute) // a pause does not end a paste
		want("rm *\r", 4, "")
		g.InputLost() // the end of the paste may be lost
		want("\r", 4, "")
		want("ls\r", 4, "ls\r")
	})
}

func TestLineGuard_SameShell(t *testing.T) {
	const wrote = -1 // a step with this connection is text that the shell has written
	for name, tt := range map[string]struct {
		steps    []step
		withheld int
	}{
		"nothing begun": {[]step{
			{1, "ls\r", "ls\r"},
			{wrote, "\r\n", ""},
			{2, "pwd\r", "pwd\r"},
			{wrote, "\r\n", ""},
			{3, "ls\r", "ls\r"},
		}, 0},
		"a line begun": {[]step{
			{1, "cd /tmp && ", "cd /tmp && "},
			{2, "ls", "ls"},
			{2, "\r", ""},
			{2, "\r", "\r"},
			{wrote, "\r\n", ""},
			{2, "pwd\r", "pwd\r"},
		}, 1},
		"a line begun, Ctrl-C": {[]step{
			{1, "cd ", "cd "},
			{2, "/\x03", "/\x03"},
			{2, "ls\r", "ls\r"},
		}, 0},
		"a line begun, Ctrl-U": {[]step{{1, "cd ", "cd "}, {2, "\x15ls\r", "\x15ls\r"}}, 0},
		"the middle is lost": {[]step{
			{1, "cd ", "cd "},
			{0, "/tm", ""},
			{2, "p\r", "p"},
			{2, "\r", "\r"},
		}, 1},
		"the end is lost": {[]step{
			{1, "cd ", "cd "},
			{0, "/tmp\r", ""},
			{2, "ls\r", "ls"},
			{2, "\x15", "\x15"},
			{2, "ls\r", "ls\r"},
		}, 1},
		"the beginning is lost": {[]step{
			{1, "ls\r", "ls\r"},
			{wrote, "\r\n", ""},
			{0, "cd /", ""},
			{2, "tmp\r", "tmp"},
			{2, "\r", "\r"},
		}, 1},
		"a whole line is lost": {[]step{
			{1, "ls\r", "ls\r"},
			{wrote, "\r\n", ""},
			{0, "cd /tmp\r", ""},
			{2, "ls\r", "ls\r"},
		}, 0},
		"a whole line is lost, key by key": {[]step{
			{1, "ls\r", "ls\r"},
			{wrote, "\r\n", ""},
			{0, "c", ""},
			{0, "d", ""},
			{0, "\r", ""},
			{2, "ls\r", "ls\r"},
		}, 0},
		"Enter is not confirmed": {[]step{
			{1, "ls\r", "ls\r"},
			{wrote, "ls", ""},
			{2, "pwd\r", "pwd"},
			{2, "\r", "\r"},
		}, 1},
		"Ctrl-U is not confirmed": {[]step{
			{1, "ls\x15", "ls\x15"},
			{2, "pwd\r", "pwd"},
			{2, "\r", "\r"},
		}, 1},
		"Ctrl-U is confirmed": {[]step{
			{1, "ls\x15", "ls\x15"},
			{wrote, "\x1b[K", ""},
			{2, "pwd\r", "pwd\r"},
		}, 0},
		"an empty line": {[]step{{1, "\r", "\r"}, {2, "pwd\r", "pwd\r"}}, 0},
		"withheld once": {[]step{{1, "a", "a"}, {2, "\r", ""}, {2, "b\r", "b\r"}}, 1},
		"once for each outage": {[]step{
			{1, "a", "a"},
			{2, "\r", ""},
			{3, "b\r", "b"},
			{3, "\r", "\r"},
		}, 2},
		"input of one read": {[]step{
			{1, "a", "a"},
			{2, "b\rrm *\r\x1b[I\x1b[200~x\x1b[2", "b\x1b[I"},
			{2, "01~", ""},
			{2, "\r", "\r"},
		}, 1},
		"reports": {[]step{
			{1, "\x1b[1;1R", "\x1b[1;1R"},
			{2, "ls\x1b[I\r", "ls\x1b[I\r"},
		}, 0},
		"outage within a paste": {[]step{
			{1, "\x1b[200~cd ", "\x1b[200~cd "},
			{2, "/tmp\rrm *\r", ""},
			{2, "x\x1b[201~", "\x1b[201~"},
			{2, "\r", ""},
			{2, "\r", "\r"},
		}, 1},
		"a paste ends during the outage": {[]step{
			{1, "\x1b[200~cd ", "\x1b[200~cd "},
			{0, "/tmp\x1b[201~", ""},
			{0, "y", ""},
			{2, "x", "\x1b[201~x"},
			{2, "\r", ""},
			{2, "\r", "\r"},
		}, 1},
		"a whole paste is lost": {[]step{
			{1, "ls\r", "ls\r"},
			{wrote, "\n", ""},
			{0, "\x1b[200~cd\x1b[201~", ""},
			{0, "\r", ""},
			{2, "ls\r", "ls\r"},
		}, 0},
		"a paste begins during the outage": {[]step{
			{1, "ls\r", "ls\r"},
			{wrote, "\n", ""},
			{0, "\x1b[200~cd ", ""},
			{2, "/tmp\r\x1b[201~", ""},
			{2, "\r", ""},
			{2, "\r", "\r"},
		}, 1},
		"a paste": {[]step{
			{1, "\x1b[200~a\rb\x1b[201~\r", "\x1b[200~a\rb\x1b[201~\r"},
			{wrote, "\n", ""},
			{2, "ls\r", "ls\r"},
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			withheld := 0
			g := NewLineGuard(true, func() { withheld++ })
			for i, s := range tt.steps {
				if s.connection == wrote {
					g.Wrote([]byte(s.typed))
					continue
				}
				if got := string(g.Filter([]byte(s.typed), s.connection)); got != s.sent {
					t.Errorf("step %d: sent %q of %q on connection %d, want %q", i, got, s.typed, s.connection, s.sent)
				}
			}
			if withheld != tt.withheld {
				t.Errorf("Enter was withheld %d times, want %d", withheld, tt.withheld)
			}
		})
	}
}

// Each of 10,000 lines is either run completely and once, or not run, although
// the connection breaks at random points and loses the keys that were sent
// last.
func TestLineGuard_NewShell_RandomCuts(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	g := &LineGuard{}
	var typed string
	for i := range 10_000 {
		typed += fmt.Sprintf("line %d of them\r", i)
	}
	ran := map[string]int{}
	connection, sent := 1, ""
	deliver := func(lost int) {
		lines := strings.SplitAfter(sent[:len(sent)-lost], "\r")
		for _, line := range lines[:len(lines)-1] {
			ran[line]++
		}
		sent = ""
	}
	for next := 2; typed != ""; {
		n := min(len(typed), 1+rnd.IntN(20))
		sent += string(g.Filter([]byte(typed[:n]), connection))
		typed = typed[n:]
		switch {
		case connection > 0 && rnd.IntN(50) == 0:
			deliver(rnd.IntN(1 + len(sent)))
			connection = 0
		case connection == 0 && rnd.IntN(5) == 0:
			connection = next
			next++
			g.Connected()
		}
	}
	deliver(0)
	for line, times := range ran {
		var number int
		n, err := fmt.Sscanf(line, "line %d of them\r", &number)
		if n != 1 || err != nil || line != fmt.Sprintf("line %d of them\r", number) || times > 1 {
			t.Errorf("%q was run %d times (seed %d)", line, times, seed)
		}
	}
	if len(ran) < 1000 {
		t.Errorf("%d lines were run (seed %d)", len(ran), seed)
	}
}

// A report that arrives in the rest of a discarded line is passed on if it is
// at most maxPending bytes long before its last byte.
func TestLineGuard_LongestReport(t *testing.T) {
	for _, size := range []int{maxPending, maxPending + 1} {
		g := &LineGuard{}
		g.Filter([]byte("cd "), 1)
		g.Connected()
		report := "\x1b]" + strings.Repeat("x", size-2) + "\a"
		got := string(g.Filter([]byte(report), 2))
		if size <= maxPending && got != report {
			t.Errorf("report of %d bytes: %d bytes were sent", len(report), len(got))
		}
		if len(got) > maxPending+1 {
			t.Errorf("report of %d bytes: %d bytes were held back", len(report), len(got))
		}
	}
}

// FuzzLineGuard checks that all input is sent unchanged until the first
// connection breaks, and that later only bytes of the input are sent.
func FuzzLineGuard(f *testing.F) {
	f.Add("ls\r\x1b[200~a\x1b[201~", uint16(3), uint16(5), false)
	f.Add("cd \x1b[1;1R\r", uint16(3), uint16(1), true)
	f.Fuzz(func(t *testing.T, input string, first, second uint16, same bool) {
		a, b := int(first)%(len(input)+1), int(second)%(len(input)+1)
		cuts := []int{min(a, b), max(a, b)}
		g := NewLineGuard(same, nil)
		whole := string(g.Filter([]byte(input[:cuts[0]]), 1))
		whole += string(g.Filter([]byte(input[cuts[0]:cuts[1]]), 1))
		if whole != input[:cuts[1]] {
			t.Errorf("%q became %q", input[:cuts[1]], whole)
		}
		rest := strings.ReplaceAll(string(g.Filter([]byte(input[cuts[1]:]), 2)), pasteEnd, "")
		for _, c := range []byte(rest) {
			if !slices.Contains([]byte(input), c) {
				t.Errorf("sent %q of %q after %q", rest, input[cuts[1]:], input[:cuts[1]])
			}
		}
	})
}
