package notice

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// columns is a Terminal of this width.
type columns int

func (c columns) Columns() int { return int(c) }

func TestProgress_UpdatedInPlace(t *testing.T) {
	var out strings.Builder
	p := New(&out)
	p.SetTerminal(columns(26))
	g := p.Progress()
	g.Update("waiting: one")
	g.Update("waiting: two\x1b[31m three")
	p.Note("a note")
	other := p.Progress()
	other.Update("another wait")
	other.End()
	g.Update("waiting: 漢字漢字")
	g.End()
	g.End()
	p.Note("the end")
	const clear = "\r\x1b[K"
	want := clear + "kshell: waiting: one" +
		clear + `kshell: waiting: two\x…` +
		clear + "kshell: a note\n" + `kshell: waiting: two\x…` +
		clear + "kshell: another wait\n" + `kshell: waiting: two\x…` +
		clear + "kshell: waiting: 漢字…" +
		clear + "kshell: the end\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Only one of two waits has the line, even if both start before an Update.
func TestProgress_TwoWaits(t *testing.T) {
	var out strings.Builder
	p := New(&out)
	p.SetTerminal(columns(80))
	first, second := p.Progress(), p.Progress()
	second.Update("two")
	first.Update("one")
	second.End()
	first.End()
	third := p.Progress()
	first.End()
	third.Update("three")
	third.End()
	want := "kshell: two\n" + clearLine + "kshell: one" + clearLine + clearLine + "kshell: three" + clearLine
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// While messages are redirected, the line is not on the terminal.
func TestProgress_RedirectedDuringWait(t *testing.T) {
	var terminal, file strings.Builder
	p := New(&terminal)
	p.SetTerminal(columns(80))
	g := p.Progress()
	g.Update("one")
	undo := p.Redirect(&file)
	g.Update("two")
	p.Note("a note")
	undo()
	g.End()
	want := clearLine + "kshell: one" + clearLine + clearLine + "kshell: two" + clearLine
	if diff := cmp.Diff(want, terminal.String()); diff != "" {
		t.Errorf("terminal: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff("kshell: a note\n", file.String()); diff != "" {
		t.Errorf("file: -want +got:\n%s", diff)
	}
}

func TestProgress_Messages(t *testing.T) {
	for name, prepare := range map[string]func(p *Printer) (undo func()){
		"no terminal":   func(*Printer) func() { return func() {} },
		"unknown width": func(p *Printer) func() { p.SetTerminal(columns(0)); return func() {} },
		"redirected": func(p *Printer) func() {
			p.SetTerminal(columns(80))
			return p.Redirect(p.out.w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			p := New(&out)
			undo := prepare(p)
			g := p.WithPrefix("web").Progress()
			g.Update("waiting")
			g.Update("still waiting")
			g.End()
			undo()
			want := "kshell: web: waiting\nkshell: web: still waiting\n"
			if out.String() != want {
				t.Errorf("got %q, want %q", out.String(), want)
			}
		})
	}
}

func TestProgress_Quiet(t *testing.T) {
	for _, terminal := range []Terminal{nil, columns(80)} {
		var out strings.Builder
		p := New(&out)
		p.Quiet = true
		p.SetTerminal(terminal)
		g := p.Progress()
		g.Update("waiting")
		g.End()
		if out.Len() > 0 {
			t.Errorf("with -q: %q", out.String())
		}
	}
}
