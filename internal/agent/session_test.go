package agent

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hello returns the Hello of the client with the given number.
func hello(number byte, epoch uint64) *Hello {
	return &Hello{Version: Version, MinVersion: minVersion, Client: ClientID{number}, Epoch: epoch, Name: "client"}
}

func mustAttach(t *testing.T, s *Session, h *Hello, now time.Duration) *Peer {
	t.Helper()
	p, _, refused := s.Attach(h, now)
	if refused != nil {
		t.Fatalf("refused: %+v", refused)
	}
	return p
}

// next returns the messages that can be sent to a client now.
func next(t *testing.T, s *Session, p *Peer, now time.Duration) []Message {
	t.Helper()
	var d Decoder
	for {
		frames := s.Next(p, nil, now)
		if len(frames) == 0 {
			break
		}
		d.Write(frames)
	}
	var messages []Message
	for {
		m, err := d.Next()
		if err != nil {
			t.Fatal(err)
		}
		if m == nil {
			return messages
		}
		messages = append(messages, clone(m))
	}
}

// outputOf returns the data of all Output messages.
func outputOf(messages []Message) string {
	var data []byte
	for _, m := range messages {
		if output, ok := m.(*Output); ok {
			data = append(data, output.Data...)
		}
	}
	return string(data)
}

// find returns the first message of a type, or nil.
func find[M Message](messages []Message) (found M) {
	for _, m := range messages {
		if m, ok := m.(M); ok {
			return m
		}
	}
	return found
}

func TestSession_AttachRefused(t *testing.T) {
	s := NewSession(SessionConfig{Build: "b"})
	mustAttach(t, s, hello(1, 5), 0)
	tests := []struct {
		name   string
		change func(*Hello)
		want   Reason
	}{
		{"the same epoch", func(h *Hello) { h.Epoch = 5 }, ReasonEpoch},
		{"an old epoch", func(h *Hello) { h.Epoch = 4 }, ReasonEpoch},
		{"output that does not exist", func(h *Hello) { h.Output = 1 }, ReasonOffset},
		{"only newer versions", func(h *Hello) { h.Version, h.MinVersion = 9, Version+1 }, ReasonVersion},
		{"version 0", func(h *Hello) { h.Version, h.MinVersion = 0, 0 }, ReasonVersion},
		{"an unknown purpose", func(h *Hello) { h.Purpose = 3 }, ReasonMalformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := hello(1, 6)
			test.change(h)
			p, _, refused := s.Attach(h, 0)
			if p != nil || refused == nil || refused.Reason != test.want || refused.Build != "b" || refused.Text == "" {
				t.Errorf("got %+v, want reason %d", refused, test.want)
			}
		})
	}
	for number := range byte(maxPeers - 1) {
		mustAttach(t, s, hello(10+number, 1), 0)
	}
	if _, _, refused := s.Attach(hello(9, 1), 0); refused == nil || refused.Reason != ReasonTooMany {
		t.Errorf("one client too many: %+v", refused)
	}
	mustAttach(t, s, hello(1, 7), 0) // replaces its own relay
}

func TestSession_OnlyNewestRelayIsRead(t *testing.T) {
	s := NewSession(SessionConfig{Terminal: true})
	old := mustAttach(t, s, hello(1, 1), 0)
	p, replaced, _ := s.Attach(hello(1, 2), 0)
	if replaced != old {
		t.Errorf("replaced %p, want %p", replaced, old)
	}
	if err := s.Receive(old, &Input{Data: []byte("late")}, 0); !errors.Is(err, ErrReplaced) {
		t.Errorf("the old relay: %v", err)
	}
	if frames := s.Next(old, nil, 0); len(frames) > 0 {
		t.Error("frames are sent on the old relay")
	}
	s.Detach(old, 0)
	if err := s.Receive(p, &Input{Data: []byte("new")}, 0); err != nil {
		t.Error(err)
	}
	if data, _, _ := s.Input(); string(data) != "new" {
		t.Errorf("input %q", data)
	}
}

