package terminal

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"kshell/internal/group"
)

// NoEscape switches the escape character off.
const NoEscape = 0

// maxKeys is the largest number of bytes that are buffered while the remote reads
// nothing. Further input stays in the terminal, and kshell's keys in it have no
// effect until then.
const maxKeys = 64 << 10

// Keys reads the user's input and removes kshell's keys from it: the escape
// character at the beginning of a line, followed by one of the known keys. Typing
// the escape character twice sends it once, as in ssh. A goroutine reads the
// source, so that kshell's keys work while the remote reads nothing.
//
// kshell's keys are recognized only if they are typed. They are ignored in a
// bracketed paste, and when one read returns them together with other input, as a
// paste without brackets does. Input that the terminal itself sends (the answer to
// a query, a mouse event) is passed on, and what follows it at the beginning of a
// line is still at the beginning of the line.
type Keys struct {
	source io.Reader
	stop   func() bool
	filter escapes
	anew   atomic.Bool // the next key begins a line
	lost   atomic.Bool // part of the input was dropped

	reader  group.Group
	mu      sync.Mutex
	changed sync.Cond
	reading chan struct{} // closed when the goroutine has ended; nil before it began
	typed   []byte
	err     error
	broken  bool // the goroutine has panicked
	over    bool
}

// NewKeys returns Keys that start to read source with the first Read. Cancel calls
// stop, which ends a Read of source as Input.Cancel does. The reading goroutine
// calls do with each of the known keys that is typed after the escape character.
// do must not call Cancel itself, only start a goroutine that does.
func NewKeys(source io.Reader, stop func() bool, escape byte, known string, do func(key byte)) *Keys {
	k := &Keys{source: source, stop: stop, filter: escapes{char: escape, known: known, fresh: true}}
	k.filter.pass, k.filter.do = k.pass, do
	k.changed.L = &k.mu
	k.reader.OnPanic = func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.broken = true
		k.changed.Broadcast()
	}
	return k
}

// Read implements io.Reader. If the goroutine that reads the source has panicked,
// Read panics, too, so that the caller's deferred calls restore the terminal.
func (k *Keys) Read(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reading == nil && !k.over {
		k.reading = make(chan struct{})
		k.reader.Go(k.read)
	}
	for len(k.typed) == 0 && k.err == nil && !k.over && !k.broken {
		k.changed.Wait()
	}
	switch {
	case k.broken:
		k.reader.Wait() // panics
		return 0, errCanceled
	case k.over:
		return 0, errCanceled
	case len(k.typed) == 0:
		return 0, k.err
	}
	n := copy(p, k.typed)
	k.typed = k.typed[:copy(k.typed, k.typed[n:])]
	k.changed.Broadcast()
	return n, nil
}

// NewLine makes the next key begin a line, whatever was typed before it. It may be
// called from any goroutine.
func (k *Keys) NewLine() { k.anew.Store(true) }

// InputLost records that part of the input was dropped, which may include the end of a
// paste or of an escape sequence. It may be called from any goroutine.
func (k *Keys) InputLost() { k.lost.Store(true) }

// Cancel makes Read return and waits until the source is no longer read. It returns
// false if it cannot ensure that: see [Input.Cancel].
func (k *Keys) Cancel() bool {
	k.mu.Lock()
	k.over = true
	k.changed.Broadcast()
	reading := k.reading
	k.mu.Unlock()
	if !k.stop() {
		return false
	}
	if reading != nil {
		<-reading
	}
	return true
}

func (k *Keys) read() {
	defer close(k.reading)
	buf := make([]byte, 4<<10)
	for {
		n, err := k.source.Read(buf)
		if k.anew.Swap(false) {
			k.filter.fresh = true
		}
		if k.lost.Swap(false) {
			k.filter.parser = inputParser{}
		}
		k.filter.read(buf[:n])
		if !k.goOn(err) {
			return
		}
	}
}

func (k *Keys) pass(keys []byte) {
	if len(keys) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.typed)+len(keys) > maxKeys && !k.over {
		k.changed.Wait()
	}
	k.typed = append(k.typed, keys...)
	k.changed.Broadcast()
}

func (k *Keys) goOn(err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
	k.changed.Broadcast()
	return err == nil && !k.over
}

// escapes separates kshell's keys from the other keys.
type escapes struct {
	char  byte
	known string
	pass  func([]byte) // receives the input for the remote
	do    func(key byte)

	parser  inputParser
	fresh   bool   // the next key is at the beginning of a line
	held    bool   // char was typed at the beginning of a line, and was not passed on yet
	pending []byte // the unfinished sequence after it
	out     []byte
}

// maxPending is the largest size of a sequence that is held back, in bytes.
const maxPending = 4 << 10

// read processes the input p of a single read.
func (e *escapes) read(p []byte) {
	typed, seen := e.typed(p), 0
	single := typed == 1 // the escape character, if held, came with an earlier read
	e.out = e.out[:0]
	for _, c := range p {
		class := e.parser.next(c)
		switch {
		case class == classReport:
			e.out = append(append(e.out, e.pending...), c)
			e.pending = e.pending[:0]
			continue
		case class == classPartial && e.held && len(e.pending) < maxPending:
			e.pending = append(e.pending, c)
			continue
		case class == classPartial:
			e.release()
			e.out = append(e.out, c)
			continue
		case class == classKey && e.held && (single || typed == 2 && seen == 1):
			e.after(c)
		case class == classKey && e.char != NoEscape && c == e.char && e.fresh && !e.held && seen == 0 && typed <= 2:
			e.held = true
		default:
			e.release()
			e.out = append(e.out, c)
			e.fresh = class == classKey && newLine(c)
		}
		seen++
	}
	if e.parser.state == inEscape { // the key ESC
		e.release()
	}
	e.pass(e.out)
}

// typed returns the number of bytes of a read that were typed. It does not count
// reports of the terminal or an unfinished sequence, except for ESC alone.
func (e *escapes) typed(p []byte) int {
	parser, n, begun := e.parser, 0, 0
	for _, c := range p {
		switch parser.next(c) {
		case classReport:
			begun = 0
		case classPartial:
			begun++
		case classAgain:
			n, begun = n+begun, 1
		default:
			n, begun = n+begun+1, 0
		}
	}
	if parser.state == inEscape {
		n += begun
	}
	return n
}

// after processes the key after the escape character.
func (e *escapes) after(key byte) {
	e.held = false
	switch {
	case key == e.char:
		e.fresh = false
		e.out = append(e.out, key)
	case strings.IndexByte(e.known, key) >= 0:
		e.fresh = true
		e.do(key)
	default:
		e.fresh = newLine(key)
		e.out = append(e.out, e.char, key)
	}
}

// release passes on the held escape character and the sequence after it: they are
// not for kshell.
func (e *escapes) release() {
	if !e.held {
		return
	}
	e.out = append(append(e.out, e.char), e.pending...)
	e.held, e.fresh, e.pending = false, false, e.pending[:0]
}

func newLine(key byte) bool { return key == '\r' || key == '\n' }
