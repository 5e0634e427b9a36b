package terminal

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/charmbracelet/x/vt"
	"github.com/google/go-cmp/cmp"
)

const (
	wide = 40
	high = 8
)

// emulator is a terminal that is asked nothing.
func emulator(t *testing.T) *vt.Emulator {
	t.Helper()
	e := vt.NewEmulator(wide, high)
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// page is all that an emulator has shown and shows, without what is empty at the end, and where the cursor is in it.
func page(e *vt.Emulator) string {
	var lines []string
	for y := range e.ScrollbackLen() {
		var b strings.Builder
		for x := range wide {
			if c := e.ScrollbackCellAt(x, y); c != nil && c.Content != "" {
				fmt.Fprintf(&b, "%s", cell(c.Content, fmt.Sprint(c.Style)))
			} else {
				b.WriteByte(' ')
			}
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	for y := range high {
		var b strings.Builder
		for x := range wide {
			if c := e.CellAt(x, y); c != nil && c.Content != "" {
				fmt.Fprintf(&b, "%s", cell(c.Content, fmt.Sprint(c.Style)))
			} else {
				b.WriteByte(' ')
			}
		}
		lines = append(lines, strings.TrimRight(b.String(), " "))
	}
	at := e.CursorPosition()
	return fmt.Sprintf("%s\ncursor: line %d, column %d", strings.TrimRight(strings.Join(lines, "\n"), "\n"), e.ScrollbackLen()+at.Y, at.X)
}

// cell is a character, with its colours where it has some.
func cell(content, style string) string {
	if plain := fmt.Sprint(vtPlain); style == plain {
		return content
	}
	return content + "<" + style + ">"
}

var vtPlain = func() any {
	e := vt.NewEmulator(1, 1)
	_, _ = e.WriteString("x")
	return e.CellAt(0, 0).Style
}()

// scribble is something that a shell's session writes: lines, colours, a line edited, a menu below the cursor, characters of several bytes.
func scribble(rnd *rand.Rand) string {
	switch rnd.IntN(9) {
	case 0:
		return fmt.Sprintf("line %d\r\n", rnd.IntN(1000))
	case 1:
		return fmt.Sprintf("\x1b[3%dmcolour\x1b[m ", rnd.IntN(8))
	case 2:
		return "größer, naïve… "
	case 3:
		return "typed\b\b\x1b[K"
	case 4:
		return "\r\x1b[J$ "
	case 5:
		return "\x1b]0;a title\x07"
	case 6:
		return strings.Repeat("x", rnd.IntN(3*wide)) + "\r\n"
	case 7:
		return "\r\x1b[30C*\r$ " // a prompt on the right
	default:
		return "$ "
	}
}

var runs = flag.Int("runs", 20, "runs of random things, each other than the one before")

func TestAStatusLeavesNoTrace(t *testing.T) {
	for seed := range uint64(*runs) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		with, without := emulator(t), emulator(t)
		s := &Screen{Writer: with, StatusWriter: with, Columns: func() int { return wide }}
		var all bytes.Buffer
		shown := 0
		for range 30 {
			words := scribble(rnd)
			for words != "" { // cut anywhere: in a sequence, in a character
				n := 1 + rnd.IntN(len(words))
				all.WriteString(words[:n])
				_, _ = s.Write([]byte(words[:n]))
				words = words[n:]
				for range rnd.IntN(3) {
					if s.SetStatus(fmt.Sprintf("no reply for %d s", rnd.IntN(100))) {
						shown++
					}
				}
				if rnd.IntN(3) == 0 {
					s.SetStatus("")
				}
			}
		}
		s.SetStatus("")
		_, _ = without.Write(all.Bytes())
		if diff := cmp.Diff(page(without), page(with)); diff != "" {
			t.Fatalf("seed %d: the page (-without, +with a status):\n%s\nwritten: %q", seed, diff, all.String())
		}
		if shown == 0 {
			t.Fatalf("seed %d: no status was shown", seed)
		}
	}
}

func TestAStatusIsSeenBelowTheCursorsLine(t *testing.T) {
	for name, lines := range map[string]int{"at the top": 0, "at the bottom": 3 * high} {
		e := emulator(t)
		s := &Screen{Writer: e, StatusWriter: e, Columns: func() int { return wide }}
		_, _ = io.WriteString(s, strings.Repeat("before\r\n", lines)+"$ typed")
		for _, text := range []string{"no reply for 5 s", "no reply for 6 s"} {
			if !s.SetStatus(text) {
				t.Fatalf("%s: is not shown", name)
			}
			at := e.CursorPosition()
			rows := strings.Split(e.String(), "\n")
			if got := strings.TrimSpace(rows[at.Y+1]); got != text || strings.TrimRight(rows[at.Y], " ") != "$ typed" || at.X != len("$ typed") {
				t.Errorf("%s: cursor at %v in\n%s", name, at, e.String())
			}
		}
		_, _ = io.WriteString(s, "!")
		if strings.Contains(e.String(), "no reply") {
			t.Errorf("%s: is still there:\n%s", name, e.String())
		}
	}
}

func TestOverAnEditorTheStatusIsInTheLastLineAndTheEditorDrawsItAnew(t *testing.T) {
	e := emulator(t)
	redrawn := 0
	s := &Screen{Writer: e, StatusWriter: e, Columns: func() int { return wide }, Redraw: func() { redrawn++ }}
	_, _ = io.WriteString(s, "\x1b[?1049h\x1b[2J\x1b[3;5Htext\x1b[3;6H")
	if !s.SetStatus("no reply for 5 s") {
		t.Fatal("is not shown")
	}
	rows := strings.Split(e.String(), "\n")
	if at := e.CursorPosition(); strings.TrimSpace(rows[high-1]) != "no reply for 5 s" || at.X != 5 || at.Y != 2 || redrawn != 0 {
		t.Errorf("cursor at %v, redrawn %d times, in\n%s", at, redrawn, e.String())
	}
	_, _ = io.WriteString(s, "!")
	if redrawn != 1 || strings.Contains(e.String(), "no reply") {
		t.Errorf("redrawn %d times:\n%s", redrawn, e.String())
	}
}

func TestAStatusIsNotShownWhereItCouldSpoilSomething(t *testing.T) {
	for name, written := range map[string]string{
		"in a sequence": "\x1b[3", "behind ESC": "\x1b", "in a title": "\x1b]0;ti", "in a charset": "\x1b(",
		"in a character": "\xe6\xbc", "while the cursor is saved": "\x1b7\x1b[Hx", "the same, otherwise": "\x1b[s",
		"behind a full line": strings.Repeat("x", 2*wide),
	} {
		var out bytes.Buffer
		s := &Screen{Writer: io.Discard, StatusWriter: &out, Columns: func() int { return wide }}
		_, _ = io.WriteString(s, written)
		if s.SetStatus("no reply") || out.Len() > 0 {
			t.Errorf("%s: wrote %q", name, out.String())
		}
	}
	for name, s := range map[string]*Screen{
		"without a terminal": {Writer: io.Discard}, "in a narrow one": {Writer: io.Discard, StatusWriter: io.Discard, Columns: func() int { return 19 }},
	} {
		if s.SetStatus("no reply") {
			t.Errorf("%s: is shown", name)
		}
	}
}

func TestALongStatusIsCut(t *testing.T) {
	e := emulator(t)
	s := &Screen{Writer: e, StatusWriter: e, Columns: func() int { return wide }}
	s.SetStatus(strings.Repeat("long ", 20))
	rows := strings.Split(e.String(), "\n")
	if got := strings.TrimSpace(rows[1]); !strings.HasSuffix(got, "…") || strings.TrimSpace(rows[2]) != "" {
		t.Errorf("shows\n%s", e.String())
	}
}
