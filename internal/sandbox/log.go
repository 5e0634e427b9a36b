package sandbox

import (
	"bytes"
	"io"
	"slices"
	"sync"
	"time"
)

// logLimit is how much output of a container its log keeps, in bytes.
const logLimit = 4 << 20

// containerLog is the log of a container, as containerd writes it: whole lines,
// without a CR before the LF. The last line of a stream that has ended is
// stored even if it was incomplete.
type containerLog struct {
	mu      sync.Mutex
	lines   []entry
	first   int // the index of lines[0], counted from the start of the log
	bytes   int
	writers int
	changed chan struct{} // closed and replaced at each change; nil at first
	missing time.Time     // the file does not exist before this time; see delete
}

type entry struct {
	at   time.Time
	text []byte // including the LF
}

// logWriter writes one stream to the log.
type logWriter struct {
	j       *containerLog
	partial []byte
}

func (j *containerLog) writer() *logWriter {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writers++
	return &logWriter{j: j}
}

func (w *logWriter) write(p []byte) {
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

func (w *logWriter) end() {
	if len(w.partial) > 0 {
		w.j.add(w.partial)
	}
	w.j.mu.Lock()
	defer w.j.mu.Unlock()
	w.j.writers--
	w.j.change()
}

func (j *containerLog) add(line []byte) {
	line = bytes.TrimSuffix(line, []byte("\r"))
	j.mu.Lock()
	defer j.mu.Unlock()
	if time.Now().Before(j.missing) { // written to the deleted file
		j.first++
		return
	}
	j.lines = append(j.lines, entry{time.Now(), append(bytes.Clone(line), '\n')})
	j.bytes += len(line) + 1
	for j.bytes > logLimit {
		j.bytes -= len(j.lines[0].text)
		j.lines = slices.Delete(j.lines, 0, 1)
		j.first++
	}
	j.change()
}

// rotate makes the log begin with the next line. It simulates a kubelet that
// renames the file of the log and makes the container runtime open a new file.
func (j *containerLog) rotate() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.dropLines()
}

// dropLines removes all lines. The caller must hold mu.
func (j *containerLog) dropLines() {
	j.first += len(j.lines)
	j.lines, j.bytes = nil, 0
}

// reopenAfter is how long the file of a log does not exist after delete. A
// kubelet checks every 10 s whether the file exists.
const reopenAfter = 3 * time.Second

// delete deletes the file of the log. The container runtime writes to the
// deleted file until the kubelet, after reopenAfter, makes it open a new one.
func (j *containerLog) delete() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.dropLines()
	j.missing = time.Now().Add(reopenAfter)
}

// exists reports whether the file of the log exists.
func (j *containerLog) exists() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return !time.Now().Before(j.missing)
}

// change wakes the calls of send that wait for new lines. The caller must hold
// mu.
func (j *containerLog) change() {
	if j.changed != nil {
		close(j.changed)
	}
	j.changed = make(chan struct{})
}

// since returns the lines from index n on, the index of the next line, and a
// channel that is closed at the next change. The channel is nil if all streams
// have ended, that is, if the log has lines but no writers.
func (j *containerLog) since(n int) (lines []entry, next int, changed <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.changed == nil {
		j.changed = make(chan struct{})
	}
	lines = slices.Clone(j.lines[min(len(j.lines), max(0, n-j.first)):])
	if j.writers == 0 && j.first+len(j.lines) > 0 {
		return lines, j.first + len(j.lines), nil
	}
	return lines, j.first + len(j.lines), j.changed
}

// logOptions are the query parameters of a log request (PodLogOptions in
// core/v1).
type logOptions struct {
	follow     bool
	timestamps bool
	since      time.Time
	tail       int // -1: all
}

// send writes the log to w. With follow, it continues until the log ends or
// done is closed.
func (j *containerLog) send(w io.Writer, o logOptions, flush func(), done <-chan struct{}) {
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
				_, _ = io.WriteString(w, line.at.UTC().Format(time.RFC3339Nano)+" ") // fails if the client has gone
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
