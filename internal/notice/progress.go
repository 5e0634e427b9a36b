package notice

import (
	"io"
	"unicode/utf8"
)

// Terminal is a terminal on which a line can be updated in place.
type Terminal interface {
	// Columns returns the width of the terminal, or 0 if it is not known.
	Columns() int
}

// SetTerminal declares that the writer of New is a terminal.
func (p *Printer) SetTerminal(t Terminal) {
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	p.out.terminal = t
}

// Progress reports the state of a wait: on a terminal in one line that is
// updated in place, otherwise in one message for each state. With -q it reports
// nothing. Its methods may be called from any goroutine.
type Progress struct {
	printer *Printer
	inPlace bool
}

// Progress starts to report the state of a wait. The caller must call End.
// If another wait has the line on the terminal, the new wait prints messages.
func (p *Printer) Progress() *Progress {
	o := p.out
	o.mu.Lock()
	defer o.mu.Unlock()
	g := &Progress{printer: p}
	g.inPlace = o.terminal != nil && !o.raw && !o.redirected && o.inPlace == nil && o.terminal.Columns() > 0
	if g.inPlace {
		o.inPlace = g
	}
	return g
}

// InPlace reports whether the line is updated in place.
func (g *Progress) InPlace() bool { return g.inPlace && !g.printer.Quiet }

// Update reports a state. In a line that is updated in place, only the part of
// the text that fits in the line is shown.
func (g *Progress) Update(text string) {
	p := g.printer
	switch {
	case p.Quiet:
	case g.inPlace:
		p.out.setProgress(g, messagePrefix+p.prefix+Clean(text))
	default:
		p.Note("%s", text)
	}
}

// End removes the line. After End, Update must not be called. A second End has
// no effect.
func (g *Progress) End() {
	if g.inPlace {
		g.printer.out.setProgress(g, "")
	}
}

// WithoutProgress calls write, which writes whole lines to the terminal, while
// the line of a Progress is not on the terminal. write must not print messages.
func (p *Printer) WithoutProgress(write func()) {
	o := p.out
	o.mu.Lock()
	defer o.mu.Unlock()
	shown := o.progress != "" && !o.redirected
	if shown {
		_, _ = io.WriteString(o.w, clearLine)
	}
	write()
	if shown {
		_, _ = io.WriteString(o.w, o.progressLine())
	}
}

// clearLine moves the cursor to the beginning of its line, and clears the line.
const clearLine = "\r\x1b[K"

// setProgress sets the text of the line, which belongs to g. An empty text
// removes the line, so that another wait can have it.
func (o *output) setProgress(g *Progress, text string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.inPlace != g {
		return // g has ended
	}
	if text == "" {
		o.inPlace = nil
	}
	if o.progress == "" && text == "" {
		return
	}
	o.progress = o.inLocale(text)
	if !o.redirected {
		_, _ = io.WriteString(o.w, clearLine+o.progressLine())
	}
}

// progressLine returns the part of the progress text that fits in one line of
// the terminal. The last three columns stay empty: two for ^C, which the
// terminal prints when the user types Ctrl-C, and the last one because some
// terminals wrap the line there.
func (o *output) progressLine() string {
	columns := max(o.terminal.Columns()-3, 1)
	if cells(o.progress) <= columns {
		return o.progress
	}
	used, ellipsis := 0, o.inLocale("…")
	for i, r := range o.progress {
		if used += runeCells(r); used > columns-len([]rune(ellipsis)) {
			return o.progress[:i] + ellipsis
		}
	}
	return o.progress
}

// cells returns an upper limit of the number of columns that text takes.
func cells(text string) int {
	n := 0
	for _, r := range text {
		n += runeCells(r)
	}
	return n
}

// runeCells returns an upper limit of the number of columns that r takes.
func runeCells(r rune) int {
	if r < utf8.RuneSelf || r == '…' {
		return 1
	}
	return 2
}
