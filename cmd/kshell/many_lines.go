package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"sync"
	"unicode/utf8"

	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/remote"
)

// gate lets one at a time write to the local outputs, so that no line falls into another.
type gate struct {
	mu       sync.Mutex
	out, err io.Writer
	lost     error // why out takes nothing any more
	end      context.CancelCauseFunc
}

// newGate makes a gate before the local outputs. End is called when stdout takes nothing any more.
func newGate(std streams, end context.CancelCauseFunc) *gate {
	return &gate{out: std.Out, err: remote.IgnoreErrors(std.Err), end: end}
}

// broken is why stdout takes nothing any more; nil if it does.
func (g *gate) broken() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lost
}

// stdout is stdout for whole lines.
func (g *gate) stdout() io.Writer { return gateWriter(g.writeOut) }

// stderr is stderr for whole lines; it never fails.
func (g *gate) stderr() io.Writer { return gateWriter(g.writeErr) }

type gateWriter func(p []byte) (int, error)

// Write implements io.Writer.
func (w gateWriter) Write(p []byte) (int, error) { return w(p) }

func (g *gate) writeOut(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lost != nil {
		return 0, g.lost
	}
	n, err := g.out.Write(p)
	if err != nil {
		g.lost = err
		g.end(err)
	}
	return n, err
}

func (g *gate) writeErr(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.err.Write(p)
}

// longest is how long a line may be, in bytes, without what is put before it. A longer one is broken.
const longest = 64 << 10

// lines cuts a stream into lines and passes them on in the form of format, whole ones only: a beginning waits for the rest.
type lines struct {
	to     io.Writer
	format format
	held   []byte // of a line that has not ended, at most longest
	ready  []byte // formatted
}

// format appends a line to dst. Open: no line feed has ended it.
type format func(dst, line []byte, open bool) []byte

func newLines(to io.Writer, f format) *lines { return &lines{to: to, format: f} }

// Write implements io.Writer. Its errors are those of the output.
func (l *lines) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		rest = l.take(rest)
		if len(l.ready) < longest {
			continue
		}
		if err := l.pass(); err != nil {
			return 0, err
		}
	}
	if err := l.pass(); err != nil {
		return 0, err
	}
	return len(p), nil
}

// take takes one line from p, or as much of it as there is, and returns the rest.
func (l *lines) take(p []byte) (rest []byte) {
	room := longest - len(l.held)
	end := bytes.IndexByte(p[:min(len(p), room+1)], '\n')
	switch {
	case end >= 0 && len(l.held) == 0:
		l.ready = l.format(l.ready, p[:end], false)
		return p[end+1:]
	case end >= 0:
		l.held = append(l.held, p[:end]...)
		l.ready = l.format(l.ready, l.held, false)
		l.held = l.held[:0]
		return p[end+1:]
	case len(p) <= room:
		l.held = append(l.held, p...)
		return nil
	}
	l.held = append(l.held, p[:room]...)
	cut := len(l.held) - unfinished(l.held)
	l.ready = l.format(l.ready, l.held[:cut], true)
	l.held = append(l.held[:0], l.held[cut:]...)
	return p[room:]
}

// unfinished is how many bytes at the end of p are the beginning of a UTF-8 character.
func unfinished(p []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(p); n++ {
		if tail := p[len(p)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}

// pass gives what is ready to the output.
func (l *lines) pass() error {
	if len(l.ready) == 0 {
		return nil
	}
	_, err := l.to.Write(l.ready)
	l.ready = l.ready[:0]
	return err
}

// end passes on a last line that nothing has ended. An output that does not take it has told so where it was broken.
func (l *lines) end() {
	if len(l.held) > 0 {
		l.ready = l.format(l.ready, l.held, true)
		l.held = nil
	}
	_ = l.pass()
}

// prefixed puts the pod before each line.
func prefixed(title string, i int, coloured bool) format {
	prefix := title + ": "
	if coloured {
		prefix = notice.Colour(i, title+":") + " "
	}
	return func(dst, line []byte, _ bool) []byte {
		dst = append(dst, prefix...)
		dst = append(dst, line...)
		return append(dst, '\n')
	}
}

// lineJSON is a line of output for programs.
type lineJSON struct {
	Node      string  `json:"node,omitempty"` // of a command on nodes
	Pod       string  `json:"pod"`
	Container string  `json:"container"`
	Stream    string  `json:"stream"`
	Line      *string `json:"line,omitempty"`       // without its line feed
	Base64    *string `json:"lineBase64,omitempty"` // in its place, if it is no UTF-8
	Open      bool    `json:"open,omitempty"`       // no line feed has ended it: it is the last one, or goes on in the next
}

// endJSON is a pod's end for programs.
type endJSON struct {
	Node      string        `json:"node,omitempty"`
	Pod       string        `json:"pod"`
	Container string        `json:"container"`
	ExitCode  int           `json:"exitCode"`
	Cause     outcome.Cause `json:"cause"`
	Message   string        `json:"message,omitempty"`
}

// jsonLine makes a lineJSON of each line.
func jsonLine(at remote.Target, node, name string) format {
	return func(dst, line []byte, open bool) []byte {
		l := lineJSON{Node: node, Pod: at.Pod, Container: at.Container, Stream: name, Open: open}
		text := string(line)
		if !utf8.Valid(line) {
			text = base64.StdEncoding.EncodeToString(line)
			l.Base64 = &text
		} else {
			l.Line = &text
		}
		return append(dst, encoded(l)...)
	}
}

func jsonEnd(at remote.Target, node string, end ended, err error) []byte {
	e := endJSON{Node: node, Pod: at.Pod, Container: at.Container, ExitCode: end.ExitCode, Cause: end.Cause}
	if err != nil {
		e.Message = notice.Clean(err.Error())
	}
	return encoded(e)
}

// encoded is v in JSON, and a line feed.
func encoded(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // strings and numbers
	}
	return b.Bytes()
}
