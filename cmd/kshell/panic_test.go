package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"testing"
)

// panickingName is the name by which the test binary is a kshell that panics
// when a certain text passes one of its streams: in the goroutine that copies
// the stream, or that writes the message. The tests then check what is cleaned
// up.
const panickingName = "kshell-panicking"

// panicking is the path of that kshell.
func panicking(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: kshell runs in a process of its own")
	}
	path, err := exec.LookPath(panickingName)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// runPanicking is unhurried with streams that panic.
func runPanicking() {
	giveTime()
	os.Exit(kshell(streams{In: panicStream{Reader: os.Stdin}, Out: panicStream{Writer: os.Stdout}, Err: panicStream{Writer: os.Stderr}}))
}

// panicStream is one of the standard streams. It panics on a P that is typed,
// on "panic-in-stdout", and on a message of a goroutine that nothing waits for
// when it is written.
type panicStream struct {
	io.Reader
	io.Writer
}

// Fd keeps the terminal behind the stream visible.
func (s panicStream) Fd() uintptr {
	f, ok := any(s.Reader).(interface{ Fd() uintptr })
	if !ok {
		f = any(s.Writer).(interface{ Fd() uintptr })
	}
	return f.Fd()
}

// Read implements io.Reader.
func (s panicStream) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if bytes.IndexByte(p[:n], 'P') >= 0 {
		panic("test: stdin")
	}
	return n, err
}

// Write implements io.Writer.
func (s panicStream) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("panic-in-stdout")) {
		panic("test: stdout")
	}
	if bytes.Contains(p, []byte("press Enter for a prompt")) {
		panic("test: stderr")
	}
	return s.Writer.Write(p)
}
