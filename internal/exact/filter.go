package exact

import (
	"bytes"
	"io"
	"time"
)

// lead begins a mark. The rest of it is hexadecimal, so a mark can begin nowhere within another.
const lead = "\x1e"

const (
	maxWords = 64      // the script's words, in bytes
	maxEarly = 1 << 10 // what is kept of a shell's own trouble, in bytes
)

// filter passes one stream of the far side on, and takes the script's words out of it: a mark, words, a newline.
//
// The end of a piece that could be the beginning of a mark is held back until more comes. So that a peer who waits for these very bytes
// does not wait for ever, the far side is then nudged to write something behind them.
type filter struct {
	mark   []byte
	to     io.Writer // nil discards
	report func(words string) (last bool, err error)
	nudge  func()

	open    bool   // what comes is the command's; before: the shell's own trouble
	early   []byte // that
	held    int    // how much of a mark has come
	inWords bool
	words   []byte
	over    bool // the last words have come: what follows is not the command's
	waker   *time.Timer
}

// Write implements io.Writer.
func (f *filter) Write(p []byte) (int, error) {
	n := len(p)
	if f.waker != nil {
		f.waker.Stop()
		f.waker = nil
	}
	for len(p) > 0 && !f.over {
		var err error
		if p, err = f.step(p); err != nil {
			return n, err
		}
	}
	if f.held > 0 {
		f.waker = time.AfterFunc(nudgeAfter, f.nudge)
	}
	return n, nil
}

// reset forgets what it was in the midst of.
func (f *filter) reset() { f.held, f.inWords, f.words, f.over = 0, false, nil, false }

// step takes something from the front of p, and returns the rest.
func (f *filter) step(p []byte) ([]byte, error) {
	switch {
	case f.inWords:
		return f.hear(p)
	case f.held > 0:
		return f.compare(p)
	}
	i := bytes.Index(p, f.mark)
	if i >= 0 {
		f.inWords = true
		return p[i+len(f.mark):], f.pass(p[:i])
	}
	tail := bytes.LastIndexByte(p[max(0, len(p)-len(f.mark)):], lead[0])
	if tail < 0 {
		return nil, f.pass(p)
	}
	tail += max(0, len(p)-len(f.mark))
	if !bytes.HasPrefix(f.mark, p[tail:]) {
		return nil, f.pass(p)
	}
	f.held = len(p) - tail
	return nil, f.pass(p[:tail])
}

// compare goes on with a mark that began in an earlier piece.
func (f *filter) compare(p []byte) ([]byte, error) {
	n := 0
	for n < len(p) && f.held+n < len(f.mark) && p[n] == f.mark[f.held+n] {
		n++
	}
	f.held += n
	switch {
	case f.held == len(f.mark):
		f.held, f.inWords = 0, true
	case n < len(p): // it was none; another one can only begin here
		was := f.mark[:f.held]
		f.held = 0
		return p[n:], f.pass(was)
	}
	return p[n:], nil
}

// hear collects the script's words to their newline.
func (f *filter) hear(p []byte) ([]byte, error) {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		f.words = append(f.words, p...)
		return nil, f.bounded()
	}
	f.words = append(f.words, p[:i]...)
	words := string(f.words)
	f.words, f.inWords, f.open = f.words[:0], false, true
	var err error
	f.over, err = f.report(words)
	return p[i+1:], err
}

func (f *filter) bounded() error {
	if len(f.words) > maxWords {
		return errGarbled
	}
	return nil
}

// pass hands p on.
func (f *filter) pass(p []byte) error {
	switch {
	case len(p) == 0:
	case !f.open:
		f.early = append(f.early, p[:min(len(p), maxEarly-len(f.early))]...)
	case f.to != nil:
		_, err := f.to.Write(p)
		return err
	}
	return nil
}
