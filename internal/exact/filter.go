package exact

import (
	"bytes"
	"io"
	"time"
)

// lead begins a mark. The rest of it is hexadecimal, so a mark can begin nowhere within another.
const markStart = "\x1e"

const (
	maxMessage = 64      // the script's words, in bytes
	maxEarly   = 1 << 10 // what is kept of a shell's own trouble, in bytes
)

// filter passes one stream of the far side on, and takes the script's words out of it: a mark, words, a newline.
//
// The end of a piece that could be the beginning of a mark is held back until more comes. So that a peer who waits for these very bytes
// does not wait for ever, the far side is then nudged to write something behind them.
type filter struct {
	mark   []byte
	to     io.Writer // nil discards
	report func(words string) (last bool, err error)
	ping   func()

	started   bool   // what comes is the command's; before: the shell's own trouble
	early     []byte // that
	matched   int    // how much of a mark has come
	inMessage bool
	message   []byte
	ended     bool // the last words have come: what follows is not the command's
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

// reset forgets what it was in the midst of.
func (f *filter) reset() { f.matched, f.inMessage, f.message, f.ended = 0, false, nil, false }

// step takes something from the front of p, and returns the rest.
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

// compare goes on with a mark that began in an earlier piece.
func (f *filter) continueMark(p []byte) ([]byte, error) {
	n := 0
	for n < len(p) && f.matched+n < len(f.mark) && p[n] == f.mark[f.matched+n] {
		n++
	}
	f.matched += n
	switch {
	case f.matched == len(f.mark):
		f.matched, f.inMessage = 0, true
	case n < len(p): // it was none; another one can only begin here
		was := f.mark[:f.matched]
		f.matched = 0
		return p[n:], f.write(was)
	}
	return p[n:], nil
}

// hear collects the script's words to their newline.
func (f *filter) readMessage(p []byte) ([]byte, error) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		f.message = append(f.message, p...)
		return nil, f.checkLength()
	}
	f.message = append(f.message, p[:i]...)
	words := string(f.message)
	f.message, f.inMessage, f.started = f.message[:0], false, true
	var err error
	f.ended, err = f.report(words)
	return p[i+1:], err
}

func (f *filter) checkLength() error {
	if len(f.message) > maxMessage {
		return errBadMessage
	}
	return nil
}

// pass hands p on.
func (f *filter) write(p []byte) error {
	switch {
	case len(p) == 0:
	case !f.started:
		f.early = append(f.early, p[:min(len(p), maxEarly-len(f.early))]...)
	case f.to != nil:
		_, err := f.to.Write(p)
		return err
	}
	return nil
}
