package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	uv "github.com/charmbracelet/ultraviolet"

	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/terminal"
)

// The rules of the list:
//
//   - It is drawn on stderr, or on the terminal itself where stderr is none, and never on stdout.
//   - When choose returns, the terminal is as it was, nobody reads it, and no goroutine is left.
//   - The terminal is asked nothing: an answer that comes late would be typed into the shell.

// choose shows the menu and gives the row that was chosen; errUnpicked for none.
func (a *app) choose(ctx context.Context, m menu) (int, error) {
	input, err := terminal.NewInput(a.In)
	if err != nil {
		return 0, fmt.Errorf("stdin: %w", err)
	}
	defer input.Cancel()
	screen, closeScreen, err := a.drawing()
	if err != nil {
		return 0, err
	}
	defer closeScreen()
	if dumb() {
		stop := context.AfterFunc(ctx, func() { input.Cancel() })
		defer stop()
		return m.ask(ctx, input, screen)
	}
	return a.show(ctx, m, input, screen)
}

// drawing is where a list is drawn.
func (a *app) drawing() (w io.Writer, closed func(), err error) {
	if terminal.IsTerminal(a.Err) {
		return a.Err, func() {}, nil
	}
	in, out, err := tea.OpenTTY()
	if err != nil {
		return nil, nil, outcome.NewUsageError("the list of pods needs a terminal, and stderr is none", "name the pod: kshell exec POD")
	}
	return out, func() {
		_ = in.Close() // nothing is left to be written
		_ = out.Close()
	}, nil
}

// dumb says whether nothing but lines can be shown.
func dumb() bool {
	kind := os.Getenv("TERM")
	return kind == "dumb" || kind == "" && runtime.GOOS != "windows"
}

// ask is the list for a terminal that knows only lines: a number is typed.
func (m menu) ask(ctx context.Context, in io.Reader, out io.Writer) (int, error) {
	header, rows := m.lines(2000) // columns: rows are not cut
	var b strings.Builder
	fmt.Fprintf(&b, "kshell: %s\n     %s\n", m.title, header)
	for i, row := range rows {
		fmt.Fprintf(&b, "%3d) %s\n", i+1, row)
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return 0, err
	}
	for lines := bufio.NewReader(in); ; {
		if _, err := fmt.Fprintf(out, "number (%d to %d; none: leave): ", 1, len(rows)); err != nil {
			return 0, err
		}
		line, err := lines.ReadString('\n')
		line = strings.TrimSpace(line)
		switch n, wrong := strconv.Atoi(line); {
		case ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case err != nil && !errors.Is(err, io.EOF):
			return 0, fmt.Errorf("stdin: %w", err)
		case line == "":
			return 0, errUnpicked
		case wrong == nil && n >= 1 && n <= len(rows):
			return n - 1, nil
		case err != nil:
			return 0, errUnpicked
		}
	}
}

// show is the list on the whole screen.
func (a *app) show(ctx context.Context, m menu, input *terminal.Input, out io.Writer) (int, error) {
	t, err := terminal.Open(a.In, out)
	if err != nil {
		return 0, err
	}
	t.OnPanic = a.cleanup.AfterPanic
	a.cleanup.SetTerminal(t)
	defer t.Close()
	if _, err := t.Raw(); err != nil {
		return 0, err
	}
	size, err := t.Size()
	if err != nil {
		size = terminal.Size{Width: 80, Height: 24}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)

	coloured, profile := notice.ColourAllowed(), colorprofile.ASCII
	if coloured {
		profile = colorprofile.ANSI
	}
	l := newList(m, int(size.Width), int(size.Height), coloured)
	program := tea.NewProgram(l,
		tea.WithContext(ctx), tea.WithoutSignalHandler(), tea.WithInput(nil), tea.WithOutput(canvas{out}),
		tea.WithColorProfile(profile), tea.WithWindowSize(l.width, l.height))
	leave := attend(ctx, cancel, t, input, program)
	_, err = program.Run()
	leave()
	switch cause := context.Cause(ctx); {
	case cause != nil:
		return 0, cause
	case err != nil:
		return 0, fmt.Errorf("the list of pods: %w", err)
	case l.chosen < 0:
		return 0, errUnpicked
	}
	return l.chosen, nil
}

// attend passes keys and sizes on to the program, until leave is called, which waits for all of its goroutines.
func attend(ctx context.Context, cancel context.CancelCauseFunc, t *terminal.Terminal, input *terminal.Input, program *tea.Program) (leave func()) {
	events, done := make(chan uv.Event), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		defer t.RestoreOnPanic()
		defer close(events)
		err := uv.NewTerminalReader(input, os.Getenv("TERM")).StreamEvents(ctx, events)
		if err == nil {
			err = io.EOF
		}
		select {
		case <-done:
		default:
			cancel(fmt.Errorf("stdin: %w", err)) // nobody can choose any more
		}
	})
	all.Go(func() {
		defer t.RestoreOnPanic()
		for event := range events { // to the end: the reader must not be held
			if key, ok := event.(uv.KeyPressEvent); ok {
				program.Send(key)
			}
		}
	})
	changed, stopResize := t.Resized()
	all.Go(func() {
		defer t.RestoreOnPanic()
		for {
			select {
			case <-done:
				return
			case <-changed:
				if size, err := t.Size(); err == nil {
					program.Send(tea.WindowSizeMsg{Width: int(size.Width), Height: int(size.Height)})
				}
			}
		}
	})
	stopContinued := t.OnContinue(func() {
		_, _ = t.Raw() // Close restores the terminal
	})
	return func() {
		close(done)
		stopContinued()
		stopResize()
		input.Cancel()
		all.Wait()
	}
}

// canvas is the terminal as bubbletea sees it: a line feed begins a line, though the terminal is raw, and no question passes.
type canvas struct{ io.Writer }

var forCanvas = strings.NewReplacer(
	"\n", "\r\n",
	"\x1b[?u", "", // which keys can be told apart
	"\x1b[?2026$p", "", // is there synchronized output
	"\x1b[?2027$p", "", // are grapheme clusters known
)

// Write implements io.Writer. What it is given is whole: bubbletea writes frames.
func (c canvas) Write(p []byte) (int, error) {
	if _, err := forCanvas.WriteString(c.Writer, string(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
