package terminal

import (
	"bytes"
	"sync"
	"time"
)

// newLinePause is the pause in typing after which the next key is taken as the
// beginning of a new line.
const newLinePause = 2 * time.Second

// The keys that make a shell discard the line. Like Enter, they end the line.
const (
	keyInterrupt = 0x03 // Ctrl-C
	keyKill      = 0x15 // Ctrl-U
)

// LineGuard prevents a shell from running an incomplete line, some of whose
// keys were lost when the connection broke. It filters the keys before they are
// sent on a connection. It does not know the contents of the line, only whether
// a line was begun, that is, whether anything was typed after the last Enter,
// Ctrl-C or Ctrl-U. Input that the terminal itself sends does not count as
// typed, and is always passed on.
//
// If NewLineGuard was called with sameShell false, each connection has a new
// shell. If a line was begun on an earlier connection, the new shell has not
// received the beginning, so the rest of the line is discarded. The rest ends
// with Enter, Ctrl-C or Ctrl-U, or with the first pause of 2 s in typing after
// the notice about the new shell. A bracketed paste is discarded to its end.
// Several keys in one read may be a paste without brackets, so an Enter among
// them ends the line only if it is the last key.
//
// If sameShell was true, a new connection leads to the same shell, which may
// have received only part of the line. Keys are passed on, but the next Enter
// is withheld: onWithheld is called instead, and a second Enter runs the line.
// The rest of a paste that began on an earlier connection is discarded. The
// last key that was sent may be the Enter, Ctrl-C or Ctrl-U that ended the
// line, and that key may be lost, too. It counts as received when the remote
// has written something after it: a line feed after Enter, because terminals
// echo Enter, or any output after Ctrl-C or Ctrl-U. Until then, a new
// connection makes the line count as incomplete.
//
// The zero value is ready to use, and is like NewLineGuard(false, nil). Only
// one goroutine may call Filter; any goroutine may call the other methods.
type LineGuard struct {
	isSameShell bool
	onWithheld  func() // called by Filter when an Enter was not passed on; may be nil

	// Guarded by mu.
	mu        sync.Mutex
	connected time.Time // when the user was notified of the last connection
	parser    inputParser
	pending   []byte    // an unfinished sequence; passed on if it becomes a report, otherwise discarded
	out       []byte    // the result of Filter
	begun     bool      // a line was begun
	lineConn  int       // the connection on which the line was begun; 0 means during an outage
	typed     time.Time // when the last key was typed

	// Guarded by mu, and used only if isSameShell.
	lastConn    int  // the newest connection that Filter was called with
	dropping    bool // a line was begun during an outage and has not ended
	incomplete  bool // the line that the shell has received may lack keys
	inPaste     bool // a paste has begun and has not ended
	pasteConn   int  // the connection on which the paste began; 0 means during an outage; -1 means that it is discarded
	pasteOpen   bool // the shell was sent the beginning of a paste, but not its end
	unconfirmed byte // the key that ended the last line, until the remote replies to it; then 0
}

// NewLineGuard returns a LineGuard. sameShell means that all connections lead
// to the same shell. onWithheld, if not nil, is called by Filter when an Enter
// was not passed on.
func NewLineGuard(sameShell bool, onWithheld func()) *LineGuard {
	return &LineGuard{isSameShell: sameShell, onWithheld: onWithheld}
}

// Connected records that the user was notified of a new connection. It reports
// whether a line was begun before and has not ended.
func (g *LineGuard) Connected() (begun bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.connected = time.Now()
	return g.begun
}

// Wrote records that the remote has written p. This may confirm that the remote
// has received the key that ended a line.
func (g *LineGuard) Wrote(p []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.unconfirmed == keyInterrupt || g.unconfirmed == keyKill || bytes.IndexByte(p, '\n') >= 0 {
		g.unconfirmed = 0
	}
}

// InputLost records that part of the input was dropped. The end of a paste may
// be in that part.
func (g *LineGuard) InputLost() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parser, g.inPaste, g.pending = inputParser{}, false, nil
}

// Filter takes the input p of one read, and returns the part of p to send on
// the connection. Connections are numbered from 1. During an outage, connection
// is 0 and the result is empty. The result is valid until the next call.
func (g *LineGuard) Filter(p []byte, connection int) []byte {
	if g.filter(p, connection) && g.onWithheld != nil {
		g.onWithheld()
	}
	if connection == 0 {
		return nil
	}
	return g.out
}

func (g *LineGuard) filter(p []byte, connection int) (withheld bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.out = g.out[:0]
	if g.isSameShell {
		return g.filterSameShell(p, connection)
	}
	g.filterNewShell(p, connection)
	return false
}

