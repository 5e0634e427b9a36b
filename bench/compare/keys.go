//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/creack/pty"

	"kshell/bench/bareclient"
)

// keyPause is the time between two keys.
const keyPause = 5 * time.Millisecond

// keyLimit is the time limit of one echo, and of the start of a session.
const keyLimit = 30 * time.Second

// typist types keys at a program that echoes them.
type typist struct {
	name  string
	write io.Writer
	read  <-chan []byte // the output
	close func()
}

// press types a key, and returns the time until its echo.
func (t *typist) press(key byte) (time.Duration, error) {
	t.drain()
	began := time.Now()
	if _, err := t.write.Write([]byte{key}); err != nil {
		return 0, fmt.Errorf("%s: %w", t.name, err)
	}
	late := time.After(keyLimit)
	for {
		select {
		case p, open := <-t.read:
			if !open {
				return 0, fmt.Errorf("%s has ended", t.name)
			}
			if bytes.IndexByte(p, key) >= 0 {
				return time.Since(began), nil
			}
		case <-late:
			return 0, fmt.Errorf("%s: no echo within %v", t.name, keyLimit)
		}
	}
}

// drain discards the output that has arrived before a key.
func (t *typist) drain() {
	for {
		select {
		case _, open := <-t.read:
			if !open {
				return
			}
		default:
			return
		}
	}
}

// openPty starts a program in a new terminal.
func openPty(ctx context.Context, name string, p program) (*typist, error) {
	cmd := exec.CommandContext(ctx, p.argv[0], p.argv[1:]...)
	cmd.Env = append(append(os.Environ(), "TERM=xterm-256color"), p.env...)
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 80})
	if err != nil {
		return nil, err
	}
	out := make(chan []byte, 64)
	go func() {
		defer close(out)
		for {
			buf := make([]byte, 1024)
			n, err := tty.Read(buf)
			if n > 0 {
				out <- buf[:n]
			}
			if err != nil {
				return
			}
		}
	}()
	return &typist{name: name, write: tty, read: out, close: func() {
		_ = cmd.Process.Kill()
		for range out {
		}
		_ = cmd.Wait()
		_ = tty.Close()
	}}, nil
}

// channelWriter sends what is written to it to a channel.
type channelWriter chan<- []byte

func (w channelWriter) Write(p []byte) (int, error) {
	w <- bytes.Clone(p)
	return len(p), nil
}

// openBare starts a command with the bare client, without a terminal on this
// machine.
func openBare(ctx context.Context, s bareclient.Server, e bareclient.Exec) (*typist, error) {
	conn, err := bareclient.Dial(ctx, s, e)
	if err != nil {
		return nil, err
	}
	out := make(chan []byte, 64)
	go func() {
		defer close(out)
		_ = conn.Copy(channelWriter(out), io.Discard) // press reports that the channel is closed
	}()
	return &typist{name: "the bare client", write: conn, read: out, close: func() {
		_ = conn.Close()
		for range out {
		}
	}}, nil
}

// typeKeys types n keys at each of the programs in turn, and returns the times
// of their echoes in milliseconds.
func typeKeys(ctx context.Context, typists []*typist, n int) ([]series, error) {
	const warmUp = 20
	times := make([]series, len(typists))
	for i := range warmUp + n {
		for k := range typists {
			t := (i + k) % len(typists)
			key := "abcdefghijklmnopqrstuvwxyz"[i%26]
			took, err := typists[t].press(key)
			if err := errors.Join(err, context.Cause(ctx)); err != nil {
				return nil, err
			}
			if i >= warmUp {
				times[t] = append(times[t], inMilliseconds(took))
			}
			time.Sleep(keyPause)
		}
	}
	return times, nil
}
