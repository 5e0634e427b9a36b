package picker

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// view is a list on the screen. It is used by one goroutine.
type view struct {
	List
	color         bool
	ellipsis      string // replaces the middle of a shortened name
	width, height int

	query    []rune
	matches  []int // indexes of the rows that match query
	selected int   // index in matches
	top      int   // index in matches of the first row on the screen
	canceled bool  // the user left the list
}

func newView(l List, width, height int, o Options) *view {
	v := &view{List: l, color: o.Color, ellipsis: "…", width: width, height: height}
	if o.ASCII {
		v.ellipsis = "..."
	}
	v.search()
	v.selected = l.Selected
	v.scroll()
	return v
}

// search finds the rows that contain every word of the query, in upper or
// lower case, and selects the first one.
func (v *view) search() {
	v.matches, v.selected, v.top = nil, 0, 0
	words := strings.Fields(strings.ToLower(string(v.query)))
	for i, row := range v.Rows {
		text := strings.ToLower(strings.Join(row, " "))
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) }) {
			v.matches = append(v.matches, i)
		}
	}
}

// setQuery replaces the query.
func (v *view) setQuery(query []rune) {
	v.query = query
	v.search()
}

// move selects the row that is n rows further down, or the first or last one.
func (v *view) move(n int) {
	v.selected += n
	v.scroll()
}

// resize sets the size of the screen.
func (v *view) resize(width, height int) {
	v.width, v.height = width, height
	v.scroll()
}

// otherLines is the number of lines on the screen that are not rows.
const otherLines = 4

// page returns the number of rows that fit on the screen.
func (v *view) page() int { return max(1, v.height-otherLines) }

// scroll makes the selected row visible.
func (v *view) scroll() {
	v.selected = max(0, min(v.selected, len(v.matches)-1))
	v.top = max(min(v.top, v.selected), v.selected-v.page()+1)
}

// result returns the index of the chosen row after the list was closed.
func (v *view) result() (int, error) {
	if v.canceled {
		return 0, ErrCanceled
	}
	return v.matches[v.selected], nil
}

// lines returns the content of the screen.
func (v *view) lines() []string {
	header, rows := v.format(v.width-2, v.ellipsis)
	found := fmt.Sprintf(" (%d of %d)", len(v.matches), len(v.Rows))
	lines := []string{
		v.style("1", v.fit("kshell: "+v.Title+found, v.Title+found, "kshell:"+found)),
		"search: " + v.endOfQuery() + "_",
		"  " + header,
	}
	for i := v.top; i < min(len(v.matches), v.top+v.page()); i++ {
		row := rows[v.matches[i]]
		if i == v.selected {
			lines = append(lines, v.style("1;36", "> "+row))
			continue
		}
		lines = append(lines, "  "+row)
	}
	return append(lines, v.fit("type to search, up and down to move, Enter to choose, Esc to cancel",
		"Enter to choose, Esc to cancel", "Esc to cancel"))
}

// fit returns the first of the texts that fits in a line, or the last text if none
// fits.
func (v *view) fit(texts ...string) string {
	for _, text := range texts {
		if utf8.RuneCountInString(text) <= v.width {
			return text
		}
	}
	return texts[len(texts)-1]
}

// endOfQuery returns as many of the last characters of the query as fit in a line.
func (v *view) endOfQuery() string {
	room := max(0, v.width-len("search: _"))
	return string(v.query[max(0, len(v.query)-room):])
}

// style returns text with the SGR attributes, if colors are shown.
func (v *view) style(attributes, text string) string {
	if !v.color {
		return text
	}
	return "\x1b[" + attributes + "m" + text + "\x1b[0m"
}

// minName is the minimum length of a shortened name, in characters, unless a name of
// this length does not fit in the line.
const minName = 12

// format returns the header and the rows as aligned columns. If a line would be
// longer than width, names are shortened to minName, and if that is not enough, the
// last columns are left out. ellipsis replaces the part of a name that is left out.
func (l List) format(width int, ellipsis string) (header string, rows []string) {
	all := append([][]string{l.Header}, l.Rows...)
	widths := make([]int, len(l.Header))
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	others := 0
	for _, w := range widths[1:] {
		others += w + 2
	}
	shown := len(widths)
	for shown > 1 && min(widths[0], minName)+others > width {
		shown--
		others -= widths[shown] + 2
	}
	widths[0] = min(widths[0], max(1, width-others))
	for _, row := range all {
		var b strings.Builder
		for i, cell := range row[:shown] {
			if i == 0 {
				cell = shorten(cell, widths[0], ellipsis)
			}
			fmt.Fprintf(&b, "%-*s  ", widths[i], cell)
		}
		rows = append(rows, strings.TrimRight(b.String(), " "))
	}
	return rows[0], rows[1:]
}

// shorten returns name with at most limit characters. It replaces the middle with
// ellipsis, because related names often differ only at the end.
func shorten(name string, limit int, ellipsis string) string {
	runes := []rune(name)
	if len(runes) <= limit {
		return name
	}
	kept := limit - utf8.RuneCountInString(ellipsis)
	if kept < 2 {
		return string(runes[len(runes)-limit:])
	}
	end := kept / 2
	return string(runes[:kept-end]) + ellipsis + string(runes[len(runes)-end:])
}
