package stream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
)

// slow is a socket on which each write waits for a value on let.
type slow struct {
	let    chan struct{}
	writes [][]byte
	err    error
}

func (s *slow) Read([]byte) (int, error) { return 0, io.EOF }
func (s *slow) Close() error             { close(s.let); return nil }
func (s *slow) Write(p []byte) (int, error) {
	if _, open := <-s.let; !open {
		return 0, net.ErrClosed
	}
	s.writes = append(s.writes, bytes.Clone(p))
	return len(p), s.err
}

func TestBufferedConn_CombinesWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		socket := &slow{let: make(chan struct{})}
		g := newBufferedConn(socket)
		for _, word := range []string{"a", "b", "c", "d"} {
			if _, err := g.Write([]byte(word)); err != nil {
				t.Error(err)
			}
			synctest.Wait() // "a" is being written before "b"
		}
		socket.let <- struct{}{}
		socket.let <- struct{}{}
		synctest.Wait()
		if got := string(bytes.Join(socket.writes, []byte("|"))); got != "a|bcd" {
			t.Errorf("written: %s", got)
		}
		_ = g.Close()
	})
}

func TestBufferedConn_SlowSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		socket := &slow{let: make(chan struct{})}
		g := newBufferedConn(socket)
		piece := make([]byte, 4<<10)
		accepted := 0
		ended := make(chan error)
		go func() {
			for {
				if _, err := g.Write(piece); err != nil {
					ended <- err
					return
				}
				accepted += len(piece)
			}
		}()
		synctest.Wait()
		if accepted > 2*bufferSize {
			t.Errorf("%d bytes are buffered or being written, want at most %d", accepted, 2*bufferSize)
		}
		_ = g.Close() // ends the blocked Write
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestBufferedConn_SocketError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("reset")
		socket := &slow{let: make(chan struct{}, 1), err: broken}
		g := newBufferedConn(socket)
		_, _ = g.Write([]byte("x"))
		socket.let <- struct{}{}
		synctest.Wait()
		if _, err := g.Write([]byte("y")); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		_ = g.Close()
	})
}

func BenchmarkBufferedConn(b *testing.B) {
	g := newBufferedConn(discard{})
	defer g.Close()
	p := make([]byte, 4<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Write(p); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Read([]byte) (int, error)    { return 0, io.EOF }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }
