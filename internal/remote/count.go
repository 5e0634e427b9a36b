package remote

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"kshell/internal/exact"
	"kshell/internal/stream"
)

// Input is stdin whose Read can be canceled.
type Input interface {
	io.Reader
	stream.Canceler
}

// counter is a writer that counts the bytes written. Any goroutine may call
// count.
type counter struct {
	io.Writer
	bytes atomic.Int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	c.bytes.Add(int64(n))
	return n, err
}

func (c *counter) count() int64 { return c.bytes.Load() }

// input is the command's stdin. It counts the bytes read and keeps the last
// ones. One goroutine reads it; any goroutine may call the other methods.
type input struct {
	Input // nil if there is no stdin
	bytes atomic.Int64

	mu   sync.Mutex
	last time.Time // the last Read that returned data
	tail []byte    // the last bytes read, at most maxTail
}

// maxTail is the maximum size of input.tail, in bytes: enough for a command
// that ends a shell.
const maxTail = 32

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	n, err := in.Input.Read(p)
	in.bytes.Add(int64(n))
	if n > 0 {
		in.mu.Lock()
		defer in.mu.Unlock()
		in.last = time.Now()
		in.tail = append(in.tail, p[max(0, n-maxTail):n]...)
		in.tail = in.tail[max(0, len(in.tail)-maxTail):]
	}
	return n, err
}

// Peek implements exact.Peeker.
func (in *input) Peek(limit int) []byte {
	if p, ok := in.Input.(exact.Peeker); ok {
		return p.Peek(limit)
	}
	return nil
}

// short reports whether the input probably is short; see [terminal.Input.Short].
func (in *input) short() bool {
	s, ok := in.Input.(interface{ Short() bool })
	return ok && s.Short()
}

// exitTypedWithin is how soon after the last key a shell must end for kshell to
// assume that the user's input ended it.
const exitTypedWithin = 2 * time.Second

// keyEOF is Ctrl-D.
const keyEOF = 0x04

// exitTyped reports whether the user has just typed input that ends a shell:
// Ctrl-D, exit or logout.
func (in *input) exitTyped() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	typed := bytes.HasSuffix(in.tail, []byte{keyEOF}) ||
		bytes.Contains(in.tail, []byte("exit")) || bytes.Contains(in.tail, []byte("logout"))
	return typed && time.Since(in.last) < exitTypedWithin
}

func (in *input) count() int64 { return in.bytes.Load() }

// IgnoreErrors returns a writer that writes to the stderr w and never returns
// an error. A command continues even if its stderr cannot be written, because
// there is no other stream on which kshell could report the error.
func IgnoreErrors(w io.Writer) io.Writer { return &stderrWriter{Writer: w} }

type stderrWriter struct {
	io.Writer
	failed bool
}

// Write implements io.Writer.
func (w *stderrWriter) Write(p []byte) (int, error) {
	if !w.failed {
		_, err := w.Writer.Write(p)
		w.failed = err != nil
	}
	return len(p), nil
}
