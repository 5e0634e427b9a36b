package terminal

import (
	"bytes"
	"sync"
	"time"
)

// guardPause is how long nothing is typed before what follows is a new line.
const guardPause = 2 * time.Second

// The keys that give a line up. Enter ends it, too.
const (
	keyInterrupt = 0x03 // Ctrl-C
	keyKill      = 0x15 // Ctrl-U
)

// LineGuard keeps a line from being run that has lost keys to a broken connection.
// It stands between the keys and the connections, and knows of the line that is
// being typed only whether it was begun: something was typed since the last Enter,
// Ctrl-C or Ctrl-U. What the terminal sends by itself is not typed, and always
// passed on.
//
// A new connection leads to a new shell, which does not have the beginning of a
// line that was begun before. The rest of the line is discarded: up to and with
// Enter, Ctrl-C or Ctrl-U, or until nothing is typed for 2 s after the user was
// told of the new shell. A paste is discarded to its end: one without brackets is
// what arrives together, and only an Enter at its end counts.
//
// With SameShell, a new connection leads to the shell of before, which may have
// part of the line. What is typed is passed on, except for the next Enter: Withheld
// is called instead, and Enter once more runs the line. The rest of a paste is
// discarded. The key that ends a line may be lost, too, after a part of the line: it
// counts as received when the remote has written something since, for Enter a line
// feed, which is how terminals echo it.
//
// Filter is called by one goroutine, the other methods by any.
type LineGuard struct {
	// SameShell says that all connections lead to the same shell.
	SameShell bool
	// Withheld is called by Filter when an Enter was not passed on; nil: nothing is.
	Withheld func()

	mu        sync.Mutex
	connected time.Time // when the user was told of the connection

	parser  inputParser
	pending []byte // an unfinished sequence, discarded unless it is a report
	out     []byte
	begun   bool      // a line, on connection line
	line    int       // 0: while there was no connection
	typed   time.Time // the last key

	// The rest is used with SameShell.
	number  int  // of the last connection
	dropped bool // a line was begun while there was no connection, and is not ended
	missing bool // the shell's line may lack keys
	inPaste bool // which began on connection paste
	paste   int
	opened  bool // the shell was sent the beginning of a paste, and not the end
	awaits  byte // the key that has ended the line, until the shell has replied to it; 0: it has
}

// Connected records that the user is told of a new connection, and reports whether
// a line was begun before.
func (g *LineGuard) Connected() (begun bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.connected = time.Now()
	return g.begun
}

// Wrote records output of the remote.
func (g *LineGuard) Wrote(p []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.awaits == keyInterrupt || g.awaits == keyKill || bytes.IndexByte(p, '\n') >= 0 {
		g.awaits = 0
	}
}

// Lost records that part of the input was dropped, perhaps with the end of a paste.
func (g *LineGuard) Lost() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parser, g.inPaste, g.pending = inputParser{}, false, nil
}

// Filter takes what was typed and returns what is to be sent on a connection.
// Connections are numbered from 1; 0 is none, and nothing is to be sent. The result
// is valid until the next call.
func (g *LineGuard) Filter(p []byte, connection int) []byte {
	if g.filter(p, connection) && g.Withheld != nil {
		g.Withheld()
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

// lastEnter returns the index of an Enter after which nothing is typed in p, or -1.
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

// newShell filters what is typed at a shell that is new with each connection.
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

// unfinished takes a byte that was not typed, or of which that is not known yet.
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

// sameShell filters what is typed at a shell that outlives its connections.
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

// send passes a key on. (One that ends an empty line may as well be lost.)
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

// pasted takes a byte of a paste. One that began on another connection is discarded,
// except for its end: without that, a shell takes what is typed then for pasted.
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