// finalEnter returns the index of the last typed key in p if that key is Enter,
// otherwise -1.
func (g *LineGuard) finalEnter(p []byte) int {
	parser, index := g.parser, -1
	for i, c := range p {
		switch class := parser.next(c); {
		case class == classReport || class == classPartial:
		case class == classKey && isEnter(c):
			index = i
		default:
			index = -1
		}
	}
	return index
}

// filterNewShell filters input if each connection has a new shell.
func (g *LineGuard) filterNewShell(p []byte, connection int) {
	discard := g.begun && g.lineConn != connection
	if discard && !g.parser.inPaste() && min(time.Since(g.connected), time.Since(g.typed)) >= newLinePause {
		g.begun = false
	}
	enter := g.finalEnter(p)
	for i, c := range p {
		class := g.parser.next(c)
		discard := g.begun && g.lineConn != connection
		if g.handleSequence(c, class, discard) {
			continue
		}
		g.typed = time.Now()
		ends := class == classKey && (c == keyInterrupt || c == keyKill || isEnter(c) && (!discard || i == enter))
		if !g.begun && !ends {
			g.begun, g.lineConn = true, connection
		}
		if !discard {
			g.out = append(g.out, c)
		}
		if ends {
			g.begun = false
		}
	}
}

// handleSequence handles a byte of a report, or of an unfinished sequence that
// may become a report, and returns true. For any other byte it returns false.
// An unfinished sequence is passed on at once, or kept in pending if discard is
// true.
func (g *LineGuard) handleSequence(c byte, class inputClass, discard bool) bool {
	switch {
	case class == classReport:
		g.out = append(append(g.out, g.pending...), c)
		g.pending = g.pending[:0]
	case class == classPartial && discard && len(g.pending) < maxPending:
		g.pending = append(g.pending, c)
	case class == classPartial && !discard:
		g.out = append(g.out, c)
	case class == classRestart && discard:
		g.pending = append(g.pending[:0], c)
		return false
	case class != classPartial:
		g.pending = g.pending[:0]
		return false
	}
	return true
}

// filterSameShell filters input if all connections lead to the same shell. It
// reports whether it has withheld an Enter. The keys in p after that Enter are
// discarded.
func (g *LineGuard) filterSameShell(p []byte, connection int) (withheld bool) {
	if connection > 0 && connection != g.lastConn {
		g.incomplete = g.incomplete || g.begun || g.dropping || g.unconfirmed != 0
		g.dropping, g.unconfirmed, g.lastConn = false, 0, connection
	}
	if connection > 0 && g.pasteOpen && !g.inPaste {
		g.out, g.pasteOpen = append(g.out, pasteEnd...), false
	}
	for _, c := range p {
		class := g.parser.next(c)
		switch {
		case g.handleSequence(c, class, withheld):
		case class == classPaste:
			g.handlePaste(c, connection, withheld)
		case withheld:
		case connection == 0:
			g.dropping = class != classKey || !endsLine(c)
		case class == classKey && isEnter(c) && g.incomplete:
			g.incomplete, withheld = false, true
		default:
			g.sendKey(c, class == classKey && endsLine(c))
		}
	}
	return withheld
}

// sendKey passes on the key c. ends means that c ends the line. If the line is
// empty, c need not be confirmed, because its loss does not matter.
func (g *LineGuard) sendKey(c byte, ends bool) {
	g.out = append(g.out, c)
	switch {
	case !ends:
		g.begun = true
	case g.begun || g.unconfirmed != 0:
		g.begun, g.incomplete, g.unconfirmed = false, false, c
	default:
		g.incomplete = false
	}
}

// handlePaste handles a byte of a paste. A paste that began on another
// connection is discarded, except for the end sequence: without an end
// sequence, the shell would treat keys that are typed later as part of the
// paste.
func (g *LineGuard) handlePaste(c byte, connection int, discard bool) {
	switch {
	case g.inPaste:
	case discard:
		g.pasteConn = -1
	default:
		g.pasteConn, g.pasteOpen = connection, connection > 0
	}
	g.inPaste = g.parser.inPaste()
	g.begun, g.dropping = g.begun || connection > 0, g.dropping || connection == 0
	if g.pasteConn == connection {
		g.out = append(g.out, c)
	}
	if g.inPaste || connection == 0 {
		return
	}
	if g.pasteOpen && g.pasteConn != connection {
		g.out = append(g.out, pasteEnd...)
	}
	g.pasteOpen = false
}

// endsLine reports whether the key ends or discards a line.
func endsLine(key byte) bool { return isEnter(key) || key == keyInterrupt || key == keyKill }
