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

// The size of the test terminals.
const (
	wide = 40
	high = 8
)

func newEmulator(t *testing.T) *vt.Emulator {
	t.Helper()
	e := vt.NewEmulator(wide, high)
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// newStatusScreen returns a Screen on the terminal w.
func newStatusScreen(w io.Writer) *Screen { return newScreenWithStatus(w, w, wide) }

// newScreenWithStatus returns a Screen that writes the status line to status.
func newScreenWithStatus(out, status io.Writer, columns int) *Screen {
	s := NewScreen(out)
	s.EnableStatus(status, func() int { return columns }, func() {})
	return s
}

// page returns the scrollback and the screen of an emulator, without empty
// lines at the end, and the position of the cursor.
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
	cursor := e.CursorPosition()
	text := strings.TrimRight(strings.Join(lines, "\n"), "\n")
	return fmt.Sprintf("%s\ncursor: line %d, column %d", text, e.ScrollbackLen()+cursor.Y, cursor.X)
}

// cell returns a character and its style, if it has one.
func cell(content, style string) string {
	if style == defaultStyle {
		return content
	}
	return content + "<" + style + ">"
}

var defaultStyle = func() string {
	e := vt.NewEmulator(1, 1)
	_, _ = e.WriteString("x")
	return fmt.Sprint(e.CellAt(0, 0).Style)
}()

// randomOutput returns output of a shell: lines, colors, an edited line, a
// title, or characters of several bytes.
func randomOutput(rnd *rand.Rand) string {
	switch rnd.IntN(9) {
	case 0:
		return fmt.Sprintf("line %d\r\n", rnd.IntN(1000))
	case 1:
		return fmt.Sprintf("\x1b[3%dmcolor\x1b[m ", rnd.IntN(8))
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
		return "\r\x1b[30C*\r$ " // a right-aligned prompt
	default:
		return "$ "
	}
}

var runs = flag.Int("runs", 20, "number of random sequences to test")

// The screen is the same as if no status had been shown.
func TestSetStatus_LeavesScreenUnchanged(t *testing.T) {
	for seed := range uint64(*runs) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		with, without := newEmulator(t), newEmulator(t)
		s := newStatusScreen(with)
		var all bytes.Buffer
		shown := 0
		for range 30 {
			output := randomOutput(rnd)
			for output != "" { // split anywhere, also within a sequence or a character
				n := 1 + rnd.IntN(len(output))
				all.WriteString(output[:n])
				_, _ = s.Write([]byte(output[:n]))
				output = output[n:]
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
			t.Fatalf("seed %d: screen (-without status, +with status):\n%s\nwritten: %q", seed, diff, all.String())
		}
		if shown == 0 {
			t.Fatalf("seed %d: no status was shown", seed)
		}
	}
}

func TestSetStatus_BelowCursorLine(t *testing.T) {
	for name, lines := range map[string]int{"at the top": 0, "at the bottom": 3 * high} {
		e := newEmulator(t)
		s := newStatusScreen(e)
		_, _ = io.WriteString(s, strings.Repeat("before\r\n", lines)+"$ typed")
		for _, text := range []string{"no reply for 5 s", "no reply for 6 s"} {
			if !s.SetStatus(text) {
				t.Fatalf("%s: the status is not shown", name)
			}
			cursor := e.CursorPosition()
			rows := strings.Split(e.String(), "\n")
			line, status := strings.TrimRight(rows[cursor.Y], " "), strings.TrimSpace(rows[cursor.Y+1])
			if status != text || line != "$ typed" || cursor.X != len("$ typed") {
				t.Errorf("%s: cursor at %v in\n%s", name, cursor, e.String())
			}
		}
		_, _ = io.WriteString(s, "!")
		if strings.Contains(e.String(), "no reply") {
			t.Errorf("%s: the status is still shown:\n%s", name, e.String())
		}
	}
}

// Over a full-screen program, the status is in the last line, which the program
// draws again later.
func TestSetStatus_FullScreen(t *testing.T) {
	e := newEmulator(t)
	redrawn := 0
	s := newStatusScreen(e)
	s.redraw = func() { redrawn++ }
	_, _ = io.WriteString(s, "\x1b[?1049h\x1b[2J\x1b[3;5Htext\x1b[3;6H")
	if !s.SetStatus("no reply for 5 s") {
		t.Fatal("the status is not shown")
	}
	rows := strings.Split(e.String(), "\n")
	cursor := e.CursorPosition()
	if strings.TrimSpace(rows[high-1]) != "no reply for 5 s" || cursor.X != 5 || cursor.Y != 2 || redrawn != 0 {
		t.Errorf("cursor at %v, redrawn %d times, in\n%s", cursor, redrawn, e.String())
	}
	_, _ = io.WriteString(s, "!")
	if redrawn != 1 || strings.Contains(e.String(), "no reply") {
		t.Errorf("redrawn %d times:\n%s", redrawn, e.String())
	}
}

func TestSetStatus_NotShown(t *testing.T) {
	for name, written := range map[string]string{
		"inside a sequence":                "\x1b[3",
		"after ESC":                        "\x1b",
		"inside a title":                   "\x1b]0;ti",
		"inside a character set sequence":  "\x1b(",
		"inside a character":               "\xe6\xbc",
		"while the cursor is saved":        "\x1b7\x1b[Hx",
		"while the cursor is saved by CSI": "\x1b[s",
		"after a full line":                strings.Repeat("x", 2*wide),
	} {
		var out bytes.Buffer
		s := newScreenWithStatus(io.Discard, &out, wide)
		_, _ = io.WriteString(s, written)
		if s.SetStatus("no reply") || out.Len() > 0 {
			t.Errorf("%s: wrote %q", name, out.String())
		}
	}
	for name, s := range map[string]*Screen{
		"status not enabled": NewScreen(io.Discard),
		"narrow terminal":    newScreenWithStatus(io.Discard, io.Discard, 19),
	} {
		if s.SetStatus("no reply") {
			t.Errorf("%s: the status is shown", name)
		}
	}
}

func TestSetStatus_LongText(t *testing.T) {
	e := newEmulator(t)
	s := newStatusScreen(e)
	s.SetStatus(strings.Repeat("long ", 20))
	rows := strings.Split(e.String(), "\n")
	if got := strings.TrimSpace(rows[1]); !strings.HasSuffix(got, "...") || strings.TrimSpace(rows[2]) != "" {
		t.Errorf("shows\n%s", e.String())
	}
}
