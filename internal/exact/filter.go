package exact

import (
	"bytes"
	"io"
	"sync/atomic"
	"time"
)

// markStart is the first byte of a mark. A mark is a random text that the
// script writes before each of its messages, so that the client can tell them
// from the command's output. The rest of the mark is hexadecimal, so it does
// not contain this byte again.
const markStart = "\x1e"

const (
	maxMessage = 64      // bytes
	maxEarly   = 1 << 10 // bytes of filter.early
)

// pingAfter is how long output that may be the beginning of a mark is held back
// before the client requests a message from the script.
const pingAfter = 50 * time.Millisecond

// filter passes on one stream of the remote, and removes the script's messages
// from it. A message is preceded by a mark and followed by a newline.
//
// Output that may be the beginning of a mark is held back until more arrives.
// The command may write nothing more, so after pingAfter the client requests a
// message from the script, which releases the output.
type filter struct {
	mark   []byte
	to     io.Writer // nil discards the output
	report func(message string) (last bool, err error)
	ping   func() // requests a message from the script

	started   bool   // the output is the command's; before that, it is error messages of the shell
	early     []byte // error messages of the shell
	matched   int    // how many bytes of the output are held back because they equal the start of the mark
	inMessage bool
	message   []byte
	ended     bool        // the last message was read; what follows is not from the command
	written   atomic.Bool // output of the command has arrived
	pingTimer *time.Timer
}

// Write implements io.Writer.
func (f *filter) Write(p []byte) (int, error) {
	n := len(p)
	if f.pingTimer != nil {
		f.pingTimer.Stop()
		f.pingTimer = nil
	}
	for len(p) > 0 && !f.ended {
		var err error
		if p, err = f.step(p); err != nil {
			return n, err
		}
	}
	if f.matched > 0 {
		f.pingTimer = time.AfterFunc(pingAfter, f.ping)
	}
	return n, nil
}

// reset prepares for the stream of a new connection. started reports whether
// the output is the command's from the beginning, as in the field started.
func (f *filter) reset(started bool) {
	if f.pingTimer != nil {
		f.pingTimer.Stop()
		f.pingTimer = nil
	}
	f.started, f.early = started, nil
	f.matched, f.inMessage, f.message, f.ended = 0, false, nil, false
	f.written.Store(false)
}

// step processes the beginning of p, and returns the rest.
func (f *filter) step(p []byte) ([]byte, error) {
	switch {
	case f.inMessage:
		return f.readMessage(p)
	case f.matched > 0:
		return f.continueMark(p)
	}
	i := bytes.Index(p, f.mark)
	if i >= 0 {
		f.inMessage = true
		return p[i+len(f.mark):], f.write(p[:i])
	}
	tail := bytes.LastIndexByte(p[max(0, len(p)-len(f.mark)):], markStart[0])
	if tail < 0 {
		return nil, f.write(p)
	}
	tail += max(0, len(p)-len(f.mark))
	if !bytes.HasPrefix(f.mark, p[tail:]) {
		return nil, f.write(p)
	}
	f.matched = len(p) - tail
	return nil, f.write(p[:tail])
}

// continueMark compares p with the rest of a mark that began in an earlier
// Write.
func (f *filter) continueMark(p []byte) ([]byte, error) {
	n := 0
	for n < len(p) && f.matched+n < len(f.mark) && p[n] == f.mark[f.matched+n] {
		n++
	}
	f.matched += n
	switch {
	case f.matched == len(f.mark):
		f.matched, f.inMessage = 0, true
	case n < len(p): // the held bytes are not a mark; the next mark begins at p[n] or later
		held := f.mark[:f.matched]
		f.matched = 0
		return p[n:], f.write(held)
	}
	return p[n:], nil
}

// readMessage reads a message up to its newline.
func (f *filter) readMessage(p []byte) ([]byte, error) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		f.message = append(f.message, p...)
		if len(f.message) > maxMessage {
			return nil, errBadMessage
		}
		return nil, nil
	}
	f.message = append(f.message, p[:i]...)
	message := string(f.message)
	f.message, f.inMessage, f.started = f.message[:0], false, true
	var err error
	f.ended, err = f.report(message)
	return p[i+1:], err
}

// write passes on output that contains no message.
func (f *filter) write(p []byte) error {
	switch {
	case len(p) == 0:
	case !f.started:
		f.early = append(f.early, p[:min(len(p), maxEarly-len(f.early))]...)
	default:
		f.written.Store(true)
		if f.to != nil {
			_, err := f.to.Write(p)
			return err
		}
	}
	return nil
}
