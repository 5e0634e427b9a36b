package stream

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Empty messages and messages without a payload are ignored, whatever was read
// before.
func TestReceive_EmptyMessages(t *testing.T) {
	forEachProtocol(t, func(t *testing.T, protocol string) {
		d := serveExec(t, func(r serverConn) {
			nothing := func() {
				_ = r.Write(context.Background(), kind(r), nil)
				r.send(chStdout, "")
				r.send(chStderr, "")
				r.send(chError, "")
			}
			nothing()
			r.send(chStdout, "one")
			nothing()
			r.send(chStdout, "two")
			nothing()
			r.closeWithStatus(statusFor(protocol, "0"))
		})
		var stdout, stderr bytes.Buffer
		set := Settings{LinkSettings: noReconnect, Stdout: &stdout, Stderr: &stderr}
		s := newTestSession(d.dialFunc(protocol), set)
		if err := s.Run(t.Context()); err != nil || stdout.String() != "onetwo" || stderr.Len() > 0 {
			t.Errorf("error %v, stdout %q, stderr %q", err, &stdout, &stderr)
		}
	})
}

// oneMessage is a socket with one message. Each Read of the message returns the
// next element of reads.
type oneMessage struct {
	socket
	reads []string // for "", Read returns 0 and no error
}

func (s *oneMessage) Reader(context.Context) (websocket.MessageType, io.Reader, error) {
	return websocket.MessageBinary, s, nil
}

func (s *oneMessage) Read(p []byte) (int, error) {
	if len(s.reads) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.reads[0])
	s.reads = s.reads[1:]
	return n, nil
}

// A Read that returns 0 bytes and no error is neither the end of a message nor
// a piece of one.
func TestReceive_EmptyReads(t *testing.T) {
	for name, reads := range map[string][]string{
		"before": {"", "", "\x01abc"},
		"within": {"\x01", "", "abc", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Conn{ws: &oneMessage{reads: reads}, codec: codecs[V5], buf: []byte("\x02stale"), start: time.Now()}
			got := ""
			err := c.receive(func(ch channel, p []byte) error {
				if ch != chStdout {
					t.Errorf("%q on channel %d", p, ch)
				}
				got += string(p)
				return nil
			})
			if err != nil || got != "abc" {
				t.Errorf("%q, error %v", got, err)
			}
		})
	}
}
