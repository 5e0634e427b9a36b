package main

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"
	uv "github.com/charmbracelet/ultraviolet"
)

// list is a menu on the screen, as bubbletea wants it. It is used by one goroutine.
type list struct {
	menu
	coloured      bool
	width, height int

	typed  []rune
	shown  []int // rows that hold what was typed
	at     int   // in shown
	top    int   // the first of shown on the screen
	chosen int   // a row; -1: none
}

func newList(m menu, width, height int, coloured bool) *list {
	l := &list{menu: m, coloured: coloured, width: width, height: height, chosen: -1}
	l.search()
	l.at = m.first
	l.scroll()
	return l
}

// search finds the rows that hold every word that was typed, in whatever case.
func (l *list) search() {
	l.shown, l.at, l.top = nil, 0, 0
	words := strings.Fields(strings.ToLower(string(l.typed)))
	for i, row := range l.rows {
		text := strings.ToLower(strings.Join(row, " "))
		if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) }) {
			l.shown = append(l.shown, i)
		}
	}
}

// aroundRows are the lines of the screen that are no rows.
const aroundRows = 4

func (l *list) page() int { return max(1, l.height-aroundRows) }

// scroll keeps the row that would be chosen in sight.
func (l *list) scroll() {
	l.at = max(0, min(l.at, len(l.shown)-1))
	l.top = max(min(l.top, l.at), l.at-l.page()+1)
}

// Init implements tea.Model.
func (l *list) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (l *list) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		l.width, l.height = msg.Width, msg.Height
		l.scroll()
	case tea.KeyPressMsg:
		return l, l.press(uv.Key(msg))
	case uv.KeyPressEvent:
		return l, l.press(uv.Key(msg))
	}
	return l, nil
}

// press does what a key stands for.
func (l *list) press(key uv.Key) tea.Cmd {
	switch key.Keystroke() {
	case "esc", "ctrl+c", "ctrl+d":
		return tea.Quit
	case "enter", "ctrl+j":
		if len(l.shown) > 0 {
			l.chosen = l.shown[l.at]
			return tea.Quit
		}
	case "up", "ctrl+p", "shift+tab":
		l.at--
	case "down", "ctrl+n", "tab":
		l.at++
	case "pgup":
		l.at -= l.page()
	case "pgdown":
		l.at += l.page()
	case "home":
		l.at = 0
	case "end":
		l.at = len(l.shown)
	case "backspace", "ctrl+h":
		l.typed = l.typed[:max(0, len(l.typed)-1)]
		l.search()
	case "ctrl+u", "ctrl+w":
		l.typed = nil
		l.search()
	default:
		if text := []rune(key.Text); len(text) > 0 && !slices.ContainsFunc(text, unicode.IsControl) {
			l.typed = append(l.typed, text...)
			l.search()
		}
	}
	l.scroll()
	return nil
}

// View implements tea.Model.
func (l *list) View() tea.View {
	header, rows := l.lines(l.width - 2)
	lines := []string{
		l.painted("1", "kshell: "+l.title+fmt.Sprintf(" (%d of %d)", len(l.shown), len(l.rows))),
		"search: " + string(l.typed) + "_",
		"  " + header,
	}
	for i := l.top; i < min(len(l.shown), l.top+l.page()); i++ {
		if i == l.at {
			lines = append(lines, l.painted("1;36", "> "+rows[l.shown[i]]))
			continue
		}
		lines = append(lines, "  "+rows[l.shown[i]])
	}
	lines = append(lines, "type to search, up and down to move, Enter to choose, Esc to leave")
	v := tea.NewView(strings.Join(lines, "\n"))
	v.AltScreen, v.DisableBracketedPasteMode = true, true
	return v
}

func (l *list) painted(how, text string) string {
	if !l.coloured {
		return text
	}
	return "\x1b[" + how + "m" + text + "\x1b[0m"
}

// shortest is what is left of a name at least, in characters.
const shortest = 12

// lines are the header and the rows in columns. Names are cut in their midst so that the rest has room: their ends tell them apart.
func (m menu) lines(width int) (header string, rows []string) {
	all := append([][]string{m.header}, m.rows...)
	widths := make([]int, len(m.header))
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	rest := 0
	for _, w := range widths[1:] {
		rest += w + 2
	}
	widths[0] = min(widths[0], max(shortest, width-rest))
	for _, row := range all {
		var b strings.Builder
		for i, cell := range row {
			if i == 0 {
				cell = shortened(cell, widths[0])
			}
			fmt.Fprintf(&b, "%-*s  ", widths[i], cell)
		}
		rows = append(rows, strings.TrimRight(b.String(), " "))
	}
	return rows[0], rows[1:]
}

// shortened is a name of so many characters at most.
func shortened(name string, most int) string {
	runes := []rune(name)
	if len(runes) <= most {
		return name
	}
	end := (most - 1) / 2
	return string(runes[:most-1-end]) + "…" + string(runes[len(runes)-end:])
}
