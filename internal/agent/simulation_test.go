package agent

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// link is one relay of a simulation: bytes in both directions, which arrive late and
// in pieces.
type link struct {
	up, down     []byte // in transit
	upAt, downAt time.Duration
	cut          bool // the client does not use it any more; up may still arrive
	decoder      Decoder
	peer         *Peer
	dead         bool // the agent does not use it any more
}

// simulation connects a Client and a Session by relays that break.
type simulation struct {
	t       *testing.T
	random  *rand.Rand
	now     time.Duration
	session *Session
	client  *Client
	links   []*link // the last one is the newest

	gotInput   []byte // what the command has read
	gotEnd     int
	gotSignals []uint8
	toRead     int // how much the command reads in each step
	gotOutput  [3][]byte
	dropped    uint64
}

func newSimulation(t *testing.T, seed uint64, cfg SessionConfig) *simulation {
	t.Logf("seed %d", seed)
	s := &simulation{
		t: t, random: rand.New(rand.NewPCG(seed, 1)), session: NewSession(cfg),
		client: NewClient(ClientConfig{ID: ClientID{1}, Name: "me"}), toRead: 1 << 20,
	}
	s.connect()
	return s
}

func (s *simulation) connect() {
	if n := len(s.links); n > 0 {
		s.links[n-1].cut = true
	}
	s.links = append(s.links, &link{})
	s.client.Connect()
}

// cut breaks the newest relay: what is in transit is lost, or arrives late at the
// agent.
func (s *simulation) cut() {
	l := s.links[len(s.links)-1]
	switch s.random.IntN(3) {
	case 0: // reset
		l.up, l.down = nil, nil
		s.drop(l)
	case 1: // what is in transit arrives first, up to any byte
		if len(l.up) > 0 {
			l.up = l.up[:s.random.IntN(len(l.up))]
		}
	case 2: // half-open: all bytes arrive late
		l.upAt = s.now + time.Duration(s.random.IntN(2000))*time.Millisecond
	}
	s.connect()
}

// drop ends a relay at the agent.
func (s *simulation) drop(l *link) {
	if !l.dead && l.peer != nil {
		s.session.Detach(l.peer, s.now)
	}
	l.dead = true
}

// step simulates one millisecond.
func (s *simulation) step() {
	s.t.Helper()
	s.now += time.Millisecond
	newest := s.links[len(s.links)-1]

	before := len(newest.up)
	due := s.client.Due() || s.client.ackWaits
	newest.up = s.client.Next(newest.up, s.now)
	if !due && len(newest.up) > before {
		s.t.Fatalf("Next has appended %d bytes, which were not due", len(newest.up)-before)
	}
	if before == 0 && len(newest.up) > 0 {
		newest.upAt = max(newest.upAt, s.now+time.Duration(s.random.IntN(20))*time.Millisecond)
	}
	alive := s.links[:0]
	for _, l := range s.links {
		s.deliverUp(l)
		if l.cut && len(l.up) == 0 {
			s.drop(l)
		}
		if !l.dead || l == newest {
			alive = append(alive, l)
		}
	}
	s.links = alive
	if newest.peer != nil && !newest.dead && len(newest.down) < 100000 {
		if before := len(newest.down); before == 0 {
			newest.downAt = s.now + time.Duration(s.random.IntN(20))*time.Millisecond
		}
		newest.down = s.session.Next(newest.peer, newest.down, s.now)
	}
	if s.now >= newest.downAt && len(newest.down) > 0 {
		n := 1 + s.random.IntN(len(newest.down))
		if err := s.client.Receive(newest.down[:n], s.now); err != nil {
			s.t.Fatalf("client: %v", err)
		}
		newest.down = newest.down[n:]
	}
	for range s.random.IntN(3) {
		chunk, ok := s.client.Output()
		if !ok {
			break
		}
		n := s.random.IntN(len(chunk.Data) + 1)
		s.gotOutput[chunk.Stream] = append(s.gotOutput[chunk.Stream], chunk.Data[:n]...)
		s.dropped += chunk.Dropped
		s.client.Written(n)
	}
	s.runCommand()
}

func (s *simulation) deliverUp(l *link) {
	if l.dead || s.now < l.upAt || len(l.up) == 0 {
		return
	}
	n := 1 + s.random.IntN(len(l.up))
	l.decoder.Write(l.up[:n])
	l.up = l.up[n:]
	for !l.dead {
		m, err := l.decoder.Next()
		if err != nil {
			s.t.Fatalf("agent: %v", err)
		}
		if m == nil {
			return
		}
		s.receive(l, m)
	}
}

func (s *simulation) receive(l *link, m Message) {
	if l.peer == nil {
		hello, ok := m.(*Hello)
		if !ok {
			s.t.Fatalf("the first message is %T", m)
		}
		peer, _, refused := s.session.Attach(hello, s.now)
		if refused != nil && (refused.Reason != ReasonEpoch || !l.cut) {
			s.t.Fatalf("refused: %+v", refused)
		}
		l.peer, l.dead = peer, peer == nil
		return
	}
	err := s.session.Receive(l.peer, m, s.now)
	if errors.Is(err, ErrReplaced) && l.cut {
		l.dead = true
	} else if err != nil {
		s.t.Fatalf("agent: %v", err)
	}
}