func TestSession_InputOnceAndWithoutGaps(t *testing.T) {
	s := NewSession(SessionConfig{})
	p := mustAttach(t, s, hello(1, 1), 0)
	steps := []struct {
		m    Message
		want error
	}{
		{&Input{Offset: 0, Data: []byte("abc")}, nil},
		{&Input{Offset: 0, Data: []byte("abc")}, nil},  // known
		{&Input{Offset: 2, Data: []byte("cde")}, nil},  // partly known
		{&Input{Offset: 6, Data: []byte("g")}, ErrGap}, // f is missing
		{&InputEnd{Offset: 5}, nil},
		{&InputEnd{Offset: 5}, nil}, // known
		{&Input{Offset: 6, Data: []byte("x")}, ErrUnexpected},
		{&Signal{Number: 0, Signal: 2}, nil},
		{&Signal{Number: 0, Signal: 2}, nil}, // known
		{&Signal{Number: 2, Signal: 2}, ErrGap},
		{&OutputAck{Offset: 1}, ErrUnexpected}, // not sent
		{&ExitAck{}, ErrUnexpected},
		{&Welcome{}, ErrUnexpected},
		{&Input{Offset: 1 << 63, Data: []byte("x")}, ErrGap},
	}
	for i, step := range steps {
		if err := s.Receive(p, step.m, 0); !errors.Is(err, step.want) {
			t.Errorf("step %d: %v, want %v", i, err, step.want)
		}
	}
	if got := s.Signals(); !bytes.Equal(got, []byte{2}) {
		t.Errorf("signals %v", got)
	}
	var input []byte
	ends := 0
	for {
		data, end, ok := s.Input()
		if !ok {
			break
		}
		input = append(input, data...)
		if end {
			ends++
		}
		s.InputWritten(len(data))
	}
	if string(input) != "abcde" || ends != 1 {
		t.Errorf("input %q with %d ends", input, ends)
	}
	if ack := find[*InputAck](next(t, s, p, 0)); ack == nil || *ack != (InputAck{Offset: 6, Signals: 1}) {
		t.Errorf("acknowledged %+v", ack)
	}
}

