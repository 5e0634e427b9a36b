package agent

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

// attached returns a client whose relay was accepted.
func attached(t *testing.T, cfg ClientConfig, w Welcome) *Client {
	t.Helper()
	c := NewClient(cfg)
	c.Connect()
	w.Version = Version
	if err := c.Receive(Append(nil, &w), 0); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestClient_Errors(t *testing.T) {
	tests := []struct {
		name string
		m    Message
		want error
	}{
		{"a gap in the output", &Output{Offset: 1, Stream: Stdout, Data: []byte("x")}, ErrGap},
		{"an exit before the end of the output", &Exit{Offset: 1}, ErrGap},
		{"an acknowledgement of input that was not sent", &InputAck{Offset: 1}, ErrUnexpected},
		{"an acknowledgement of a signal that was not sent", &InputAck{Signals: 1}, ErrUnexpected},
		{"a second Welcome", &Welcome{Version: Version}, ErrUnexpected},
		{"a message for the agent", &Ping{}, ErrUnexpected},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := attached(t, ClientConfig{}, Welcome{})
			if err := c.Receive(Append(nil, test.m), 0); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

func TestClient_BeforeWelcome(t *testing.T) {
	tests := []struct {
		name string
		m    Message
		want error
	}{
		{"output", &Output{Stream: Stdout, Data: []byte("x")}, ErrUnexpected},
		{"a version that is too new", &Welcome{Version: Version + 1}, errVersion},
		{"input that was not sent", &Welcome{Version: Version, Input: 1}, ErrForgotten},
		{"signals that were not sent", &Welcome{Version: Version, Signals: 1}, ErrForgotten},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := NewClient(ClientConfig{})
			c.Connect()
			if err := c.Receive(Append(nil, test.m), 0); !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
	c := NewClient(ClientConfig{})
	c.Connect()
	var refused *RefusedError
	err := c.Receive(Append(nil, &Refused{Reason: ReasonEnded, Text: "ended"}), 0)
	if !errors.As(err, &refused) || refused.Refused.Reason != ReasonEnded {
		t.Errorf("got %v", err)
	}
}

// An agent that has forgotten the client is not sent the same input again.
func TestClient_ForgottenByAgent(t *testing.T) {
	c := attached(t, ClientConfig{}, Welcome{InputLimit: 100})
	c.Input([]byte("abc"))
	c.Next(nil, 0)
	if err := c.Receive(Append(nil, &InputAck{Offset: 3}), 0); err != nil {
		t.Fatal(err)
	}
	c.Connect()
	if err := c.Receive(Append(nil, &Welcome{Version: Version}), 0); !errors.Is(err, ErrForgotten) {
		t.Errorf("got %v", err)
	}
}

func TestClient_OutputIsLimited(t *testing.T) {
	c := attached(t, ClientConfig{}, Welcome{})
	data := make([]byte, maxData)
	for offset := uint64(0); offset < commandWindow; offset += maxData {
		if err := c.Receive(Append(nil, &Output{Offset: offset, Stream: Stdout, Data: data}), 0); err != nil {
			t.Fatal(err)
		}
	}
	err := c.Receive(Append(nil, &Output{Offset: commandWindow, Stream: Stdout, Data: data}), 0)
	if !errors.Is(err, ErrTooMuch) {
		t.Errorf("got %v", err)
	}
}

// Output is acknowledged when it was written.
func TestClient_AcknowledgesWhatWasWritten(t *testing.T) {
	c := attached(t, ClientConfig{}, Welcome{Terminal: true})
	c.Next(nil, 0)
	c.Receive(Append(nil, &Output{Stream: Stdout, Stamp: 5, Data: make([]byte, 3000)}), 0)
	check := func(want OutputAck) {
		t.Helper()
		var d Decoder
		d.Write(c.Next(nil, 0))
		m, _ := d.Next()
		if ack, ok := m.(*OutputAck); !ok || *ack != want {
			t.Errorf("sent %+v, want %+v", m, want)
		}
	}
	check(OutputAck{})
	c.Written(1000)
	check(OutputAck{Offset: 1000})
	c.Written(2000)
	check(OutputAck{Offset: 3000, Stamp: 5})
}

// Output of a command without a terminal is acknowledged after some time, or after
// some bytes, so that not each frame has an acknowledgement.
func TestClient_AcknowledgesTogether(t *testing.T) {
	c := attached(t, ClientConfig{}, Welcome{})
	now := time.Second
	c.Next(nil, now)
	c.Next(nil, now+ackDelay) // the acknowledgement after the Welcome
	now += time.Second
	receive := func(offset uint64, n int) {
		t.Helper()
		if err := c.Receive(Append(nil, &Output{Offset: offset, Stream: Stdout, Data: make([]byte, n)}), now); err != nil {
			t.Fatal(err)
		}
		c.Written(n)
	}
	receive(0, 1000)
	if sent := c.Next(nil, now); len(sent) > 0 || c.Wait(now) != ackDelay {
		t.Errorf("sent %d bytes at once, and waits %v", len(sent), c.Wait(now))
	}
	receive(1000, 1000)
	now += ackDelay
	sent := c.Next(nil, now)
	if want := Append(nil, &OutputAck{Offset: 2000}); !bytes.Equal(sent, want) || c.Wait(now) != 0 {
		t.Errorf("sent %q, want %q, and waits %v", sent, want, c.Wait(now))
	}
	for offset := uint64(2000); offset < 2000+ackBytes; offset += maxData {
		if sent := c.Next(nil, now); len(sent) > 0 {
			t.Fatalf("sent %d bytes after %d", len(sent), offset)
		}
		receive(offset, maxData)
	}
	if sent := c.Next(nil, now); !bytes.Equal(sent, Append(nil, &OutputAck{Offset: 2000 + ackBytes})) {
		t.Errorf("sent %q", sent)
	}
}

// A client that may not send input to a command keeps its input to itself.
func TestClient_WithoutInput(t *testing.T) {
	c := NewClient(ClientConfig{})
	c.Connect()
	c.Input([]byte("early"))
	c.EndInput()
	if err := c.Receive(Append(nil, &Welcome{Version: Version}), 0); err != nil {
		t.Fatal(err)
	}
	var d Decoder
	d.Write(c.Next(nil, 0))
	for {
		m, _ := d.Next()
		if m == nil {
			break
		}
		switch m.(type) {
		case *Input, *InputEnd:
			t.Errorf("sent %+v", m)
		}
	}
	if c.InputRoom() != 0 {
		t.Errorf("room %d", c.InputRoom())
	}
}

func TestClient_DroppedOutput(t *testing.T) {
	c := attached(t, ClientConfig{}, Welcome{})
	c.Receive(Append(Append(nil, &Skipped{Offset: 10}), &Output{Offset: 10, Stream: Stdout, Data: []byte("x")}), 0)
	if chunk, ok := c.Output(); !ok || chunk.Dropped != 10 {
		t.Errorf("chunk %+v", chunk)
	}
	c.Written(0)
	if chunk, ok := c.Output(); !ok || string(chunk.Data) != "x" {
		t.Errorf("chunk %+v", chunk)
	}
	c.Written(1)
	if c.written != 11 {
		t.Errorf("written %d", c.written)
	}
}

func FuzzClient(f *testing.F) {
	var all []byte
	for _, m := range allMessages() {
		f.Add(Append(nil, m), false)
		all = Append(all, m)
	}
	f.Add(all, true)
	f.Add(Append(Append(nil, &Output{Stream: Stdout, Data: []byte("x")}), &Exit{Offset: 1}), true)
	f.Fuzz(func(t *testing.T, wire []byte, welcomed bool) {
		c := NewClient(ClientConfig{})
		c.Connect()
		if welcomed {
			c.Receive(Append(nil, &Welcome{Version: Version, InputLimit: 1000}), 0)
		}
		for i := 0; len(wire) > 0; i++ {
			c.Input([]byte("typed"))
			c.Signal(2)
			due := c.Due()
			if frames := c.Next(nil, 0); len(frames) > 0 && !due || c.Due() {
				t.Fatalf("Next appends %d bytes; due before: %v, due after: %v", len(frames), due, c.Due())
			}
			n := min(len(wire), 100)
			if c.Receive(wire[:n], 0) != nil {
				c.Connect()
			}
			wire = wire[n:]
			if chunk, ok := c.Output(); ok && i%2 == 0 {
				c.Written(len(chunk.Data))
			}
			if c.written > c.received || c.waiting > commandWindow || len(c.events) > maxEvents {
				t.Fatalf("written %d of %d, %d waiting, %d events", c.written, c.received, c.waiting, len(c.events))
			}
		}
	})
}

func FuzzSession(f *testing.F) {
	for _, m := range allMessages() {
		f.Add(Append(nil, m), true)
	}
	known := Append(nil, &Input{Data: []byte("x")})
	known = Append(known, &Ping{})
	known = Append(known, &Signal{Signal: 2})
	known = Append(known, &OutputAck{Offset: 100, Stamp: 1})
	known = Append(known, &Resize{Size{1, 2}})
	known = Append(known, &InputEnd{Offset: 1})
	known = Append(known, &ExitAck{})
	f.Add(known, true)
	f.Add(known, false)
	f.Fuzz(func(t *testing.T, wire []byte, terminal bool) {
		s := NewSession(SessionConfig{Terminal: terminal})
		var d Decoder
		d.Write(wire)
		epoch := uint64(1)
		p, _, _ := s.Attach(hello(1, epoch), 0)
		for {
			m, err := d.Next()
			if m == nil || err != nil {
				return
			}
			if h, ok := m.(*Hello); ok {
				if other, _, refused := s.Attach(h, 0); refused == nil {
					s.Next(other, nil, 0)
				}
			}
			if err := s.Receive(p, m, 0); err != nil {
				s.Detach(p, 0)
				epoch++
				var refused *Refused
				if p, _, refused = s.Attach(hello(1, epoch), 0); refused != nil {
					return
				}
			}
			s.Output(Stdout, make([]byte, min(s.OutputRoom(), 1000)))
			s.Next(p, nil, 0)
			if data, _, ok := s.Input(); ok {
				s.InputWritten(len(data))
			}
			s.Signals()
			if s.log.size() > commandWindow || len(s.clients) > maxClients || len(s.input) > maxPiecesOfInput {
				t.Fatalf("%d bytes, %d clients", s.log.size(), len(s.clients))
			}
			if p.client.written > p.client.received || p.client.acked > p.sent {
				t.Fatalf("written %d of %d; acknowledged %d of %d",
					p.client.written, p.client.received, p.client.acked, p.sent)
			}
		}
	})
}
