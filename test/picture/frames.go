package picture

import (
	"io"
	"sync"

	uv "github.com/charmbracelet/ultraviolet"
	"github.com/charmbracelet/x/vt"
)

// cell is a character on the screen. The zero value is a blank.
type cell struct {
	text    string
	reverse bool
}

func (c cell) blank() bool { return !c.reverse && (c.text == "" || c.text == " ") }

// segment is a text in a row that is shown for a time.
type segment struct {
	row, column int
	cells       []cell // all with the same reverse
	begin, end  float64
}

// segments returns all texts that the recording shows, in the order in which
// they appear. A text that grows, as when a user types, is divided into several
// segments. end is the end of the recording.
func (c *Cast) segments(end float64) []*segment {
	screen := vt.NewEmulator(c.Width, c.Height)
	var answers sync.WaitGroup
	answers.Go(func() { _, _ = io.Copy(io.Discard, screen) })
	defer func() {
		_ = screen.InputPipe().(io.Closer).Close()
		answers.Wait()
	}()
	var all []*segment
	shown := make([][]*segment, c.Height)
	for _, e := range c.Events {
		if e.Code != Output {
			continue
		}
		_, _ = io.WriteString(screen, e.Data) // the emulator does not fail
		for row := range shown {
			cells := readRow(screen, row)
			shown[row] = nextSegments(shown[row], cells, row, e.Time)
			for _, s := range shown[row] {
				if s.begin == e.Time && s.end == 0 {
					all = append(all, s)
					s.end = end
				}
			}
		}
	}
	return all
}

// readRow returns the cells of a row. The cursor is a reversed cell.
func readRow(screen *vt.Emulator, row int) []cell {
	cells := make([]cell, screen.Width())
	cursor := screen.CursorPosition()
	for column := range cells {
		if at := screen.CellAt(column, row); at != nil {
			cells[column] = cell{at.Content, at.Style.Attrs&uv.AttrReverse != 0}
		}
		if cursor.X == column && cursor.Y == row {
			cells[column].reverse = !cells[column].reverse
		}
	}
	return cells
}

// nextSegments returns the segments of a row that now has these cells. Segments that
// are still shown are kept; the others end now.
func nextSegments(old []*segment, cells []cell, row int, now float64) []*segment {
	covered := make([]bool, len(cells))
	var kept []*segment
	for _, s := range old {
		if !s.matches(cells) {
			s.end = now
			continue
		}
		for i := range s.cells {
			covered[s.column+i] = true
		}
		kept = append(kept, s)
	}
	for column := 0; column < len(cells); column++ {
		if covered[column] || cells[column].blank() {
			continue
		}
		first := column
		for column+1 < len(cells) && !covered[column+1] && cells[column+1].reverse == cells[first].reverse {
			column++
		}
		last := column
		for cells[last].blank() {
			last--
		}
		kept = append(kept, &segment{row: row, column: first, cells: cells[first : last+1], begin: now})
	}
	return kept
}

// matches reports whether the row still shows the segment.
func (s *segment) matches(cells []cell) bool {
	for i, c := range s.cells {
		if at := cells[s.column+i]; at != c && (!at.blank() || !c.blank()) {
			return false
		}
	}
	return true
}

// text returns the characters of the segment.
func (s *segment) text() string {
	text := ""
	for _, c := range s.cells {
		if c.text == "" {
			c.text = " "
		}
		text += c.text
	}
	return text
}
