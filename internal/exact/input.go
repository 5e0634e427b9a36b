package exact

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"kshell/internal/group"
)

const (
	// unit is the size of the pieces that a large block is counted in, in bytes: what the far side moves at once.
	unit = 64 << 10
	// maxBlock bounds a block, in bytes. Each costs the far side a process.
	maxBlock = 1 << 20
)

// errCancelled is what Read returns when the run is over.
var errCancelled = errors.New("the run is over")

// errBroken is what wait returns when the source's Read has panicked.
var errBroken = errors.New("the input cannot be read")

// input makes the lines and blocks that the script reads: `SIZE COUNT` and as many bytes; `end` behind the last block; `?` to be answered
// on both streams. What the source gives while a block is on its way becomes the next block.
type input struct {
	source io.Reader

	filling group.Group // the goroutine that reads the source
	mu      sync.Mutex
	changed sync.Cond
	begun   bool   // filling was started
	broken  bool   // filling has panicked
	next    []byte // read, not yet in a block
	err     error  // of the source; io.EOF at its end
	told    bool   // of the end
	bytes   int64  // in blocks, so far
	nudged  bool
	halted  bool // nothing more is to be sent
	over    bool // nothing more is read

	// The reader's.
	block []byte // what is left of the line and the block being sent
	spare []byte // the buffer that is not next
	line  []byte
}

func (in *input) init(source io.Reader) {
	in.source = source
	in.changed.L = &in.mu
	in.filling.OnPanic = func() { in.set(&in.broken) }
}

// begin starts to read the source.
func (in *input) begin() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.source == nil || in.begun || in.over {
		return
	}
	in.begun = true
	in.filling.Go(in.fill)
}

// fill reads the source. cancel ends it and waits for it.
func (in *input) fill() {
	piece := make([]byte, 2*unit)
	for {
		n, err := in.source.Read(piece)
		if !in.add(piece[:n], err) || err != nil {
			return
		}
	}
}

// add blocks while a whole block waits already, and says whether to go on.
func (in *input) add(p []byte, err error) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	for len(in.next)+len(p) > maxBlock && !in.over && !in.halted {
		in.changed.Wait()
	}
	in.next = append(in.next, p...)
	in.err = err
	in.changed.Broadcast()
	return !in.over && !in.halted
}

// sent says how many bytes have been sent, at least in part, and whether that was all of them.
func (in *input) sent() (n int64, whole bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.bytes, in.told && errors.Is(in.err, io.EOF)
}

// nudge asks for a `?` line.
func (in *input) nudge() { in.set(&in.nudged) }

// stop sends nothing more: the command has ended.
func (in *input) stop() { in.set(&in.halted) }

func (in *input) set(flag *bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	*flag = true
	in.changed.Broadcast()
}

// ceased says whether nothing more is to be sent, not even the rest of a block.
func (in *input) ceased() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.halted || in.over
}

// cancel makes Read return, and waits for fill if interrupt can end its Read.
func (in *input) cancel(interrupt func() bool) {
	in.set(&in.over)
	in.mu.Lock()
	begun := in.begun
	in.mu.Unlock()
	if begun && interrupt != nil && interrupt() {
		in.filling.Wait()
	}
}

// Read implements io.Reader. A panic of the source's Read comes out of it.
func (in *input) Read(p []byte) (int, error) {
	if in.ceased() || len(in.line) == 0 && len(in.block) == 0 {
		in.line, in.block = nil, nil
		switch err := in.wait(); {
		case errors.Is(err, errBroken):
			in.filling.Wait() // panics
			return 0, err
		case err != nil:
			return 0, err
		}
	}
	n := copy(p, in.line)
	in.line = in.line[n:]
	k := copy(p[n:], in.block)
	in.block = in.block[k:]
	return n + k, nil
}

// wait waits for something to send, and makes line and block of it.
func (in *input) wait() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	for {
		switch {
		case in.broken:
			return errBroken
		case in.over:
			return errCancelled
		case in.halted:
		case in.nudged:
			in.nudged = false
			in.line = []byte("?\n")
			return nil
		case len(in.next) > 0:
			in.compose()
			in.changed.Broadcast()
			return nil
		case in.err != nil && !in.told:
			return in.finish()
		}
		in.changed.Wait()
	}
}

// compose makes a block of what waits: whole units, or what is less than one.
func (in *input) compose() {
	size, count := unit, len(in.next)/unit
	if count == 0 {
		size, count = len(in.next), 1
	}
	in.line = fmt.Appendf(nil, "%d %d\n", size, count)
	n := size * count
	in.bytes += int64(n)
	in.block, in.spare, in.next = in.next[:n], in.next, append(in.spare[:0], in.next[n:]...)
}

// finish tells the end of the source; an error of it is the Read's, and no end.
func (in *input) finish() error {
	in.told = true
	if !errors.Is(in.err, io.EOF) {
		return in.err
	}
	in.line = []byte("end\n")
	return nil
}
