package node

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Replay writes the output of a shell to To, each byte once and in order, across
// the streams of several connections.
//
// An attached stream begins somewhere in the output: what was printed before is
// only in the container's log. The two are joined by marks (see MarkCommand), which
// are printed into the shell's terminal and so appear in both. For each new
// stream the caller calls ExpectMark and has marks with that id printed until
// Joined is closed. The stream's output before the mark is dropped. Instead,
// the log is read from the position that the last stream reached to the mark.
// Marks are removed from the output, also those of other clients.
//
// The log does not have every byte of the stream: containerd's log lacks the
// CRs before an LF. So these are not counted, and a CR is added before each LF
// of the log.
//
// Write, WriteRest and ExpectMark must be called from one goroutine at a time; Joined
// and SkipMark may be called from any.
type Replay struct {
	Output io.Writer
	// Log opens the container's log. If follow is set, it brings what is
	// printed until it is closed or the context ends.
	Log func(ctx context.Context, from LogStart, follow bool) (io.ReadCloser, error)
	// Gap is called with the reason when output is missing: a *LogError if the
	// log could not be read. The stream goes on.
	OnGap func(err error)
	// Lost is called when the log cannot be read because there is no
	// connection: the stream is most likely lost, too. The caller has to drop
	// the stream, which is not joined, and to connect again.
	OnUnreachable func(err error)

	ctx context.Context // for reading the log in Write: see ExpectMark

	mu     sync.Mutex
	state  tapeState
	id     string // of the expected mark
	early  []byte // output before the mark, for SkipMark
	joined chan struct{}
	at     position
	ends   lineEnds
	broke  int    // streams in a row that were dropped for lack of a log
	held   []byte // what may be the beginning of a mark
}

type tapeState int

const (
	tapeHolds  tapeState = iota // until the mark
	tapePasses                  // the stream is joined, or never will be
)

// LogStart is where to begin reading the log.
type LogStart struct {
	Since time.Time // by the node's clock; zero: the beginning
	Tail  int64     // only this many lines from the end; 0: all
}

// position is how far the shell's output has been written: a number of bytes
// after a mark, as counted by lineEnds.
type position struct {
	mark  string // its id; empty: the log's beginning
	since time.Time
	bytes int64
	tail  int64 // nothing was written yet, and only this many last lines are wanted
	lost  bool  // the position is not known
}

// StartAtTail makes the output begin with the last lines of the log.
func (t *Replay) StartAtTail(lines int64) { t.at = position{tail: lines} }

// ExpectMark drops the output before the mark with this id. The mark may have a
// suffix after a dash, so that each attempt can have its own. ctx bounds the
// reading of the log at the mark.
func (t *Replay) ExpectMark(ctx context.Context, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ctx, t.state, t.id, t.held, t.early, t.joined = ctx, tapeHolds, id, nil, nil, make(chan struct{})
}

// Joined returns a channel that is closed when the mark was read or given up.
// It is nil before ExpectMark.
func (t *Replay) Joined() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.joined
}

// SkipMark stops waiting for the mark with this id: the output of the stream is
// written, and what was printed before the stream began is missing.
func (t *Replay) SkipMark(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state == tapeHolds && t.id == id {
		t.state, t.at = tapePasses, position{lost: true}
		_, _ = t.Output.Write(t.early) // the next Write fails as well
		t.early = nil
		close(t.joined)
	}
}

