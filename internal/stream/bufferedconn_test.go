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

// A short message is written by the goroutine that sends it.
func TestBufferedConn_ReleaseWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &slowConn{allow: make(chan struct{}, 2)}
		b := newBufferedConn(conn)
		conn.allow <- struct{}{}
		conn.allow <- struct{}{}
		b.hold()
		for _, part := range []string{"head", "payload"} {
			if _, err := b.Write([]byte(part)); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		if len(conn.writes) > 0 {
			t.Errorf("written before release: %q", conn.writes)
		}
		b.release()
		if len(conn.writes) != 1 || string(conn.writes[0]) != "headpayload" {
			t.Errorf("written when release has returned: %q", conn.writes)
		}
		if _, err := b.Write([]byte("pong")); err != nil { // without hold
			t.Error(err)
		}
		synctest.Wait()
		if len(conn.writes) != 2 {
			t.Errorf("written at the end: %q", conn.writes)
		}
		_ = b.Close()
	})
}

// While release waits for a connection that takes no data, control frames and
// other messages are accepted, and Close ends the wait.
func TestBufferedConn_BlockedRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &slowConn{allow: make(chan struct{})}
		b := newBufferedConn(conn)
		send := func(message string) {
			b.hold()
			defer b.release()
			if _, err := b.Write([]byte(message)); err != nil {
				t.Error(err)
			}
		}
		released := make(chan struct{})
		go func() {
			defer close(released)
			send("key")
		}()
		synctest.Wait()
		if _, err := b.Write([]byte("ping")); err != nil {
			t.Error(err)
		}
		send("size") // does not wait, because a write is in progress
		select {
		case <-released:
			t.Error("release has returned before the write")
		default:
		}
		conn.allow <- struct{}{}
		conn.allow <- struct{}{}
		synctest.Wait()
		if got := string(bytes.Join(conn.writes, []byte("|"))); got != "key|pingsize" {
			t.Errorf("written: %s", got)
		}
		go send("lost")
		synctest.Wait()
		_ = b.Close()
		synctest.Wait() // the test fails if release still waits
	})
}

// A long message does not wait for its own end.
func TestBufferedConn_LongMessageWithHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &slowConn{allow: make(chan struct{}, 1)}
		b := newBufferedConn(conn)
		conn.allow <- struct{}{}
		b.hold()
		_, _ = b.Write(make([]byte, 4<<10))
		synctest.Wait()
		if len(conn.writes) != 1 {
			t.Errorf("%d writes before the end of the message, want 1", len(conn.writes))
		}
		_, _ = b.Write(make([]byte, 4<<10))
		b.release() // must not write, because the connection takes no data
		_ = b.Close()
	})
}

// A release that makes others due wakes the goroutine: the message of the other
// sender is written, too.
func TestBufferedConn_TwoSenders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &slowConn{allow: make(chan struct{}, 10)}
		for range 10 {
			conn.allow <- struct{}{}
		}
		b := newBufferedConn(conn)
		b.hold()
		_, _ = b.Write([]byte("a"))
		b.hold()
		_, _ = b.Write([]byte("b"))
		b.release()
		b.release()
		synctest.Wait()
		if got := string(bytes.Join(conn.writes, nil)); got != "ab" {
			t.Errorf("written: %s", got)
		}
		_ = b.Close()
	})
}