func (s *simulation) runCommand() {
	for budget := s.toRead; budget > 0; {
		data, end, ok := s.session.Input()
		if !ok {
			break
		}
		if end {
			s.gotEnd++
			s.session.InputWritten(0)
			continue
		}
		n := min(1+s.random.IntN(len(data)), budget)
		s.gotInput = append(s.gotInput, data[:n]...)
		budget -= n
		s.session.InputWritten(n)
	}
	s.gotSignals = append(s.gotSignals, s.session.Signals()...)
}

// until runs steps until the condition holds.
func (s *simulation) until(what string, condition func() bool) {
	s.t.Helper()
	for range 200000 {
		if condition() {
			return
		}
		s.step()
	}
	s.t.Fatalf("%s: not after %v", what, s.now)
}

// random bytes that have no period.
func noise(random *rand.Rand, n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(random.Uint32())
	}
	return data
}

func TestSession_CommandWithCuts(t *testing.T) {
	for seed := range uint64(4) {
		s := newSimulation(t, seed, SessionConfig{})
		input := noise(s.random, 1<<20)
		want := [3][]byte{Stdout: noise(s.random, 5<<20), Stderr: noise(s.random, 100000)}
		s.toRead = 4000
		toSend, toWrite := input, want
		var signals []uint8
		cuts := 0
		for len(toSend) > 0 || len(toWrite[1])+len(toWrite[2]) > 0 || cuts < 200 {
			toSend = toSend[s.client.Input(toSend):]
			if len(toSend) == 0 {
				s.client.EndInput()
			}
			stream := Stream(1 + s.random.IntN(2))
			n := min(s.session.OutputRoom(), len(toWrite[stream]), 1+s.random.IntN(9000))
			s.session.Output(stream, toWrite[stream][:n])
			toWrite[stream] = toWrite[stream][n:]
			if s.random.IntN(50) == 0 && s.client.Signal(uint8(1+len(signals)%60)) {
				signals = append(signals, uint8(1+len(signals)%60))
			}
			if s.random.IntN(25) == 0 {
				s.cut()
				cuts++
			}
			s.step()
			if s.now > 10*time.Minute {
				t.Fatalf("no progress: %d and %d bytes are left", len(toSend), len(toWrite[1]))
			}
		}
		s.until("the end of the input", func() bool { return s.gotEnd > 0 && len(s.gotSignals) == len(signals) })
		s.session.Exit(Exited, 7, "")
		s.cut()
		s.until("the exit", func() bool { _, ok := s.client.Exit(); return ok })
		s.until("its acknowledgement", func() bool { return s.session.Finished(s.now) })
		if exit, _ := s.client.Exit(); exit.Kind != Exited || exit.Code != 7 {
			t.Errorf("exit %+v", exit)
		}
		if !bytes.Equal(s.gotInput, input) || s.gotEnd != 1 {
			t.Errorf("the command got %d bytes and %d ends, want %d", len(s.gotInput), s.gotEnd, len(input))
		}
		if !bytes.Equal(s.gotSignals, signals) {
			t.Errorf("signals %v, want %v", s.gotSignals, signals)
		}
		for _, stream := range []Stream{Stdout, Stderr} {
			if !bytes.Equal(s.gotOutput[stream], want[stream]) {
				t.Errorf("stream %d: %d bytes, want %d", stream, len(s.gotOutput[stream]), len(want[stream]))
			}
		}
		if s.dropped > 0 || cuts < 200 {
			t.Errorf("%d bytes were dropped in %d cuts", s.dropped, cuts)
		}
	}
}

// A shell counts while keys are typed.
func TestSession_TerminalWithCuts(t *testing.T) {
	for seed := range uint64(4) {
		s := newSimulation(t, seed, SessionConfig{Terminal: true})
		var keys, want []byte
		for cuts := 0; cuts < 200 || len(keys) < 1000; {
			if len(keys) < 1000 && s.random.IntN(5) == 0 {
				key := byte(s.random.Uint32())
				if s.client.Input([]byte{key}) == 1 {
					keys = append(keys, key)
				}
			}
			if s.session.OutputRoom() > 20 {
				line := noise(s.random, 20)
				want = append(want, line...)
				s.session.Output(Stdout, line)
			}
			if s.random.IntN(25) == 0 {
				s.cut()
				cuts++
			}
			s.step()
		}
		s.until("the keys", func() bool { return s.client.InputDone() && bytes.Equal(s.gotInput, keys) })
		s.session.Exit(Signaled, 9, "")
		s.until("the exit", func() bool { _, ok := s.client.Exit(); return ok })
		if !bytes.Equal(s.gotOutput[Stdout], want) || s.dropped > 0 {
			t.Errorf("got %d bytes of output, and %d were dropped; want %d", len(s.gotOutput[Stdout]), s.dropped, len(want))
		}
	}
}
