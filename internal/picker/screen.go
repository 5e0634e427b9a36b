package picker

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"unicode"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
	uv "github.com/charmbracelet/ultraviolet"

	"kshell/internal/terminal"
)

// output returns where the list is written.
func output(stderr io.Writer) (out io.Writer, closeOut func(), err error) {
	if terminal.IsTerminal(stderr) {
		return stderr, func() {}, nil
	}
	in, tty, err := tea.OpenTTY()
	if err != nil {
		return nil, nil, ErrNoTerminal
	}
	return tty, func() {
		_ = in.Close() // nothing was written to it
		_ = tty.Close()
	}, nil
}

// chooseOnScreen shows the list on the whole screen.
func (l List) chooseOnScreen(ctx context.Context, o Options, input *terminal.Input, out io.Writer) (int, error) {
	t, err := terminal.Open(o.In, out)
	if err != nil {
		return 0, err
	}
	t.OnPanic = o.Cleanup.AfterPanic
	o.Cleanup.SetTerminal(t)
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

	profile := colorprofile.ASCII
	if o.Color {
		profile = colorprofile.ANSI
	}
	m := &model{view: newView(l, int(size.Width), int(size.Height), o.Color), chosen: -1}
	program := tea.NewProgram(m,
		tea.WithContext(ctx), tea.WithoutSignalHandler(), tea.WithInput(nil), tea.WithOutput(screenWriter{out}),
		tea.WithColorProfile(profile), tea.WithWindowSize(m.width, m.height))
	stop := sendEvents(ctx, cancel, t, input, program)
	_, err = program.Run()
	stop()
	switch cause := context.Cause(ctx); {
	case cause != nil:
		return 0, cause
	case err != nil:
		return 0, fmt.Errorf("the list: %w", err)
	case m.chosen < 0:
		return 0, ErrCanceled
	}
	return m.chosen, nil
}

// model is a view as a tea.Model.
type model struct {
	*view
	chosen int // index of a row; -1: none
}

// Init implements tea.Model.
func (m *model) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.resize(msg.Width, msg.Height)
	case tea.KeyPressMsg: // made from a uv.KeyPressEvent
		return m, m.press(uv.Key(msg))
	}
	return m, nil
}

// press handles a key.
func (m *model) press(key uv.Key) tea.Cmd {
	switch key.Keystroke() {
	case "esc", "ctrl+c", "ctrl+d":
		return tea.Quit
	case "enter", "ctrl+j":
		if i, ok := m.view.chosen(); ok {
			m.chosen = i
			return tea.Quit
		}
	case "up", "ctrl+p", "shift+tab":
		m.move(-1)
	case "down", "ctrl+n", "tab":
		m.move(1)
	case "pgup":
		m.move(-m.page())
	case "pgdown":
		m.move(m.page())
	case "home":
		m.move(-len(m.Rows))
	case "end":
		m.move(len(m.Rows))
	case "backspace", "ctrl+h":
		m.setQuery(m.query[:max(0, len(m.query)-1)])
	case "ctrl+u", "ctrl+w":
		m.setQuery(nil)
	default:
		if text := []rune(key.Text); len(text) > 0 && !slices.ContainsFunc(text, unicode.IsControl) {
			m.setQuery(append(m.query, text...))
		}
	}
	return nil
}

// View implements tea.Model.
func (m *model) View() tea.View {
	v := tea.NewView(strings.Join(m.lines(), "\n"))
	v.AltScreen, v.DisableBracketedPasteMode = true, true
	return v
}

// sendEvents sends keys and size changes to the program until stop is called,
// which waits for the goroutines.
func sendEvents(
	ctx context.Context, cancel context.CancelCauseFunc, t *terminal.Terminal, input *terminal.Input, program *tea.Program,
) (stop func()) {
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
			cancel(fmt.Errorf("stdin: %w", err)) // no more keys
		}
	})
	all.Go(func() {
		defer t.RestoreOnPanic()
		for event := range events { // until it is closed: the reader must not block
			if key, ok := event.(uv.KeyPressEvent); ok {
				program.Send(key)
			}
		}
	})
	changed, stopResized := t.Resized()
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
	stopOnContinue := t.OnContinue(func() {
		_, _ = t.Raw() // Close restores the terminal
	})
	return func() {
		close(done)
		stopOnContinue()
		stopResized()
		input.Cancel()
		all.Wait()
	}
}

// screenWriter adapts bubbletea's output to the raw terminal: it starts lines
// with CR LF, and removes queries to the terminal.
type screenWriter struct{ io.Writer }

var screenReplacer = strings.NewReplacer(
	"\n", "\r\n",
	"\x1b[?u", "", // query: Kitty keyboard flags
	"\x1b[?2026$p", "", // query: synchronized output
	"\x1b[?2027$p", "", // query: grapheme clusters
)

// Write implements io.Writer. p contains whole sequences, because bubbletea
// writes whole frames.
func (w screenWriter) Write(p []byte) (int, error) {
	if _, err := screenReplacer.WriteString(w.Writer, string(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
