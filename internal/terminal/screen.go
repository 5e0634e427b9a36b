package terminal

import (
	"bytes"
	"io"
	"slices"
	"strconv"
	"sync"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"
	"github.com/charmbracelet/x/ansi/parser"
)

// Screen is a writer to a terminal that tracks which terminal modes the remote
// program has changed, so that Reset can undo the changes that the program has
// not undone itself. It passes the program's output on unchanged. It can also
// show a status line: see SetStatus.
//
// The methods may be called from any goroutine.
type Screen struct {
	out io.Writer // the terminal

	mu sync.Mutex // guards all fields below; also held during writes to out and statusWriter

	// Set by EnableStatus; until then nil.
	statusWriter io.Writer
	width        func() int
	redraw       func()

	parser      *ansi.Parser // nil before the first Write
	changed     []int        // private modes that differ from those of a shell, in the order of the changes
	cursorSaved bool         // the program has saved the cursor and not restored it
	midLine     bool         // the last byte written was not a line feed
	line        []byte       // the output after the last CR, at most the last maxLine bytes

	statusShown bool
	statusOver  bool // the status is shown over a full-screen program
}

// NewScreen returns a Screen that writes to the terminal out.
func NewScreen(out io.Writer) *Screen { return &Screen{out: out} }

// shellModes maps each tracked private mode (DECSET) to whether it is set while
// a shell runs. The modes are, in the order below: application cursor keys,
// visible cursor, mouse (three protocols, focus events, three encodings),
// alternate screen (three variants), bracketed paste.
var shellModes = map[int]bool{
	1: false, 25: true, 1000: false, 1002: false, 1003: false, 1004: false, 1005: false, 1006: false, 1015: false,
	47: false, 1047: false, 1049: false, 2004: false,
}

// alternateModes are the modes that show the alternate screen.
var alternateModes = []int{47, 1047, 1049}

// Limits of the stored output.
const (
	maxParams = 32      // of a control sequence; further ones are ignored
	maxLine   = 4 << 10 // bytes of a line
)

// Write implements io.Writer. It removes the status before it writes.
func (s *Screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(p) > 0 {
		s.hideStatus()
		s.track(p)
	}
	return s.out.Write(p)
}

// track updates the state for the output p, which must not be empty.
func (s *Screen) track(p []byte) {
	s.midLine = p[len(p)-1] != '\n'
	s.storeLine(p)
	if s.parser == nil {
		s.parser = &ansi.Parser{}
		s.parser.SetParamsSize(maxParams)
		s.parser.SetHandler(ansi.Handler{HandleEsc: s.handleEsc, HandleCsi: s.handleCSI})
	}
	for len(p) > 0 {
		p = s.parse(p)
	}
}

// stringEnds are the bytes that end the string in a DCS, OSC, SOS, PM or APC
// sequence.
const stringEnds = "\x1b\x07\x18\x1a" // ESC, BEL, CAN, SUB

// parse passes the next byte of an escape sequence to the parser and returns
// the rest of p. It skips text and the contents of strings.
//
// It handles some bytes itself, because the parser (x/ansi v0.11.7) treats them
// differently from terminals:
//   - A byte above 127 ends a sequence. It is not a C1 control character,
//     because terminals use UTF-8.
//   - ESC begins a new sequence in every state.
//   - BEL ends every string, not only that of an OSC sequence.
//   - CAN and SUB end a sequence. Other control characters within a sequence
//     are skipped: in the parser, they would overwrite the command of the
//     sequence.
func (s *Screen) parse(p []byte) (rest []byte) {
	state, i := s.parser.State(), 0
	inString := isString(state)
	switch {
	case state == parser.GroundState:
		i = bytes.IndexByte(p, ansi.ESC)
	case inString:
		i = bytes.IndexAny(p, stringEnds)
	}
	if i < 0 {
		return nil
	}
	switch c := p[i]; {
	case c == ansi.ESC:
		s.parser.Reset()
		s.parser.Advance(c)
	case inString || c >= utf8.RuneSelf || c == ansi.CAN || c == ansi.SUB:
		s.parser.Reset()
	case c < ' ': // the terminal executes the control character and continues the sequence
	default:
		s.parser.Advance(c)
	}
	return p[i+1:]
}

// storeLine stores the line that the cursor is in.
func (s *Screen) storeLine(p []byte) {
	if i := bytes.LastIndexByte(p, '\r'); i >= 0 {
		s.line, p = s.line[:0], p[i+1:]
	}
	s.line = append(s.line, p[max(0, len(p)-maxLine):]...)
	s.line = s.line[max(0, len(s.line)-maxLine):]
}

// inText reports whether the output so far ends outside an escape sequence.
func (s *Screen) inText() bool {
	return s.parser == nil || s.parser.State() == parser.GroundState
}

// isString reports whether the parser is inside a DCS, OSC, SOS, PM or APC
// string.
func isString(state parser.State) bool {
	return state >= parser.DcsEntryState && state <= parser.DcsStringState ||
		state >= parser.OscStringState && state <= parser.ApcStringState
}

// handleEsc is called for a sequence of ESC and one character.
func (s *Screen) handleEsc(cmd ansi.Cmd) {
	switch cmd {
	case '7', '8': // save and restore the cursor
		s.cursorSaved = cmd == '7'
	case 'c': // full reset
		s.changed, s.cursorSaved = nil, false
	}
}

// handleCSI is called for a control sequence. A comparison of cmd with a
// character, such as cmd == 's', is true only if the sequence has neither a
// prefix nor an intermediate byte.
func (s *Screen) handleCSI(cmd ansi.Cmd, params ansi.Params) {
	switch {
	case cmd.Prefix() == '?' && cmd.Intermediate() == 0 && (cmd.Final() == 'h' || cmd.Final() == 'l'):
		for _, p := range params {
			s.setMode(p.Param(0), cmd.Final() == 'h')
		}
	case (cmd == 's' || cmd == 'u') && len(params) == 0: // save and restore the cursor
		s.cursorSaved = cmd == 's'
	}
}

func (s *Screen) setMode(mode int, set bool) {
	shell, tracked := shellModes[mode]
	if !tracked {
		return
	}
	s.changed = slices.DeleteFunc(s.changed, func(m int) bool { return m == mode })
	if set != shell {
		s.changed = append(s.changed, mode)
	}
}

// BetweenLines calls write, which writes lines to the terminal. While write
// runs, the program's output waits. midLine tells write whether the output ends
// within a line; if so, write must end that line first. When write returns, the
// cursor must be at the beginning of a line. write must not call methods of the
// Screen. BetweenLines removes the status before it calls write.
func (s *Screen) BetweenLines(write func(midLine bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hideStatus()
	write(s.midLine)
	s.midLine, s.line = false, s.line[:0]
}

// FullScreen reports whether the program shows the alternate screen, as editors
// do. Lines written there would disturb the program's display.
func (s *Screen) FullScreen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fullScreen()
}

func (s *Screen) fullScreen() bool {
	return slices.ContainsFunc(s.changed, func(m int) bool { return slices.Contains(alternateModes, m) })
}

// Reset returns the bytes that undo the changes of the tracked modes and set
// the default colors. The caller must write them to the terminal. The result is
// empty if no mode has changed. Reset removes the status.
func (s *Screen) Reset() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hideStatus()
	if len(s.changed) == 0 {
		return nil
	}
	var b []byte
	for _, mode := range slices.Backward(s.changed) {
		b = append(b, "\x1b[?"...)
		b = strconv.AppendInt(b, int64(mode), 10)
		if shellModes[mode] {
			b = append(b, 'h')
		} else {
			b = append(b, 'l')
		}
	}
	s.changed, s.cursorSaved = nil, false
	s.parser.Reset()
	return append(b, ansi.ResetStyle...)
}
