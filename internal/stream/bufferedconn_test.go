package stream

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
)

// slowConn is a network connection on which each write waits for a value on
// allow.
type slowConn struct {
	allow  chan struct{}
	writes [][]byte
	err    error
}

func (s *slowConn) Read([]byte) (int, error) { return 0, io.EOF }
func (s *slowConn) Close() error             { close(s.allow); return nil }
func (s *slowConn) Write(p []byte) (int, error) {
	if _, open := <-s.allow; !open {
		return 0, net.ErrClosed
	}
	s.writes = append(s.writes, bytes.Clone(p))
	return len(p), s.err
}

func TestBufferedConn_CombinesWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &slowConn{allow: make(chan struct{})}
		b := newBufferedConn(conn)
		for _, word := range []string{"a", "b", "c", "d"} {
			if _, err := b.Write([]byte(word)); err != nil {
				t.Error(err)
			}
			synctest.Wait() // so that the goroutine writes "a" before "b" is buffered
		}
		conn.allow <- struct{}{}
		conn.allow <- struct{}{}
		synctest.Wait()
		if got := string(bytes.Join(conn.writes, []byte("|"))); got != "a|bcd" {
			t.Errorf("written: %s", got)
		}
		_ = b.Close()
	})
}

func TestBufferedConn_SlowConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &slowConn{allow: make(chan struct{})}
		b := newBufferedConn(conn)
		piece := make([]byte, 4<<10)
		accepted := 0
		ended := make(chan error)
		go func() {
			for {
				if _, err := b.Write(piece); err != nil {
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
		_ = b.Close() // ends the blocked Write
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestBufferedConn_WriteError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("reset")
		conn := &slowConn{allow: make(chan struct{}, 1), err: broken}
		b := newBufferedConn(conn)
		_, _ = b.Write([]byte("x"))
		conn.allow <- struct{}{}
		synctest.Wait()
		if _, err := b.Write([]byte("y")); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		_ = b.Close()
	})
}

func BenchmarkBufferedConn(b *testing.B) {
	conn := newBufferedConn(discard{})
	defer conn.Close()
	p := make([]byte, 4<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(p); err != nil {
			b.Fatal(err)
		}
	}
}

type discard struct{}

func (discard) Read([]byte) (int, error)    { return 0, io.EOF }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }
