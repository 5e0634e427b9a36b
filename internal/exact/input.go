package exact

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"kshell/internal/group"
)

const (
	// unit is the number of bytes that the remote copies at once. A large block
	// consists of several units.
	unit = 64 << 10
	// minBlock and maxBlock are the smallest and the largest value of input.limit,
	// in bytes. Blocks are large because the remote starts one process for each.
	minBlock = unit
	maxBlock = 1536 << 10
	// pieceSize is the number of bytes that are read from the source at once.
	pieceSize = 128 << 10
	// maxText is the largest size of an escaped text, in bytes. The remote starts
	// no program for a text, but reads it slowly, byte by byte.
	maxText = 600
)

// If a block was sent in less than fastBlock, the next blocks may be larger. If it
// took longer than slowBlock, the next ones are smaller, because `?` and empty
// lines can only be sent between blocks.
const (
	fastBlock = 50 * time.Millisecond
	slowBlock = 500 * time.Millisecond
)

// errCanceled is the error of input.Read after input.cancel.
var errCanceled = errors.New("the run was canceled")

// errSourcePanicked is the error of input.wait after the source's Read has
// panicked.
var errSourcePanicked = errors.New("the input cannot be read")

// input produces what the script reads:
//
//   - the first part of the script, if it is sent on stdin
//   - the rest of the script, when the command has started or the script requests
//     it; if the script requests it first, and short input is available, a text
//     with that input precedes the rest
//   - blocks of the command's input: a line `SIZE COUNT` and SIZE*COUNT bytes
//   - instead of a short block, a line `text TEXT`, whose TEXT is a format of
//     printf
//   - a line `end` after the last block
//
// Between these, and after `end`, it sends a line `?` or an empty line when
// that is requested. The script answers `?` on both streams. An empty line
// makes the script check its processes. After the end of the command, it shows
// the script that the client is still connected.
//
// Input that arrives while a block is being sent becomes the next block.
type input struct {
	source  io.Reader
	filling *group.Group             // the goroutine that reads the source
	rest    []byte                   // the rest of the script
	early   func(text []byte) []byte // returns the message with the text that is sent before rest

	mu             sync.Mutex
	changed        sync.Cond // one of the fields below has changed
	script         []byte    // the first part of the script, if it is sent on stdin
	scriptDue      bool      // script must be sent
	restDue        bool      // rest must be sent
	restRequested  bool      // restDue was set before, or rest must not be sent any more
	running        bool      // the command is running: the script answers `?`
	started        bool      // filling was started
	peeked         bool      // Peek was called, or must not be called any more
	earlyBytes     int       // the number of bytes of the source that were sent before rest
	panicked       bool      // filling has panicked
	buffered       ring      // the unsent rest of the block, and then the bytes of the next blocks
	blockRest      int       // the length of the unsent rest of the block, in bytes
	err            error     // the error of the source's Read; io.EOF at the end of the input
	endSent        bool      // the end was sent, or Read returned err
	limit          int       // the largest size of the next block; also of the bytes that are buffered after the block
	blockSize      int       // the size of the last block, or 0 after adaptLimit
	blockBegun     time.Time // when the last block was made
	sentBytes      int64     // the number of bytes in the blocks whose sending has begun
	pingRequested  bool      // a `?` line must be sent
	checkRequested bool      // an empty line must be sent
	stopped        bool      // only the rest of the script and empty lines are sent
	canceled       bool      // nothing more is read or sent

	// Used only by the goroutine that calls Read.
	line []byte // the unsent rest of the line that is sent before the block
	// lineIsRest means that line belongs to the rest of the script, which is
	// sent even if stopped is set.
	lineIsRest bool
}

func (in *input) init(source io.Reader) {
	in.source, in.limit = source, maxBlock
	in.changed.L = &in.mu
	in.filling = group.New(func() { in.set(&in.panicked) })
}

// setScript sets the first part of the script. It is sent before anything else.
func (in *input) setScript(script []byte) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.script, in.scriptDue = script, true
	in.changed.Broadcast()
}

// start sends the rest of the script, unless it was sent before, and starts the
// goroutine that reads the source.
func (in *input) start() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.running = true
	in.requestRest()
	if in.source == nil || in.started || in.canceled {
		return
	}
	in.started = true
	in.filling.Go(in.fill)
}

// sendRest sends the rest of the script, unless it was sent before.
func (in *input) sendRest() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.requestRest()
}

// requestRest sets restDue, unless restRequested is set. mu is locked.
func (in *input) requestRest() {
	in.restDue = in.restDue || !in.restRequested && len(in.rest) > 0
	in.restRequested = true
	in.changed.Broadcast()
}

// fill reads the source until a Read fails, or until stop or cancel was called.
// It discards the bytes that were sent before rest.
func (in *input) fill() {
	piece := make([]byte, pieceSize)
	if _, err := io.ReadFull(in.source, piece[:in.earlyBytes]); err != nil {
		in.add(nil, err)
		return
	}
	for {
		n, err := in.source.Read(piece)
		if !in.add(piece[:n], err) || err != nil {
			return
		}
	}
}

// add appends p to buffered and stores err. It blocks while hasRoom is false. It reports
// whether fill must continue to read.
func (in *input) add(p []byte, err error) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for !in.canceled && !in.stopped && !in.hasRoom(len(p)) {
		in.changed.Wait()
	}
	if in.canceled || in.stopped {
		return false
	}
	in.buffered.write(p)
	in.err = err
	in.changed.Broadcast()
	return true
}

// hasRoom reports whether add can append n bytes: buffered then has at most maxBlock
// bytes, and the bytes after the block are at most limit, or only these n.
func (in *input) hasRoom(n int) bool {
	next := in.buffered.len - in.blockRest
	return in.buffered.len+n <= maxBlock && (next == 0 || next+n <= in.limit)
}

// sent returns the number of bytes in the blocks whose sending has begun, and
// whether the end of the input was sent.
func (in *input) sent() (n int64, complete bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.sentBytes, in.endSent && errors.Is(in.err, io.EOF)
}

// ping requests a `?` line. The line is sent when the command is running: before
// that, it would become a line of the script.
func (in *input) ping() { in.set(&in.pingRequested) }

// check requests an empty line. It returns false if the input was canceled.
func (in *input) check() bool {
	in.set(&in.checkRequested)
	_, canceled := in.ended()
	return !canceled
}

// reset prepares for a new connection. The source must be nil.
func (in *input) reset() {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.running, in.pingRequested, in.checkRequested, in.stopped = false, false, false, false
	in.scriptDue, in.restDue, in.restRequested = len(in.script) > 0, false, false
	in.changed.Broadcast()
}

// stop makes Read send no more input, not even the rest of a block. Read still
// sends the rest of the script and the empty lines that check requests, unless
// all is true.
func (in *input) stop(all bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.stopped = true
	if all {
		in.restDue, in.restRequested, in.checkRequested = false, true, false
	}
	in.changed.Broadcast()
}

func (in *input) set(flag *bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	*flag = true
	in.changed.Broadcast()
}

// ended returns the fields stopped and canceled, which mu protects.
func (in *input) ended() (stopped, canceled bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.stopped, in.canceled
}

// cancel makes Read return an error. interrupt, which may be nil, ends a Read
// of the source, and returns false if it cannot do so. If interrupt returns
// true, cancel also waits until fill has ended.
func (in *input) cancel(interrupt func() bool) {
	in.set(&in.canceled)
	in.mu.Lock()
	started := in.started
	in.mu.Unlock()
	if started && interrupt != nil && interrupt() {
		in.filling.Wait()
	}
}

// Read implements io.Reader. If the source's Read has panicked, Read panics,
// too.
func (in *input) Read(p []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.stopped && !in.lineIsRest || in.canceled {
		in.line = nil
		in.buffered.discard(in.blockRest)
		in.blockRest = 0
	}
	if len(in.line) == 0 && in.blockRest == 0 {
		switch err := in.wait(); {
		case errors.Is(err, errSourcePanicked):
			in.mu.Unlock()
			defer in.mu.Lock()
			in.filling.Wait() // panics
			return 0, err
		case err != nil:
			return 0, err
		}
	}
	n := copy(p, in.line)
	in.line = in.line[n:]
	k := in.buffered.copyTo(p[n:][:min(len(p)-n, in.blockRest)])
	in.buffered.discard(k)
	in.blockRest -= k
	in.changed.Broadcast()
	return n + k, nil
}

// wait blocks until there is something to send, and sets line and blockRest. mu is
// locked.
func (in *input) wait() error {
	in.lineIsRest = false
	in.adaptLimit()
	for {
		switch {
		case in.panicked:
			return errSourcePanicked
		case in.canceled:
			return errCanceled
		case in.scriptDue && !in.stopped:
			in.scriptDue = false
			in.line = in.script
			return nil
		case in.restDue && in.mayPeek():
			if in.peek() {
				return nil
			}
			continue
		case in.restDue:
			in.restDue = false
			in.line, in.lineIsRest = in.rest, true
			return nil
		case in.checkRequested:
			in.checkRequested = false
			in.line = []byte("\n")
			return nil
		case in.stopped:
		case in.pingRequested && in.running:
			in.pingRequested = false
			in.line = []byte("?\n")
			return nil
		case in.buffered.len > 0:
			in.makeBlock()
			in.changed.Broadcast()
			return nil
		case in.err != nil && !in.endSent:
			return in.sendEnd()
		}
		in.changed.Wait()
	}
}

// mayPeek reports whether to call peek: the command is not running yet, so that fill
// does not read the source.
func (in *input) mayPeek() bool {
	_, ok := in.source.(Peeker)
	return ok && !in.peeked && !in.running && !in.stopped
}

// peek makes the next line a message with the input that is available, if it is short
// and the command is still not running. It reports whether it has done so. mu is
// locked, but not during the call of Peek.
func (in *input) peek() bool {
	in.peeked = true
	in.mu.Unlock()
	p := in.source.(Peeker).Peek(maxText + 1)
	in.mu.Lock()
	text, ok := escape(p)
	if !ok || len(p) == 0 || in.running || in.stopped || in.canceled {
		return false
	}
	in.line = in.early(text)
	in.earlyBytes = len(p)
	in.sentBytes += int64(len(p))
	return true
}

// makeBlock makes a block of the first bytes of buffered: all complete units up to
// limit or, if there is no complete unit, all bytes. If escape can encode all
// bytes, makeBlock sets line to a text instead. The bytes of a block stay in buffered.
func (in *input) makeBlock() {
	var start [maxText + 1]byte
	all := in.buffered.len
	if text, ok := escape(start[:in.buffered.copyTo(start[:])]); ok && all <= maxText {
		in.line = fmt.Appendf(nil, "text %s\n", text)
		in.sentBytes += int64(all)
		in.buffered.discard(all)
		return
	}
	size, count := unit, min(all, in.limit)/unit
	if count == 0 {
		size, count = all, 1
	}
	in.line = fmt.Appendf(nil, "%d %d\n", size, count)
	in.blockRest = size * count
	in.sentBytes += int64(in.blockRest)
	in.blockSize, in.blockBegun = in.blockRest, time.Now()
}

// adaptLimit is called after a block was sent. It sets limit by the time that this
// took.
func (in *input) adaptLimit() {
	switch took := time.Since(in.blockBegun); {
	case in.blockSize == 0:
	case took > slowBlock:
		in.limit = max(in.limit/2, minBlock)
	case took < fastBlock && in.blockSize > in.limit/2:
		in.limit = min(2*in.limit, maxBlock)
	}
	in.blockSize = 0
	in.changed.Broadcast()
}

// escape returns p as a text: a format with which printf writes p, which the shell's
// read does not change, and which can be part of a word in single quotes. It returns
// false if the text would be longer than maxText.
func escape(p []byte) (text []byte, ok bool) {
	for i, c := range p {
		plain := c > ' ' && c <= '~' && !strings.ContainsRune(`%\-'`, rune(c)) || c == ' ' && i > 0 && i < len(p)-1
		switch {
		case len(text) > maxText-len(`\000`):
			return nil, false
		case plain:
			text = append(text, c)
		default:
			text = fmt.Appendf(text, `\%03o`, c)
		}
	}
	return text, true
}

// sendEnd makes `end` the next line. If reading the source has failed, sendEnd
// returns that error instead.
func (in *input) sendEnd() error {
	in.endSent = true
	if !errors.Is(in.err, io.EOF) {
		return in.err
	}
	in.line = []byte("end\n")
	return nil
}
