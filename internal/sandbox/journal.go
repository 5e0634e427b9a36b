package sandbox

import (
	"bytes"
	"io"
	"slices"
	"sync"
	"time"
)

// journalLimit is how much of a container's output its log keeps, in bytes.
const journalLimit = 4 << 20

// journal is a container's log as containerd writes it: whole lines, without a CR before the LF; the last one of a stream that has ended may
// have been none.
type journal struct {
	mu      sync.Mutex
	lines   []entry
	first   int // the number of lines[0]
	bytes   int
	writers int
	changed chan struct{} // closed, and replaced, at each change; nil at first
}

type entry struct {
	at   time.Time
	text []byte // with its LF
}

// journalWriter writes one stream.
type journalWriter struct {
	j       *journal
	partial []byte
}

func (j *journal) writer() *journalWriter {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writers++
	return &journalWriter{j: j}
}

func (w *journalWriter) write(p []byte) {
	w.partial = append(w.partial, p...)
	for {
		line, rest, whole := bytes.Cut(w.partial, []byte("\n"))
		if !whole {
			return
		}
		w.j.add(line)
		w.partial = rest
	}
}

func (w *journalWriter) end() {
	if len(w.partial) > 0 {
		w.j.add(w.partial)
	}
	w.j.mu.Lock()
	defer w.j.mu.Unlock()
	w.j.writers--
	w.j.change()
}

func (j *journal) add(line []byte) {
	line = bytes.TrimSuffix(line, []byte("\r"))
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, entry{time.Now(), append(bytes.Clone(line), '\n')})
	j.bytes += len(line) + 1
	for j.bytes > journalLimit {
		j.bytes -= len(j.lines[0].text)
		j.lines = slices.Delete(j.lines, 0, 1)
		j.first++
	}
	j.change()
}

// change is called with mu held.
func (j *journal) change() {
	if j.changed != nil {
		close(j.changed)
	}
	j.changed = make(chan struct{})
}

// since gives the lines from a number on, the number of the next one, and what is closed at the next change; nil when there will be none.
func (j *journal) since(n int) (lines []entry, next int, changed <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	lines = slices.Clone(j.lines[min(len(j.lines), max(0, n-j.first)):])
	if j.writers == 0 && len(j.lines) > 0 {
		return lines, j.first + len(j.lines), nil
	}
	return lines, j.first + len(j.lines), j.changed
}

// logOptions are the query of a log (core/v1 PodLogOptions).
type logOptions struct {
	follow     bool
	timestamps bool
	since      time.Time
	tail       int // -1: all
}

// send writes the log, until done if it follows it.
func (j *journal) send(w io.Writer, o logOptions, flush func(), done <-chan struct{}) {
	lines, next, changed := j.since(0)
	if o.tail >= 0 {
		lines = lines[max(0, len(lines)-o.tail):]
	}
	for {
		for _, line := range lines {
			if line.at.Before(o.since) {
				continue
			}
			if o.timestamps {
				_, _ = io.WriteString(w, line.at.UTC().Format(time.RFC3339Nano)+" ") // the client may be gone
			}
			_, _ = w.Write(line.text)
		}
		flush()
		if !o.follow || changed == nil {
			return
		}
		select {
		case <-changed:
		case <-done:
			return
		}
		lines, next, changed = j.since(next)
	}
}
