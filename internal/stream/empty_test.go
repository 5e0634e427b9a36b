package stream

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Empty messages and messages without a payload are ignored, whatever was read before.
func TestReceive_EmptyMessages(t *testing.T) {
	each(t, func(t *testing.T, protocol string) {
		d := pod(t, func(r remote) {
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
			r.finish(statusFor(protocol, "0"))
		})
		var stdout, stderr bytes.Buffer
		link := funcLink{Dial: d.with(protocol), Reconnect: ReconnectNever}
		s := &funcSession{funcLink: link, Stdout: &stdout, Stderr: &stderr}
		if err := s.Run(t.Context()); err != nil || stdout.String() != "onetwo" || stderr.Len() > 0 {
			t.Errorf("error %v, stdout %q, stderr %q", err, &stdout, &stderr)
		}
	})
}

// script is a socket with one message. Each Read of the message returns the next element
// of reads.
type script struct {
	socket
	reads []string // "" reads nothing, without an error
}

func (s *script) Reader(context.Context) (websocket.MessageType, io.Reader, error) {
	return websocket.MessageBinary, s, nil
}

func (s *script) Read(p []byte) (int, error) {
	if len(s.reads) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.reads[0])
	s.reads = s.reads[1:]
	return n, nil
}

// A Read that returns 0 bytes is neither the end nor a piece of a message.
func TestReceive_ReadsThatBringNothing(t *testing.T) {
	for name, reads := range map[string][]string{
		"before": {"", "", "\x01abc"},
		"within": {"\x01", "", "abc", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := &Conn{ws: &script{reads: reads}, codec: codecs[V5], buf: []byte("\x02stale"), start: time.Now()}
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
