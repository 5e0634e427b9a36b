package exact

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"kshell/internal/group"
)

const (
	// unit is the size in bytes that the remote copies at once. A large block is a
	// number of units.
	unit = 64 << 10
	// maxBlock is the largest block, in bytes. The remote starts one process for
	// each block.
	maxBlock = 1 << 20
)

// errCancelled is the error of Read after cancel.
var errCancelled = errors.New("the run is over")

// errBroken is the error of wait after the source's Read has panicked.
var errBroken = errors.New("the input cannot be read")

// input produces the lines and blocks that the script reads: a line `SIZE COUNT`
// and SIZE*COUNT bytes; `end` after the last block; `?`, which the script answers
// on both streams. Input that arrives while a block is being sent becomes the next
// block.
type input struct {
	source io.Reader

	filling group.Group // the goroutine that reads the source
	mu      sync.Mutex
	changed sync.Cond
	begun   bool   // filling was started
	broken  bool   // filling has panicked
	next    []byte // read, not yet in a block
	err     error  // of the source; io.EOF at its end
	told    bool   // the remote was sent the end, or Read returned err
	bytes   int64  // in blocks, so far
	nudged  bool   // a `?` line is to be sent
	halted  bool   // nothing more is sent
	over    bool   // nothing more is read

	// Used only by the goroutine that calls Read.
	block []byte // the unsent rest of the block
	spare []byte // the buffer that is not next
	line  []byte // the unsent rest of the line before the block
}

func (in *input) init(source io.Reader) {
	in.source = source
	in.changed.L = &in.mu
	in.filling.OnPanic = func() { in.set(&in.broken) }
}

// begin starts the goroutine that reads the source.
func (in *input) begin() {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.source == nil || in.begun || in.over {
		return
	}
	in.begun = true
	in.filling.Go(in.fill)
}

// fill reads the source until cancel, which waits for fill.
func (in *input) fill() {
	piece := make([]byte, 2*unit)
	for {
		n, err := in.source.Read(piece)
		if !in.add(piece[:n], err) || err != nil {
			return
		}
	}
}

// add appends to next. It blocks while next would exceed maxBlock, and reports
// whether to continue reading.
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

// sent returns the number of bytes in the blocks whose sending has begun, and
// whether the end of the input was sent.
func (in *input) sent() (n int64, whole bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.bytes, in.told && errors.Is(in.err, io.EOF)
}

// nudge requests a `?` line.
func (in *input) nudge() { in.set(&in.nudged) }

// stop makes Read send nothing more: the command has ended.
func (in *input) stop() { in.set(&in.halted) }

func (in *input) set(flag *bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	*flag = true
	in.changed.Broadcast()
}

// ceased reports whether nothing more is to be sent, not even the rest of a block.
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

// Read implements io.Reader. If the source's Read has panicked, Read panics, too.
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

// wait blocks until there is something to send, and sets line and block.
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

// compose makes a block of next: its whole units, or all of it if it is shorter
// than one unit.
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

// finish sends the end of the source. If reading it failed, Read returns the error
// instead, and no end is sent.
func (in *input) finish() error {
	in.told = true
	if !errors.Is(in.err, io.EOF) {
		return in.err
	}
	in.line = []byte("end\n")
	return nil
}