// Input is acknowledged only when it was written to the command.
func TestSession_InputAcknowledgedWhenWritten(t *testing.T) {
	s := NewSession(SessionConfig{Terminal: true})
	p := mustAttach(t, s, hello(1, 1), 0)
	for offset := uint64(0); offset < terminalInputLimit; offset += 1024 {
		if err := s.Receive(p, &Input{Offset: offset, Data: make([]byte, 1024)}, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Receive(p, &Input{Offset: terminalInputLimit, Data: make([]byte, 2)}, 0); !errors.Is(err, ErrTooMuch) {
		t.Errorf("more than the limit: %v", err)
	}
	if ack := find[*InputAck](next(t, s, p, 0)); ack.Offset != 0 {
		t.Errorf("%d bytes are acknowledged and were not written", ack.Offset)
	}
	s.InputWritten(10)
	if ack := find[*InputAck](next(t, s, p, 0)); ack.Offset != 10 {
		t.Errorf("%d bytes are acknowledged, want 10", ack.Offset)
	}
	s.CloseInput()
	s.InputWritten(5) // of the write that was running
	if ack := find[*InputAck](next(t, s, p, 0)); ack.Offset != terminalInputLimit {
		t.Errorf("after CloseInput, %d bytes are acknowledged", ack.Offset)
	}
}

func TestSession_TerminalWithoutClients(t *testing.T) {
	s := NewSession(SessionConfig{Terminal: true, Buffer: 1000})
	for range 10 {
		if s.OutputRoom() < 300 {
			t.Fatal("the program waits although no client is attached")
		}
		s.Output(Stdout, bytes.Repeat([]byte("x"), 300))
	}
	p := mustAttach(t, s, hello(1, 1), 0)
	messages := next(t, s, p, 0)
	if m := find[*Skipped](messages); m == nil || m.Offset != 2000 {
		t.Errorf("skipped %+v, want 2000", m)
	}
	if m := find[*Welcome](messages); m.Output != 2000 || !p.Fresh {
		t.Errorf("welcome %+v, fresh %v", m, p.Fresh)
	}
	if got := outputOf(messages); len(got) != 1000 {
		t.Errorf("%d bytes of output, want 1000", len(got))
	}
}

// A client that does not acknowledge skips output, and does not stop the others.
func TestSession_SlowClientSkips(t *testing.T) {
	s := NewSession(SessionConfig{Terminal: true, Buffer: 100 << 10})
	fast := mustAttach(t, s, hello(1, 1), 0)
	slow := mustAttach(t, s, hello(2, 1), 0)
	received := 0
	for range 1000 {
		n := min(s.OutputRoom(), 1000)
		if n == 0 {
			t.Fatal("the slow client stops the command")
		}
		s.Output(Stdout, make([]byte, n))
		received += len(outputOf(next(t, s, fast, time.Second)))
		ack := &OutputAck{Offset: uint64(received), Stamp: stampOf(time.Second)}
		if err := s.Receive(fast, ack, time.Second); err != nil {
			t.Fatal(err)
		}
	}
	end := s.log.end
	if uint64(received) != end {
		t.Errorf("the fast client received %d of %d bytes", received, end)
	}
	messages := next(t, s, slow, time.Second)
	if m := find[*Skipped](messages); m == nil || m.Offset != end-100<<10 {
		t.Errorf("the slow client: %+v, want %d", m, end-100<<10)
	}
	if s.log.size() > 100<<10 {
		t.Errorf("%d bytes are kept", s.log.size())
	}
}

// A client that has not acknowledged what was sent is sent nothing more.
func TestSession_SkipsAfterAcknowledgement(t *testing.T) {
	s := NewSession(SessionConfig{Terminal: true, Buffer: 100 << 10})
	slow := mustAttach(t, s, hello(1, 1), 0)
	s.Output(Stdout, make([]byte, 50000))
	sent := len(outputOf(next(t, s, slow, 0)))
	for range 5 {
		s.Output(Stdout, make([]byte, 100000))
		if messages := next(t, s, slow, 0); len(messages) > 0 && s.log.start > 50000 {
			t.Fatalf("%d bytes are in transit, and %T is sent", sent, messages[0])
		} else {
			sent += len(outputOf(messages))
		}
	}
	if err := s.Receive(slow, &OutputAck{Offset: uint64(sent)}, 0); err != nil {
		t.Fatal(err)
	}
	if m := find[*Skipped](next(t, s, slow, 0)); m == nil || m.Offset != s.log.start {
		t.Errorf("after the acknowledgement: %+v, want %d", m, s.log.start)
	}
}

// The window of a client may become smaller than the output that is in transit to it,
// while more output is kept.
func TestSession_WindowShrinksWithOutputInTransit(t *testing.T) {
	s := NewSession(SessionConfig{Terminal: true})
	const size = 1 << 20
	for s.log.end < size {
		s.Output(Stdout, make([]byte, 4<<10))
	}
	p := mustAttach(t, s, hello(1, 1), 0)
	var inTransit []*Output
	shrunk, drained := false, false
	for now := 10 * time.Millisecond; ; now += time.Second { // the first round trip is short
		for _, m := range next(t, s, p, now) {
			if output, ok := m.(*Output); ok {
				inTransit = append(inTransit, output)
			}
		}
		if len(inTransit) == 0 {
			break
		}
		first := inTransit[0]
		inTransit = inTransit[1:]
		ack := &OutputAck{Offset: first.Offset + uint64(len(first.Data)), Stamp: first.Stamp}
		if now < time.Second {
			ack.Stamp = stampOf(now - 5*time.Millisecond)
		}
		if err := s.Receive(p, ack, now); err != nil {
			t.Fatal(err)
		}
		shrunk = shrunk || p.window.size < int(p.sent-p.client.acked)
		drained = drained || p.window.limit() == 0
	}
	if p.client.acked != size {
		t.Errorf("the client received %d of %d bytes", p.client.acked, size)
	}
	if !shrunk || !drained {
		t.Errorf("the window became too small: %v, was drained: %v; want both", shrunk, drained)
	}
}

// A command without a terminal waits for its owner, also while it is not attached.
func TestSession_CommandWaitsForOwner(t *testing.T) {
	s := NewSession(SessionConfig{})
	p := mustAttach(t, s, hello(1, 1), 0)
	observer := mustAttach(t, s, hello(2, 1), 0)
	s.Detach(p, 0)
	total := 0
	for n := s.OutputRoom(); n > 0; n = s.OutputRoom() {
		n = min(n, 10000)
		s.Output(Stdout, make([]byte, n))
		total += n
	}
	if total != commandWindow {
		t.Errorf("%d bytes are kept, want %d", total, commandWindow)
	}
	sent := len(outputOf(next(t, s, observer, 0)))
	if err := s.Receive(observer, &OutputAck{Offset: uint64(sent)}, 0); err != nil || s.OutputRoom() > 0 {
		t.Errorf("an observer's acknowledgement counts: room %d, %v", s.OutputRoom(), err)
	}
	p = mustAttach(t, s, hello(1, 2), 0)
	if got := len(outputOf(next(t, s, p, 0))); got != total {
		t.Errorf("the owner gets %d bytes, want %d", got, total)
	}
	if err := s.Receive(p, &OutputAck{Offset: 1000}, 0); err != nil || s.OutputRoom() != 1000 {
		t.Errorf("room %d, %v; want 1000", s.OutputRoom(), err)
	}
}

func TestSession_OwnerPassesOn(t *testing.T) {
	tests := []struct {
		name string
		do   func(s *Session, first *Peer)
		want bool
	}{
		{"the owner is attached", func(*Session, *Peer) {}, false},
		{"the owner is away", func(s *Session, p *Peer) { s.Detach(p, 0) }, false},
		{"the owner is away for long", func(s *Session, p *Peer) { s.Detach(p, 0); s.Silent(DefaultCommandIdle) }, true},
		{"the owner leaves", func(s *Session, p *Peer) { s.Receive(p, &Leave{}, 0); s.Detach(p, 0) }, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := NewSession(SessionConfig{})
			first := mustAttach(t, s, hello(1, 1), 0)
			second := mustAttach(t, s, hello(2, 1), 0)
			test.do(s, first)
			if got := s.owner == second.client; got != test.want {
				t.Errorf("the second client is the owner: %v, want %v", got, test.want)
			}
		})
	}
	s := NewSession(SessionConfig{})
	s.Detach(mustAttach(t, s, hello(1, 1), 0), 0)
	p := mustAttach(t, s, hello(2, 1), 0)
	welcome := find[*Welcome](next(t, s, p, 0))
	if !welcome.Owner || welcome.InputLimit != 0 {
		t.Errorf("a client that attaches while the owner is away: %+v", welcome)
	}
	if err := s.Receive(p, &Input{Data: []byte("x")}, 0); !errors.Is(err, ErrUnexpected) {
		t.Errorf("it sends input: %v", err)
	}
}

func TestSession_SizeOfNewest(t *testing.T) {
	s := NewSession(SessionConfig{Terminal: true})
	first := hello(1, 1)
	first.Size = Size{80, 24}
	p1 := mustAttach(t, s, first, 0)
	second := hello(2, 1)
	second.Size = Size{100, 50}
	p2 := mustAttach(t, s, second, 0)
	check := func(what string, want Size, wantChanged bool) {
		t.Helper()
		if got, changed := s.Size(); got != want || changed != wantChanged {
			t.Errorf("%s: %v, changed %v; want %v, %v", what, got, changed, want, wantChanged)
		}
	}
	check("attached", Size{100, 50}, true)
	s.Receive(p1, &Input{Data: []byte("x")}, 0)
	check("the first client types", Size{80, 24}, true)
	s.Receive(p2, &Ping{}, 0)
	check("the second client pings", Size{80, 24}, false)
	s.Receive(p2, &Resize{Size{101, 51}}, 0)
	check("the second client resizes", Size{101, 51}, true)
	first.Epoch++
	mustAttach(t, s, first, 0)
	check("the first client attaches again", Size{101, 51}, false)
	s.Receive(p2, &Resize{Size{}}, 0)
	check("an unknown size", Size{101, 51}, false)
}

// Exit follows all output, and is sent on each relay.
func TestSession_ExitUntilAcknowledged(t *testing.T) {
	s := NewSession(SessionConfig{})
	p := mustAttach(t, s, hello(1, 1), 0)
	s.Output(Stderr, []byte("the end"))
	s.Exit(Exited, 3, "")
	s.Exit(Signaled, 9, "") // has no effect
	want := &Exit{Offset: 7, Code: 3}
	for epoch := uint64(2); epoch < 5; epoch++ {
		messages := next(t, s, p, 0)
		if diff := cmp.Diff(want, messages[len(messages)-1]); diff != "" || outputOf(messages) != "the end" {
			t.Errorf("the last message: %s", diff)
		}
		s.Detach(p, 0)
		p = mustAttach(t, s, hello(1, epoch), 0)
	}
	next(t, s, p, 0)
	if s.Finished(time.Hour) {
		t.Error("finished before the acknowledgement")
	}
	other := mustAttach(t, s, hello(2, 1), 0)
	if err := s.Receive(p, &ExitAck{}, time.Second); err != nil {
		t.Fatal(err)
	}
	if s.Finished(2 * time.Second) {
		t.Error("finished while another client does not know the exit")
	}
	if d := s.Deadline(); d != 11*time.Second || !s.Finished(d) {
		t.Errorf("deadline %v, finished %v", d, s.Finished(d))
	}
	next(t, s, other, 0)
	s.Receive(other, &ExitAck{}, 3*time.Second)
	if !s.Finished(3 * time.Second) {
		t.Error("not finished after both acknowledgements")
	}
}

func TestSession_TimeLimits(t *testing.T) {
	s := NewSession(SessionConfig{Idle: time.Hour, Total: 10 * time.Hour})
	if s.Deadline() != time.Hour || s.Expired(time.Hour-1) || !s.Expired(time.Hour) {
		t.Error("the limit without clients, at the start")
	}
	p := mustAttach(t, s, hello(1, 1), time.Minute)
	if s.Expired(2 * time.Hour) {
		t.Error("expired while a client is attached")
	}
	if d := s.Deadline(); d != 2*time.Minute {
		t.Errorf("deadline %v", d)
	}
	s.Receive(p, &Ping{}, 100*time.Second)
	if silent := s.Silent(159 * time.Second); len(silent) > 0 {
		t.Error("silent too early")
	}
	if silent := s.Silent(160 * time.Second); len(silent) != 1 || silent[0] != p {
		t.Errorf("silent: %v", silent)
	}
	s.Detach(p, 160*time.Second)
	if want := 160*time.Second + time.Hour; s.Deadline() != want || s.Expired(want-1) || !s.Expired(want) {
		t.Errorf("deadline %v, want %v", s.Deadline(), want)
	}
	mustAttach(t, s, hello(1, 2), 9*time.Hour)
	if !s.Expired(10 * time.Hour) {
		t.Error("not expired at the total limit")
	}
}

// After a loss, a client may attach again, but not after it has left.
func TestSession_Awaits(t *testing.T) {
	s := NewSession(SessionConfig{})
	if s.Awaits(0) {
		t.Error("without clients")
	}
	p := mustAttach(t, s, hello(1, 1), 0)
	s.Detach(p, time.Second)
	if !s.Awaits(DefaultSilence-1) || s.Awaits(DefaultSilence) {
		t.Error("after a loss")
	}
	p = mustAttach(t, s, hello(1, 2), time.Minute)
	if err := s.Receive(p, &Leave{}, time.Minute); !errors.Is(err, ErrLeft) {
		t.Fatal(err)
	}
	s.Detach(p, time.Minute)
	if s.Awaits(time.Minute) {
		t.Error("after a Leave")
	}
	if mustAttach(t, s, hello(1, 3), time.Minute); !s.Awaits(2 * time.Minute) {
		t.Error("attached again")
	}
}

func TestSession_Presence(t *testing.T) {
	s := NewSession(SessionConfig{Terminal: true})
	p := mustAttach(t, s, hello(1, 1), 0)
	next(t, s, p, 0)
	mustAttach(t, s, hello(2, 1), 0)
	other := mustAttach(t, s, hello(2, 2), 0) // a reconnect is not announced
	want := []Message{&Presence{Attached: true, Name: "client"}}
	if diff := cmp.Diff(want, next(t, s, p, 0)); diff != "" {
		t.Error(diff)
	}
	s.Detach(other, 0)
	s.Detach(other, 0)
	if diff := cmp.Diff([]Message{&Presence{Name: "client"}}, next(t, s, p, 0)); diff != "" {
		t.Error(diff)
	}
}

// Many clients do not use more and more memory, and the first is never forgotten.
func TestSession_ForgetsOldClients(t *testing.T) {
	s := NewSession(SessionConfig{})
	first := mustAttach(t, s, hello(0, 1), 0)
	for i := range 1000 {
		h := hello(1, 1)
		h.Client[1], h.Client[2] = byte(i), byte(i>>8)
		s.Detach(mustAttach(t, s, h, time.Duration(i)), time.Duration(i))
	}
	if len(s.clients) > maxClients || s.clients[first.client.id] == nil {
		t.Errorf("%d clients are known", len(s.clients))
	}
}

// A small number of messages does not use much memory.
func TestSession_SmallInputIsJoined(t *testing.T) {
	s := NewSession(SessionConfig{})
	p := mustAttach(t, s, hello(1, 1), 0)
	for i := range uint64(commandInputLimit) {
		if err := s.Receive(p, &Input{Offset: i, Data: []byte{1}}, 0); err != nil {
			t.Fatal(err)
		}
	}
	if len(s.input) > commandInputLimit/chunkSize+1 {
		t.Errorf("%d pieces of input", len(s.input))
	}
}

func TestSession_AlternatingStreams(t *testing.T) {
	s := NewSession(SessionConfig{})
	p := mustAttach(t, s, hello(1, 1), 0)
	want := [3][]byte{}
	i := 0
	for ; s.OutputRoom() > 0; i++ {
		stream := Stream(1 + i%2)
		s.Output(stream, []byte{byte(i)})
		want[stream] = append(want[stream], byte(i))
	}
	if i != maxRuns {
		t.Errorf("%d changes of the stream, want %d", i, maxRuns)
	}
	var got [3][]byte
	for _, m := range next(t, s, p, 0) {
		if m, ok := m.(*Output); ok {
			got[m.Stream] = append(got[m.Stream], m.Data...)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	s.Receive(p, &OutputAck{Offset: 10}, 0)
	if s.OutputRoom() == 0 {
		t.Error("no room after an acknowledgement")
	}
}
