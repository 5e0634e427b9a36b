//go:build panictest

package main

import (
	"bytes"
	"io"
)

// trapped gives streams that panic when a certain word passes, each in the goroutine that copies it, or that has something to say: for the tests
// that all is put in order all the same. This file is in no build but the one that the test makes.
func trapped(std streams) streams {
	return streams{In: trap{std.In, nil}, Out: trap{nil, std.Out}, Err: trap{nil, std.Err}}
}

type trap struct {
	io.Reader
	io.Writer
}

// Fd keeps the terminal behind the stream visible.
func (t trap) Fd() uintptr {
	f, ok := any(t.Reader).(interface{ Fd() uintptr })
	if !ok {
		f = any(t.Writer).(interface{ Fd() uintptr })
	}
	return f.Fd()
}

func (t trap) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p)
	if bytes.IndexByte(p[:n], 'P') >= 0 {
		panic("test: stdin")
	}
	return n, err
}

func (t trap) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("panic-in-stdout")) {
		panic("test: stdout")
	}
	if bytes.Contains(p, []byte("the prompt too: Enter brings another")) { // says a goroutine that nobody waits for yet
		panic("test: stderr")
	}
	return t.Writer.Write(p)
}
