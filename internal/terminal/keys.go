package terminal

import (
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"kshell/internal/group"
)

// NoEscape is passed to [NewKeys] instead of an escape character. It means that
// there is no escape character: all input is passed on.
const NoEscape = 0

// maxKeys is the maximum amount of input that is buffered while the remote
// reads nothing, in bytes. Further input stays in the terminal. If it contains
// kshell's keys (see [Keys]), they have no effect until the remote reads again.
const maxKeys = 64 << 10

// Keys reads the user's input and removes kshell's keys from it: the escape
// character at the beginning of a line, followed by a key that is a command for
// kshell. Typing the escape character twice sends it once, as in ssh. A
// goroutine reads the source, so that kshell's keys work while the remote reads
// nothing.
//
// kshell's keys are recognized only if they are typed. They are ignored in a
// bracketed paste. They are also ignored if one read returns them together with
// other typed input, because that may be a paste without brackets. Input that
// the terminal itself sends (the answer to a query, a mouse event) is passed on
// and does not count as typed: the key after it can still be the first of a
// line.
//
// The methods may be called from any goroutine.
type Keys struct {
	source io.Reader
	stop   func() bool
	reader *group.Group // the goroutine that reads source

	// Set by any goroutine, and reset by the reading goroutine.
	newLine   atomic.Bool // the next key begins a line
	inputLost atomic.Bool // part of the input was dropped

	filter escapeFilter // used by the reading goroutine

	// Guarded by mu.
	mu         sync.Mutex
	changed    sync.Cond     // one of the fields below has changed
	readerDone chan struct{} // closed when the reading goroutine has ended; nil before the first Read
	buffer     []byte        // input that Read has not returned yet
	err        error         // the error of the last Read of source
	panicked   bool          // the reading goroutine has panicked
	canceled   bool
}

// NewKeys returns Keys that start to read source with the first Read. Cancel
// calls stop, which must end a Read of source and return a result as
// [Input.Cancel] does. The parameter known lists the keys that are commands for
// kshell. If one of them is typed after the escape character, the reading
// goroutine calls onKey with that key. onKey must not call Cancel, because
// Cancel waits for the reading goroutine; but onKey may start a goroutine that
// calls Cancel.
func NewKeys(source io.Reader, stop func() bool, escape byte, known string, onKey func(key byte)) *Keys {
	k := &Keys{source: source, stop: stop, filter: escapeFilter{escape: escape, known: known, lineStart: true}}
	k.filter.pass, k.filter.onKey = k.pass, onKey
	k.changed.L = &k.mu
	k.reader = group.New(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.panicked = true
		k.changed.Broadcast()
	})
	return k
}

// Read implements io.Reader. If the goroutine that reads the source has
// panicked, Read panics, too, so that the caller's deferred calls restore the
// terminal.
func (k *Keys) Read(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.readerDone == nil && !k.canceled {
		k.readerDone = make(chan struct{})
		k.reader.Go(k.read)
	}
	for len(k.buffer) == 0 && k.err == nil && !k.canceled && !k.panicked {
		k.changed.Wait()
	}
	switch {
	case k.panicked:
		k.reader.Wait() // panics
		return 0, errCanceled
	case k.canceled:
		return 0, errCanceled
	case len(k.buffer) == 0:
		return 0, k.err
	}
	n := copy(p, k.buffer)
	k.buffer = k.buffer[:copy(k.buffer, k.buffer[n:])]
	k.changed.Broadcast()
	return n, nil
}

// NewLine makes the next key the first of a line, whatever was typed before it.
func (k *Keys) NewLine() { k.newLine.Store(true) }

// OnTyped makes Keys call typed, in the goroutine that reads the source, when
// the user has typed a key or pasted text. What the terminal itself sends does
// not count. OnTyped must be called before the first Read.
func (k *Keys) OnTyped(typed func()) { k.filter.onTyped = typed }

// DropReports makes Keys drop what the terminal itself sends (reports), until the user
// types a key or uses the mouse. Use it if old output is written to the terminal
// again. That output may contain queries, and no program waits for the answers of
// the terminal any more. DropReports must be called before the first Read.
func (k *Keys) DropReports() { k.filter.dropReports = true }

// InputLost records that part of the input was dropped. The end of a paste or
// of an escape sequence may be in that part.
func (k *Keys) InputLost() { k.inputLost.Store(true) }

// Cancel makes Read return an error and waits until the source is no longer
// read. It returns false if the source may still be read: see [Input.Cancel].
func (k *Keys) Cancel() bool {
	k.mu.Lock()
	k.canceled = true
	k.changed.Broadcast()
	readerDone := k.readerDone
	k.mu.Unlock()
	if !k.stop() {
		return false
	}
	if readerDone != nil {
		<-readerDone
	}
	return true
}

// read reads the source until it fails or Cancel is called.
func (k *Keys) read() {
	defer close(k.readerDone)
	buf := make([]byte, 4<<10)
	for {
		n, err := k.source.Read(buf)
		if k.newLine.Swap(false) {
			k.filter.lineStart = true
		}
		if k.inputLost.Swap(false) {
			k.filter.parser = inputParser{}
		}
		k.filter.process(buf[:n])
		if k.readEnded(err) {
			return
		}
	}
}

// pass adds keys to the buffer. It blocks while the buffer is full.
func (k *Keys) pass(keys []byte) {
	if len(keys) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.buffer)+len(keys) > maxKeys && !k.canceled {
		k.changed.Wait()
	}
	k.buffer = append(k.buffer, keys...)
	k.changed.Broadcast()
}

// readEnded stores the error of the last read and reports whether reading ends.
func (k *Keys) readEnded(err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
	k.changed.Broadcast()
	return err != nil || k.canceled
}

// escapeFilter removes kshell's keys from the input.
type escapeFilter struct {
	escape byte
	known  string
	pass   func([]byte) // receives the input for the remote
	onKey  func(key byte)

	onTyped func() // may be nil; see Keys.OnTyped

	parser      inputParser
	dropReports bool // see Keys.DropReports

	lineStart bool   // the next key is at the beginning of a line
	held      bool   // the escape character was typed at the beginning of a line, and was not passed on yet
	pending   []byte // the unfinished sequence after the held escape character, or while reports are dropped
	out       []byte // the result of process; reused
}

// maxPending is the maximum size of an unfinished sequence that is held back,
// in bytes.
const maxPending = 4 << 10

// process filters the input of one read.
func (e *escapeFilter) process(p []byte) {
	typed, seen := e.countTyped(p), 0
	if typed > 0 && e.onTyped != nil {
		e.onTyped()
	}
	single := typed == 1 // if so, a held escape character is from an earlier read
	e.out = e.out[:0]
	for _, c := range p {
		mouse := e.parser.state == inMouse
		class := e.parser.next(c)
		if e.dropReports && e.dropReport(c, class, mouse) {
			continue
		}
		switch {
		case class == classReport:
			e.out = append(append(e.out, e.pending...), c)
			e.pending = e.pending[:0]
			continue
		case class == classPartial && e.held && len(e.pending) < maxPending:
			e.pending = append(e.pending, c)
			continue
		case class == classPartial:
			e.releaseHeld()
			e.out = append(e.out, c)
			continue
		case class == classKey && e.held && len(e.pending) == 0 && (single || typed == 2 && seen == 1):
			e.handleKey(c)
		case class == classKey && e.isEscape(c) && e.lineStart && !e.held && seen == 0 && typed <= 2:
			e.held = true
		default:
			e.releaseHeld()
			e.out = append(e.out, c)
			e.lineStart = class == classKey && isEnter(c)
		}
		seen++
	}
	if e.parser.state == inEscape { // the read ends with the key ESC
		e.stopDropping()
		e.releaseHeld()
	}
	e.pass(e.out)
}

// dropReport handles c, a byte of the given class, while reports are dropped. It
// reports whether c must not be passed on now, because c belongs to a report, or
// to an unfinished sequence that may be one. Otherwise, it calls stopDropping.
// mouse means that c is one of the bytes after ESC [ M in an X10 mouse report.
func (e *escapeFilter) dropReport(c byte, class inputClass, mouse bool) bool {
	mouse = mouse || class == classReport && (c == 'M' || c == 'm')
	switch {
	case class == classPartial && len(e.pending) < maxPending:
		e.pending = append(e.pending, c)
		return true
	case class == classReport && !mouse:
		e.pending = e.pending[:0]
		return true
	}
	e.stopDropping()
	return false
}

// stopDropping ends the dropping of reports, and passes on the unfinished sequence
// that may have been a report.
func (e *escapeFilter) stopDropping() {
	if e.dropReports {
		e.dropReports = false
		e.out, e.pending = append(e.out, e.pending...), e.pending[:0]
	}
}

func (e *escapeFilter) isEscape(c byte) bool { return e.escape != NoEscape && c == e.escape }

// countTyped returns how many bytes of a read were typed. It does not count
// reports of the terminal. It counts an unfinished sequence at the end of the
// read only if the sequence is ESC alone, which may be a key.
func (e *escapeFilter) countTyped(p []byte) int {
	parser, n, begun := e.parser, 0, 0 // begun: bytes of the unfinished sequence
	for _, c := range p {
		switch parser.next(c) {
		case classReport:
			begun = 0
		case classPartial:
			begun++
		case classRestart:
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

// handleKey handles the key after the escape character.
func (e *escapeFilter) handleKey(key byte) {
	e.held = false
	switch {
	case key == e.escape:
		e.lineStart = false
		e.out = append(e.out, key)
	case strings.IndexByte(e.known, key) >= 0:
		e.lineStart = true
		e.onKey(key)
	default:
		e.lineStart = isEnter(key)
		e.out = append(e.out, e.escape, key)
	}
}

// releaseHeld passes on the held escape character and the sequence after it,
// because the next input is not one of kshell's keys.
func (e *escapeFilter) releaseHeld() {
	if !e.held {
		return
	}
	e.out = append(append(e.out, e.escape), e.pending...)
	e.held, e.lineStart, e.pending = false, false, e.pending[:0]
}

// isEnter reports whether the key ends a line.
func isEnter(key byte) bool { return key == '\r' || key == '\n' }
