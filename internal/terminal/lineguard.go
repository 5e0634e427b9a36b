package terminal

import (
	"bytes"
	"sync"
	"time"
)

// guardPause is how long the user must not type before the next key is taken for
// the beginning of a new line.
const guardPause = 2 * time.Second

// The keys that discard a line. Enter ends a line, too.
const (
	keyInterrupt = 0x03 // Ctrl-C
	keyKill      = 0x15 // Ctrl-U
)

// LineGuard prevents a shell from running an incomplete line, whose other keys were
// lost when the connection broke. It filters the keys before they are sent on a
// connection. It does not know the contents of the line being typed, only whether a
// line was begun: whether anything was typed after the last Enter, Ctrl-C or Ctrl-U.
// Input that the terminal itself sends does not count as typed, and is always passed
// on.
//
// Without SameShell, each connection has a new shell, which has not received the
// beginning of a line that was begun on an earlier connection. The rest of the line
// is discarded: up to and including Enter, Ctrl-C or Ctrl-U, or until the user,
// after being told of the new shell, has typed nothing for 2 s. A paste is discarded
// to its end. Input that arrives in one read is treated as a paste without brackets,
// in which only an Enter at the end ends the line.
//
// With SameShell, a new connection leads to the same shell, which may have received
// part of the line. Keys are passed on, except for the next Enter: instead, OnWithheld
// is called, and a second Enter runs the line. The rest of a paste is discarded. The
// key that ended the line may have been lost as well. It counts as received when the
// remote has written something after it: for Enter a line feed, which is how
// terminals echo it, and for Ctrl-C and Ctrl-U anything.
//
// Only one goroutine may call Filter; any goroutine may call the other methods.
type LineGuard struct {
	// SameShell means that all connections lead to the same shell.
	SameShell bool
	// OnWithheld, if not nil, is called by Filter when an Enter was not passed on.
	OnWithheld func()

	mu        sync.Mutex
	connected time.Time // when the user was told of the last connection

	parser  inputParser
	pending []byte // an unfinished sequence, discarded unless it is a report
	out     []byte
	begun   bool      // a line was begun
	line    int       // the connection on which it was begun; 0: none, during an outage
	typed   time.Time // when the last key was typed

	// The fields below are used only with SameShell.
	number  int  // the last connection
	dropped bool // a line was begun during an outage and has not ended
	missing bool // the shell's line may lack keys
	inPaste bool // a paste has begun and has not ended
	paste   int  // the connection on which it began
	opened  bool // the shell was sent the beginning of a paste, but not its end
	awaits  byte // the key that ended the line, until the remote replies to it; then 0
}

// Connected records that the user is told of a new connection. It reports whether
// a line was begun before.
func (g *LineGuard) Connected() (begun bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.connected = time.Now()
	return g.begun
}

// Wrote records that the remote has written p.
func (g *LineGuard) Wrote(p []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.awaits == keyInterrupt || g.awaits == keyKill || bytes.IndexByte(p, '\n') >= 0 {
		g.awaits = 0
	}
}

// InputLost records that part of the input was dropped, which may include the end of a
// paste.
func (g *LineGuard) InputLost() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parser, g.inPaste, g.pending = inputParser{}, false, nil
}

// Filter takes the input of one read and returns what is to be sent on a connection.
// Connections are numbered from 1. During an outage, connection is 0 and the result
// is empty. The result is valid until the next call.
func (g *LineGuard) Filter(p []byte, connection int) []byte {
	if g.filter(p, connection) && g.OnWithheld != nil {
		g.OnWithheld()
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
	if g.SameShell {
		return g.sameShell(p, connection)
	}
	g.newShell(p, connection)
	return false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// lastEnter returns the index in p of an Enter that no other typed key follows, or
// -1.
func (g *LineGuard) lastEnter(p []byte) int {
	parser, at := g.parser, -1
	for i, c := range p {
		switch class := parser.next(c); {
		case class == classReport || class == classPartial:
		case class == classKey && newLine(c):
			at = i
		default:
			at = -1
		}
	}
	return at
}

// newShell filters input if each connection has a new shell.
func (g *LineGuard) newShell(p []byte, connection int) {
	stale := g.begun && g.line != connection
	if stale && !g.parser.pasting() && time.Since(later(g.connected, g.typed)) >= guardPause {
		g.begun = false
	}
	enter := g.lastEnter(p)
	for i, c := range p {
		class := g.parser.next(c)
		stale := g.begun && g.line != connection
		if g.unfinished(c, class, stale) {
			continue
		}
		g.typed = time.Now()
		ends := class == classKey && (c == keyInterrupt || c == keyKill || newLine(c) && (!stale || i == enter))
		if !g.begun && !ends {
			g.begun, g.line = true, connection
		}
		if !stale {
			g.out = append(g.out, c)
		}
		if ends {
			g.begun = false
		}
	}
}

// unfinished processes a byte of a report, or of a sequence that may turn out to be
// one, and returns true. For any other byte it returns false. A partial sequence is
// passed on at once, or kept in pending if discard is true.
func (g *LineGuard) unfinished(c byte, class inputClass, discard bool) bool {
	switch {
	case class == classReport:
		g.out = append(append(g.out, g.pending...), c)
		g.pending = g.pending[:0]
	case class == classPartial && discard && len(g.pending) < maxPending:
		g.pending = append(g.pending, c)
	case class == classPartial && !discard:
		g.out = append(g.out, c)
	case class == classAgain && discard:
		g.pending = append(g.pending[:0], c)
		return false
	case class != classPartial:
		g.pending = g.pending[:0]
		return false
	}
	return true
}

// sameShell filters input if all connections lead to the same shell.
func (g *LineGuard) sameShell(p []byte, connection int) (withheld bool) {
	if connection > 0 && connection != g.number {
		g.missing = g.missing || g.begun || g.dropped || g.awaits != 0
		g.dropped, g.awaits, g.number = false, 0, connection
	}
	if connection > 0 && g.opened && !g.inPaste {
		g.out, g.opened = append(g.out, pasteEnd...), false
	}
	for _, c := range p {
		class := g.parser.next(c)
		switch {
		case g.unfinished(c, class, withheld):
		case class == classPaste:
			g.pasted(c, connection, withheld)
		case withheld:
		case connection == 0:
			g.dropped = class != classKey || !endsLine(c)
		case class == classKey && newLine(c) && g.missing:
			g.missing, withheld = false, true
		default:
			g.send(c, class == classKey && endsLine(c))
		}
	}
	return withheld
}

// send passes a key on. If the line is empty, it does not matter whether the key
// that ends it is lost.
func (g *LineGuard) send(c byte, ends bool) {
	g.out = append(g.out, c)
	switch {
	case !ends:
		g.begun = true
	case g.begun || g.awaits != 0:
		g.begun, g.missing, g.awaits = false, false, c
	default:
		g.missing = false
	}
}

// pasted processes a byte of a paste. A paste that began on another connection is
// discarded, except for its end: without the end, the shell would take the keys
// typed afterwards for part of the paste.
func (g *LineGuard) pasted(c byte, connection int, discard bool) {
	switch {
	case g.inPaste:
	case discard:
		g.paste = -1
	default:
		g.paste, g.opened = connection, connection > 0
	}
	g.inPaste = g.parser.pasting()
	g.begun, g.dropped = g.begun || connection > 0, g.dropped || connection == 0
	if g.paste == connection {
		g.out = append(g.out, c)
	}
	if g.inPaste || connection == 0 {
		return
	}
	if g.opened && g.paste != connection {
		g.out = append(g.out, pasteEnd...)
	}
	g.opened = false
}

func endsLine(key byte) bool { return newLine(key) || key == keyInterrupt || key == keyKill }
