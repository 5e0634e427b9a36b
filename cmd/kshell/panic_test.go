package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"testing"
)

// panickingName is the name by which the test binary runs a kshell that panics
// when a standard stream transports a certain text. The panic occurs in the
// goroutine that copies the stream or writes the message. The tests check the
// cleanup.
const panickingName = "kshell-panicking"

// panicking returns the path of the kshell that panics.
func panicking(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: kshell runs in a separate process")
	}
	path, err := exec.LookPath(panickingName)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// runPanicking runs kshell like testMain, but with streams that panic.
func runPanicking() {
	setTestLimits()
	exit(runProgram(streams{
		In: panicStream{Reader: os.Stdin}, Out: panicStream{Writer: os.Stdout}, Err: panicStream{Writer: os.Stderr},
	}))
}

// panicStream is one of the standard streams. It panics when a P is read, when
// "panic-in-stdout" is written, and when a message that contains "press Enter
// for a prompt" is written. No goroutine waits for the one that writes this
// message.
type panicStream struct {
	io.Reader
	io.Writer
}

// Fd returns the descriptor of the stream, by which kshell recognizes a
// terminal.
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
