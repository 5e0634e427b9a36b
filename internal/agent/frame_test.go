package agent

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// allMessages has one message of each type, with a value in each field.
func allMessages() []Message {
	return []Message{
		&Hello{
			Version: 3, MinVersion: 2, Build: "b1", Purpose: PurposeEnd, Client: ClientID{1, 2, 15: 3},
			Epoch: 1 << 60, Output: 1 << 50, Size: Size{80, 24}, Name: "me@here", Term: "xterm",
		},
		&Welcome{
			Version: 1, Build: "b2", Session: "s1", Started: 5, Terminal: true, Owner: true, Input: 7,
			Signals: 8, InputLimit: 9, Output: 10, Clients: 11, Term: "screen",
		},
		&Refused{Reason: ReasonEpoch, Version: 4, Build: "b3", Text: "no"},
		&Input{Offset: 1, Data: []byte("x")},
		&InputEnd{Offset: 2},
		&Signal{Number: 3, Signal: 15},
		&InputAck{Offset: 4, Signals: 5},
		&Output{Offset: 6, Stamp: 7, Stream: Stderr, Data: bytes.Repeat([]byte("y"), maxData)},
		&OutputAck{Offset: 8, Stamp: 9},
		&Resize{Size: Size{100, 50}},
		&Skipped{Offset: 10},
		&Exit{Offset: 11, Kind: NotStarted, Code: 127, Text: "not found"},
		&ExitAck{},
		&Ping{Stamp: 12},
		&Pong{Stamp: 13},
		&Presence{Attached: true, Name: "you@there"},
		&Leave{},
		&Info{
			Version: 1, Build: "b4", Session: "s2", Started: 6, Terminal: true, Ended: true, Clients: 2,
			PID: 99, Mounts: "mnt:[1]", Command: []string{"sh", "", "-c"},
		},
	}
}

func TestFrames_RoundTrip(t *testing.T) {
	messages := allMessages()
	if len(messages) != int(typeInfo) {
		t.Fatalf("%d messages for %d types", len(messages), typeInfo)
	}
	var wire []byte
	for _, m := range messages {
		wire = Append(wire, m)
	}
	for _, step := range []int{1, 7, 100000} {
		var d Decoder
		var got []Message
		for rest := wire; len(rest) > 0; rest = rest[min(step, len(rest)):] {
			d.Write(rest[:min(step, len(rest))])
			for {
				m, err := d.Next()
				if err != nil {
					t.Fatal(err)
				}
				if m == nil {
					break
				}
				got = append(got, clone(m))
			}
		}
		if diff := cmp.Diff(messages, got); diff != "" {
			t.Errorf("in steps of %d bytes:\n%s", step, diff)
		}
	}
}

// clone copies a message that is valid only until the next call of Decoder.Next or
// Decoder.Write.
func clone(m Message) Message {
	switch m := m.(type) {
	case *Input:
		return &Input{Offset: m.Offset, Data: bytes.Clone(m.Data)}
	case *InputAck:
		copied := *m
		return &copied
	case *Output:
		copied := *m
		copied.Data = bytes.Clone(m.Data)
		return &copied
	case *OutputAck:
		copied := *m
		return &copied
	}
	return m
}

func TestDecoder_Errors(t *testing.T) {
	frame := func(frameType byte, payload ...byte) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{frameType}, uint32(len(payload))), payload...)
	}
	tests := []struct {
		name string
		wire []byte
		want error
	}{
		{"a payload that is too long", []byte{typeInput, 0, 1, 0, 1}, ErrTooLong},
		{"an unknown type", frame(127), ErrUnknown},
		{"type 0", frame(0), ErrUnknown},
		{"an unknown optional type", frame(128, 1, 2), nil},
		{"a short payload", frame(typePing, 1, 2), ErrMalformed},
		{"a payload with a rest", Append(nil, &Ping{})[:5:5], nil},
		{"an additional byte", frame(typePing, 0, 0, 0, 0, 0, 0, 0, 0, 0), ErrMalformed},
		{"input without data", frame(typeInput, 0, 0, 0, 0, 0, 0, 0, 0), ErrMalformed},
		{"too much data", Append(nil, &Input{Data: make([]byte, maxData+1)}), ErrMalformed},
		{"signal 0", Append(nil, &Signal{}), ErrMalformed},
		{"signal 65", Append(nil, &Signal{Signal: 65}), ErrMalformed},
		{"stream 3", Append(nil, &Output{Stream: 3, Data: []byte("x")}), ErrMalformed},
		{"an unknown kind of exit", Append(nil, &Exit{Kind: TimedOut + 1}), ErrMalformed},
		{"a bool of 2", frame(typePresence, 2, 0, 0), ErrMalformed},
		{"a name that is too long", frame(typePresence, append([]byte{1, 1, 1}, make([]byte, 257)...)...), ErrMalformed},
		{"a Hello without the magic", frame(typeHello, make([]byte, 100)...), ErrMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var d Decoder
			d.Write(test.wire)
			if m, err := d.Next(); !errors.Is(err, test.want) || m != nil {
				t.Errorf("got %v, %v; want %v", m, err, test.want)
			}
		})
	}
}

func TestAppend_CutsLongStrings(t *testing.T) {
	long := strings.Repeat("x", 100000)
	var args []string
	for range 300 {
		args = append(args, long)
	}
	messages := []Message{
		&Hello{Build: long, Name: long, Term: long},
		&Welcome{Build: long, Session: long, Term: long},
		&Refused{Build: long, Text: long},
		&Exit{Text: long},
		&Presence{Name: long},
		&Info{Build: long, Session: long, Mounts: long, Command: args},
	}
	for _, m := range messages {
		var d Decoder
		d.Write(Append(nil, m))
		if got, err := d.Next(); err != nil || got == nil {
			t.Errorf("%T: %v", m, err)
		}
	}
}

// A later version may append fields to some messages.
func TestDecoder_AdditionalFields(t *testing.T) {
	for _, m := range allMessages() {
		wire := append(Append(nil, m), 1, 2, 3)
		binary.BigEndian.PutUint32(wire[1:], uint32(len(wire)-frameHeader))
		if len(wire)-frameHeader > maxData {
			continue // data, which has no fields after it
		}
		var d Decoder
		d.Write(wire)
		got, err := d.Next()
		switch m.(type) {
		case *Hello, *Welcome, *Refused, *Info:
			if err != nil || !cmp.Equal(m, got) {
				t.Errorf("%T: got %+v, %v", m, got, err)
			}
		case *Input, *Output: // the bytes are data
		default:
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("%T: got %v, want ErrMalformed", m, err)
			}
		}
	}
}

func FuzzDecoder(f *testing.F) {
	for _, m := range allMessages() {
		f.Add(Append(nil, m), 3)
	}
	f.Fuzz(func(t *testing.T, wire []byte, step int) {
		if step < 1 {
			step = len(wire) + 1
		}
		var d Decoder
		for rest := wire; len(rest) > 0; rest = rest[min(step, len(rest)):] {
			d.Write(rest[:min(step, len(rest))])
			for {
				m, err := d.Next()
				if err != nil {
					return
				}
				if m == nil {
					break
				}
				// What was decoded is encoded to the same message.
				var again Decoder
				again.Write(Append(nil, m))
				if got, err := again.Next(); err != nil || !cmp.Equal(m, got) {
					t.Fatalf("%#v was encoded to %#v, %v", m, got, err)
				}
			}
			if len(d.buf)-d.read > frameHeader+MaxPayload+len(wire) {
				t.Fatal("the decoder keeps too much")
			}
		}
	})
}