// Write takes the output of the stream. It implements io.Writer. Errors are
// those of To.
func (t *Replay) Write(p []byte) (int, error) {
	rest := p
	if len(t.held) > 0 {
		rest = slices.Concat(t.held, p)
		t.held = nil
	}
	for len(rest) > 0 {
		var err error
		if rest, err = t.take(rest); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// take handles the text before the next mark, and the mark, and returns the
// rest.
func (t *Replay) take(p []byte) (rest []byte, err error) {
	text, m, rest, whole := cutMark(p)
	if err := t.pass(text); err != nil {
		return nil, err
	}
	switch {
	case !whole:
		t.held = bytes.Clone(rest)
		return nil, nil
	case m != nil:
		return rest, t.meet(m)
	}
	return rest, nil
}

// maxEarly bounds the output before a mark that is kept, in bytes.
const maxEarly = 64 << 10

// keep stores output that comes before the expected mark. It reports false if
// no mark is expected.
func (t *Replay) keep(text []byte) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state != tapeHolds {
		return false
	}
	t.early = append(t.early, text...)
	t.early = t.early[max(0, len(t.early)-maxEarly):]
	return true
}

func (t *Replay) holds() (bool, string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state == tapeHolds, t.id
}

func (t *Replay) pass(text []byte) error {
	if t.keep(text) || len(text) == 0 {
		return nil
	}
	t.at.bytes += t.ends.count(text)
	_, err := t.Output.Write(text)
	return err
}

// meet handles a mark: if it is the expected one, it joins the stream.
func (t *Replay) meet(m *marked) error {
	holds, id := t.holds()
	switch {
	case !holds:
		t.at.bytes += t.ends.count(m.text) // it is in the log as well
		return nil
	case !m.is(id):
		return nil
	}
	t.mu.Lock()
	early := t.early
	t.id, t.early = "", nil // SkipMark has no effect from now on
	t.mu.Unlock()
	before := t.at.bytes
	err := t.replay(m.id)
	if err == nil || t.at.bytes > before {
		t.broke = 0
	}
	var unwritable *writeError
	if errors.As(err, &unwritable) {
		return unwritable.err
	}
	var broken *brokenError
	switch {
	case err != nil && t.ctx.Err() != nil: // the session has ended
		return nil
	case errors.As(err, &broken) && t.broke < patienceWithLogs:
		t.broke++
		t.OnUnreachable(err)
		return nil
	case err != nil:
		t.OnGap(err)
		if t.at.bytes == before { // nothing of the log was written: write the output before the mark instead
			if _, err := t.Output.Write(early); err != nil {
				return err
			}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.at, t.ends, t.early = position{mark: m.id, since: m.at}, lineEnds{}, nil
	if t.state == tapeHolds {
		t.state = tapePasses
		close(t.joined)
	}
	return nil
}

// errNowhere means that an earlier stream was joined without a mark.
var errNowhere = errors.New("where the output was interrupted is not known")

// replay writes the log from the position to a mark.
func (t *Replay) replay(until string) error {
	if t.at.lost {
		return errNowhere
	}
	return t.read(t.ctx, until, true)
}

// WriteRest writes the log after the position, when the shell has ended: servers may
// lose the end of a stream.
func (t *Replay) WriteRest(ctx context.Context) error {
	if t.at.lost {
		return nil
	}
	t.held = nil
	err := t.read(ctx, "", false)
	var unwritable *writeError
	if errors.As(err, &unwritable) {
		return unwritable.err
	}
	return err
}

// writeError is an error of To, as opposed to one of the log.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }

// maxUnplaced bounds what is kept of a log before its position is known, in
// bytes.
const maxUnplaced = 1 << 20

// reading is the state of reading one log.
type reading struct {
	tape     *Replay
	until    string
	found    bool  // the mark of the position was read
	seen     int64 // bytes after it, as counted by lineEnds
	unplaced []byte
	ends     lineEnds
	clean    []byte // scratch
}

// take processes as much of held as it can, and reports whether the mark until
// was read.
func (r *reading) take(held *[]byte, last bool) (done bool, err error) {
	for {
		text, m, rest, whole := cutMark(*held)
		if !whole && last { // it is not a mark
			text, rest, whole = *held, nil, true
		}
		if err := r.text(text, m != nil || last && whole); err != nil {
			return false, err
		}
		*held = rest
		if !whole || m == nil {
			return false, nil
		}
		switch {
		case m.id == r.until:
			return true, r.short()
		case !r.found && m.id == r.tape.at.mark:
			r.found, r.unplaced, r.ends = true, nil, lineEnds{}
		case r.found:
			r.pass(r.ends.count(m.text))
		}
	}
}

// text handles log text without marks. If whole is set, CRs at its end do not
// belong to an LF.
func (r *reading) text(p []byte, whole bool) error {
	r.clean = r.ends.strip(r.clean[:0], p)
	if whole {
		r.clean = r.ends.flush(r.clean)
	}
	p = r.clean
	if !r.found {
		r.unplaced = append(r.unplaced, p...)
		r.unplaced = r.unplaced[max(0, len(r.unplaced)-maxUnplaced):]
		return nil
	}
	known := min(max(0, r.tape.at.bytes-r.seen), int64(len(p)))
	if known < int64(len(p)) {
		if err := r.write(p[known:]); err != nil {
			return err
		}
	}
	r.pass(int64(len(p)))
	return nil
}

// pass counts text that has been written, now or before, so that nothing is
// written twice if the log is cut off.
func (r *reading) pass(n int64) {
	r.seen += n
	r.tape.at.bytes = max(r.tape.at.bytes, r.seen)
}

// write writes text with a CR before each LF, as a terminal has it.
func (r *reading) write(p []byte) error {
	_, err := r.tape.Output.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n")))
	return err
}

// short writes what was read if the position was not found in the log, and
// reports a gap if there was a position.
func (r *reading) short() error {
	if r.found {
		return nil
	}
	if r.tape.at.mark != "" {
		r.tape.OnGap(errShort)
	}
	return r.write(r.unplaced)
}

// A mark is an application program command (ECMA-48), which terminals ignore.
// The end of line after it makes the log include it.
const (
	markBegins = "\x1b_kshell "
	markEnds   = "\x1b\\"
)

// maxMark bounds a mark, in bytes. Anything longer is not a mark.
const maxMark = 128

// marked is a mark that was read.
type marked struct {
	id   string
	at   time.Time // by the node's clock, to the second
	text []byte    // the whole, with the end of its line
}

func (m *marked) is(id string) bool {
	return m.id == id || strings.HasPrefix(m.id, id+"-")
}

// cutMark cuts p at the first mark: the text before it, the mark, the rest. If
// whole is false, rest may be the beginning of a mark, and more input is
// needed. Without a mark there is no rest.
func cutMark(p []byte) (text []byte, m *marked, rest []byte, whole bool) {
	from := 0
	for {
		i := bytes.IndexByte(p[from:], markBegins[0])
		if i < 0 {
			return p, nil, nil, true
		}
		i += from
		m, ok := parseMark(p[i:])
		switch {
		case m != nil:
			return p[:i], m, p[i+len(m.text):], true
		case !ok:
			return p[:i], nil, p[i:], false
		}
		from = i + 1
	}
}

// parseMark parses a mark at the beginning of p. If p is not a mark, it returns
// nil and true; if p may be the beginning of a mark, nil and false.
func parseMark(p []byte) (m *marked, ok bool) {
	if len(p) < len(markBegins) {
		return nil, !strings.HasPrefix(markBegins, string(p))
	}
	words, begins := bytes.CutPrefix(p, []byte(markBegins))
	if !begins {
		return nil, true
	}
	end := bytes.Index(words, []byte(markEnds))
	if end < 0 || end > maxMark {
		return nil, len(words) >= maxMark+len(markEnds)
	}
	long := len(markBegins) + end + len(markEnds)
	switch end := p[long:]; {
	case bytes.HasPrefix(end, []byte("\n")):
		long++
	case bytes.HasPrefix(end, []byte("\r\n")):
		long += 2
	default:
		return nil, len(end) > 1 || len(end) == 1 && end[0] != '\r'
	}
	id, second, _ := strings.Cut(string(words[:end]), " ")
	n, err := strconv.ParseInt(second, 10, 64)
	if err != nil {
		return nil, true
	}
	return &marked{id, time.Unix(n, 0), p[:long]}, true
}

// lineEnds removes CRs before an LF. The zero value is ready to use.
type lineEnds struct{ crs int } // CRs read, which an LF may follow

// strip appends p without these CRs to dst. CRs at the end of p are held until
// the next call.
func (l *lineEnds) strip(dst, p []byte) []byte {
	for _, b := range p {
		switch b {
		case '\r':
			l.crs++
			continue
		case '\n':
			l.crs = 0
		}
		dst = append(l.flush(dst), b)
	}
	return dst
}

// flush appends the CRs that are held, since no LF follows.
func (l *lineEnds) flush(dst []byte) []byte {
	for ; l.crs > 0; l.crs-- {
		dst = append(dst, '\r')
	}
	return dst
}

// count returns the length of p after strip.
func (l *lineEnds) count(p []byte) (n int64) {
	for _, b := range p {
		switch b {
		case '\r':
			l.crs++
			continue
		case '\n':
			l.crs = 0
		}
		n += int64(l.crs) + 1
		l.crs = 0
	}
	return n
}
