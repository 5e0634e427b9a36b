package agent

import (
	"errors"
	"time"
)

// Defaults of SessionConfig.
const (
	DefaultBuffer        = 2 << 20
	DefaultTerminalIdle  = 8 * time.Hour
	DefaultCommandIdle   = 10 * time.Minute
	DefaultTotal         = 24 * time.Hour
	DefaultSilence       = 60 * time.Second
	terminalInputLimit   = 64 << 10
	commandInputLimit    = 512 << 10
	maxPeers             = 16
	maxClients           = 32
	maxPendingSignals    = 64
	maxPendingPresences  = 16
	maxPiecesOfInput     = 4096
	lastExitAcknowledged = 10 * time.Second // from the first acknowledgement of the exit until the agent can end
)

// Errors of Session.Receive and Client.Receive. After each of them, the relay must
// be closed.
var (
	ErrGap        = errors.New("a frame is missing")
	ErrTooMuch    = errors.New("the other end ignores the flow control")
	ErrUnexpected = errors.New("a message is not expected")
	ErrForgotten  = errors.New("the agent does not know what this client has sent")
	ErrLeft       = errors.New("the client has detached")
	ErrReplaced   = errors.New("a newer relay of the client is attached")
)

// SessionConfig describes a session. Zero limits have defaults.
type SessionConfig struct {
	ID       string
	Build    string
	Started  uint64 // seconds since 1970
	Terminal bool
	Term     string        // TERM of the client that starts the session
	Buffer   int           // bytes of output that are kept; at least the window for a command without a terminal
	Idle     time.Duration // the time after which the session expires if no client is attached; see also Silent
	Total    time.Duration // the time after which the session expires
	Silence  time.Duration // the time after which a relay without frames is closed
}

// Session is the agent's end. Its methods must not be called concurrently. The time
// is the time since the session started.
//
// A command with a terminal does not wait for clients that are not attached: the
// oldest output is dropped. Its output is read as fast as the fastest attached client
// permits, and the others skip what they cannot receive in time.
//
// A command without a terminal loses no output: it waits until one client, the owner,
// has acknowledged enough. The owner is the client that attached first. If it is not
// attached when another client attaches, the other client becomes the owner. Only the
// client that attached first can send input.
type Session struct {
	cfg     SessionConfig
	log     outputLog
	clients map[ClientID]*client
	peers   []*Peer // the attached clients
	first   *client
	owner   *client

	input       []pieceOfInput
	inputClosed bool // all further input is discarded
	signals     []uint8
	size        Size
	resized     bool

	exit      *Exit
	exitAcked time.Duration // the time of the first acknowledgement; 0 means none
	idleSince time.Duration // the time since which no client is attached
}

type pieceOfInput struct {
	from *client
	data []byte // nil means the end of the input
}

// client is what the session knows about a client, on all of its relays.
type client struct {
	id        ClientID
	name      string
	epoch     uint64
	size      Size
	received  uint64 // the offset of the next byte of input
	written   uint64 // the offset of the next byte of input that the command gets
	ended     bool   // the end of the input was received
	signals   uint64 // the number of signals that were received
	acked     uint64 // the offset of the first byte of output that is not acknowledged
	exitAcked bool
	left      bool          // the last frame was a Leave
	seen      time.Duration // the time of the last frame
	peer      *Peer         // the newest relay, or nil
}

// Peer is a client that is attached, on one relay.
type Peer struct {
	Fresh bool // the client has not received all earlier output, so a full-screen program should redraw

	client    *client
	sent      uint64 // the offset of the next byte of output to send
	window    window
	welcome   *Welcome
	skipped   bool // a Skipped is due, with the value of sent as its offset
	pong      uint64
	pongDue   bool
	ackDue    bool
	exitSent  bool
	presences []Presence
}

// NewSession returns a session without output and clients.
func NewSession(cfg SessionConfig) *Session {
	if cfg.Buffer <= 0 {
		cfg.Buffer = DefaultBuffer
	}
	if cfg.Idle <= 0 {
		cfg.Idle = DefaultCommandIdle
		if cfg.Terminal {
			cfg.Idle = DefaultTerminalIdle
		}
	}
	if cfg.Total <= 0 {
		cfg.Total = DefaultTotal
	}
	if cfg.Silence <= 0 {
		cfg.Silence = DefaultSilence
	}
	if !cfg.Terminal {
		cfg.Buffer = max(cfg.Buffer, commandWindow)
	}
	return &Session{cfg: cfg, clients: map[ClientID]*client{}}
}

// Check returns the answer to a Hello that cannot be accepted, or nil.
func (s *Session) Check(h *Hello) *Refused {
	switch {
	case h.Version < minVersion || h.MinVersion > Version:
		return s.refuse(ReasonVersion, "no common version of the protocol")
	case h.Purpose > PurposeEnd:
		return s.refuse(ReasonMalformed, "unknown purpose")
	}
	return nil
}

func (s *Session) refuse(reason Reason, text string) *Refused {
	return &Refused{Reason: reason, Version: Version, Build: s.cfg.Build, Text: text}
}

// Attach adds a client after its Hello. If the client was attached, its old relay
// must be closed: Receive returns ErrReplaced for it. If the client is not accepted,
// Attach returns a Refused, which must be sent before the relay is closed.
func (s *Session) Attach(h *Hello, now time.Duration) (added, replaced *Peer, refused *Refused) {
	if refused := s.Check(h); refused != nil {
		return nil, nil, refused
	}
	c := s.clients[h.Client]
	known := c != nil
	switch {
	case known && h.Epoch <= c.epoch:
		return nil, nil, s.refuse(ReasonEpoch, "a newer relay of this client is attached")
	case h.Output > s.log.end:
		return nil, nil, s.refuse(ReasonOffset, "no output at this offset")
	case (!known || c.peer == nil) && len(s.peers) >= maxPeers:
		return nil, nil, s.refuse(ReasonTooMany, "too many clients are attached")
	}
	if !known {
		c = &client{id: h.Client}
		s.makeRoom()
		s.clients[h.Client] = c
	}
	replaced = c.peer
	s.remove(replaced)
	c.epoch, c.name, c.seen, c.left = h.Epoch, h.Name, now, false
	if !known {
		c.acked = h.Output
	}

	p := &Peer{client: c, sent: h.Output, window: newWindow(s.cfg.Terminal), ackDue: true}
	p.Fresh = !known || h.Output < s.log.start
	if s.first == nil {
		s.first = c
	}
	if s.owner == nil || s.owner.peer == nil {
		s.owner = c
	}
	if !known || h.Size != c.size {
		s.setSize(c, h.Size)
	}
	if replaced == nil {
		s.announce(Presence{Attached: true, Name: c.name})
	}
	c.peer = p
	s.peers = append(s.peers, p)
	p.welcome = &Welcome{
		Version: min(Version, h.Version), Build: s.cfg.Build, Session: s.cfg.ID, Started: s.cfg.Started,
		Terminal: s.cfg.Terminal, Owner: c == s.owner, Input: c.received, Signals: c.signals,
		InputLimit: uint32(s.inputLimit(c)), Output: s.log.start, Clients: uint16(len(s.peers)), Term: s.cfg.Term,
	}
	return p, replaced, nil
}

// makeRoom forgets the client that was not seen for the longest time, if there are
// too many.
func (s *Session) makeRoom() {
	if len(s.clients) < maxClients {
		return
	}
	var oldest *client
	for _, c := range s.clients {
		if c.peer == nil && c != s.first && c != s.owner && (oldest == nil || c.seen < oldest.seen) {
			oldest = c
		}
	}
	if oldest != nil {
		delete(s.clients, oldest.id)
	}
}

// inputLimit returns the maximum number of bytes of input from a client that are not
// acknowledged.
func (s *Session) inputLimit(c *client) int {
	switch {
	case s.cfg.Terminal:
		return terminalInputLimit
	case c == s.first:
		return commandInputLimit
	}
	return 0
}

// announce tells the attached clients about another client.
func (s *Session) announce(m Presence) {
	for _, p := range s.peers {
		if len(p.presences) < maxPendingPresences {
			p.presences = append(p.presences, m)
		}
	}
}

// Detach removes a client whose relay has ended. It does nothing if the client was
// removed before.
func (s *Session) Detach(p *Peer, now time.Duration) {
	if !s.remove(p) {
		return
	}
	s.announce(Presence{Name: p.client.name})
	if len(s.peers) == 0 {
		s.idleSince = now
	}
}

// remove reports whether the peer was attached.
func (s *Session) remove(p *Peer) bool {
	if p == nil || p.client.peer != p {
		return false
	}
	p.client.peer = nil
	for i := range s.peers {
		if s.peers[i] == p {
			s.peers = append(s.peers[:i], s.peers[i+1:]...)
			break
		}
	}
	return true
}

// Receive processes a message of a client. After an error, the relay must be closed,
// and Detach be called.
func (s *Session) Receive(p *Peer, m Message, now time.Duration) error {
	c := p.client
	if c.peer != p {
		return ErrReplaced
	}
	c.seen = now
	switch m := m.(type) {
	case *Input:
		return s.receiveInput(p, m.Offset, m.Data)
	case *InputEnd:
		return s.receiveInput(p, m.Offset, nil)
	case *Signal:
		return s.receiveSignal(p, m)
	case *OutputAck:
		return s.receiveAck(p, m, now)
	case *Resize:
		s.setSize(c, m.Size)
	case *Ping:
		p.pong, p.pongDue = m.Stamp, true
	case *ExitAck:
		if s.exit == nil || p.sent < s.exit.Offset || !p.exitSent {
			return ErrUnexpected
		}
		c.exitAcked = true
		if s.exitAcked == 0 {
			s.exitAcked = max(now, 1)
		}
	case *Leave:
		c.left = true
		if s.owner == c {
			s.passOn()
		}
		return ErrLeft
	default:
		return ErrUnexpected
	}
	return nil
}

// passOn makes another attached client the owner, if there is one.
func (s *Session) passOn() {
	for _, p := range s.peers {
		if p.client != s.owner {
			s.owner = p.client
			return
		}
	}
}

// receiveInput adds input to the queue. data is nil at the end of the input, which
// counts as one byte.
func (s *Session) receiveInput(p *Peer, offset uint64, data []byte) error {
	c, length := p.client, uint64(max(len(data), 1))
	if offset > c.received {
		return ErrGap
	}
	p.ackDue = true
	known := c.received - offset
	if known >= length {
		return nil
	}
	length -= known
	switch {
	case c.ended, s.inputLimit(c) == 0:
		return ErrUnexpected
	case c.received-c.written+length > uint64(s.inputLimit(c))+1, // 1 for the end
		len(s.input) >= maxPiecesOfInput:
		return ErrTooMuch
	}
	c.received += length
	c.ended = data == nil
	if s.inputClosed {
		c.written = c.received
		return nil
	}
	if data == nil {
		s.input = append(s.input, pieceOfInput{from: c})
		return nil
	}
	s.setSize(c, c.size)
	data = data[known:]
	if n := len(s.input); n > 0 {
		if last := &s.input[n-1]; last.from == c && last.data != nil && len(last.data)+len(data) <= chunkSize {
			last.data = append(last.data, data...)
			return nil
		}
	}
	s.input = append(s.input, pieceOfInput{c, append([]byte(nil), data...)})
	return nil
}

func (s *Session) receiveSignal(p *Peer, m *Signal) error {
	c := p.client
	if m.Number > c.signals {
		return ErrGap
	}
	p.ackDue = true
	if m.Number < c.signals {
		return nil
	}
	if len(s.signals) >= maxPendingSignals {
		return ErrTooMuch
	}
	c.signals++
	s.signals = append(s.signals, m.Signal)
	return nil
}

func (s *Session) receiveAck(p *Peer, m *OutputAck, now time.Duration) error {
	c := p.client
	if m.Offset > p.sent {
		return ErrUnexpected
	}
	n := int(m.Offset - min(c.acked, m.Offset))
	c.acked = max(c.acked, m.Offset)
	p.window.acked(now, sinceStamp(m.Stamp, now), c.acked, p.sent, n)
	return nil
}

// setSize makes the size of a client the size of the terminal.
func (s *Session) setSize(c *client, size Size) {
	c.size = size
	if size != s.size && size.Cols > 0 && size.Rows > 0 {
		s.size, s.resized = size, true
	}
}

// Size returns the size of the terminal, and whether it was changed since the last
// call.
func (s *Session) Size() (Size, bool) {
	resized := s.resized
	s.resized = false
	return s.size, resized
}

// Signals returns the signals that were received since the last call.
func (s *Session) Signals() []uint8 {
	signals := s.signals
	s.signals = nil
	return signals
}

// Input returns the next input for the command, or its end. It returns false if there
// is none. The data is valid until InputWritten is called.
func (s *Session) Input() (data []byte, end, ok bool) {
	if len(s.input) == 0 {
		return nil, false, false
	}
	return s.input[0].data, s.input[0].data == nil, true
}

// InputWritten acknowledges n bytes that Input has returned, or the end of the input.
func (s *Session) InputWritten(n int) {
	if len(s.input) == 0 { // CloseInput was called while the input was written
		return
	}
	piece := &s.input[0]
	end := piece.data == nil
	if end {
		n = 1
	} else {
		piece.data = piece.data[n:]
	}
	piece.from.written += uint64(n)
	if piece.from.peer != nil {
		piece.from.peer.ackDue = true
	}
	if end || len(piece.data) == 0 {
		s.input[0] = pieceOfInput{}
		s.input = s.input[1:]
	}
}

// CloseInput must be called when the command does not read input any more. All
// pending and further input is discarded and acknowledged.
func (s *Session) CloseInput() {
	s.input, s.inputClosed = nil, true
	for _, c := range s.clients {
		c.written = c.received
		if c.peer != nil {
			c.peer.ackDue = true
		}
	}
}

// OutputRoom returns how many bytes of output may be read from the command now.
func (s *Session) OutputRoom() int {
	if !s.cfg.Terminal {
		if len(s.log.runs) >= maxRuns && s.log.runs[len(s.log.runs)-maxRuns].end > s.owned() {
			return 0
		}
		return max(s.cfg.Buffer-int(s.log.end-s.owned()), 0)
	}
	if len(s.peers) == 0 {
		return chunkSize
	}
	room := 0
	for _, p := range s.peers {
		room = max(room, p.window.limit()-int(s.log.end-p.client.acked))
	}
	return room
}

// owned returns the offset of the output that must be kept for the owner.
func (s *Session) owned() uint64 {
	if s.owner == nil {
		return s.log.start
	}
	return max(s.owner.acked, s.log.start)
}

// OutputSize is the best size, in bytes, of a buffer with which the caller reads
// output of the command. It is a multiple of the size of the largest frame's data.
const OutputSize = 2 * chunkSize

// Output adds output of the command: at most OutputRoom bytes.
func (s *Session) Output(stream Stream, data []byte) {
	s.log.append(stream, data)
	keep := s.log.end - min(s.log.end, uint64(s.cfg.Buffer))
	if n := len(s.log.runs); n > maxRuns {
		keep = max(keep, s.log.runs[n-maxRuns-1].end)
	}
	if !s.cfg.Terminal {
		keep = min(keep, s.owned())
	}
	s.log.dropBefore(keep)
}

// skip reports whether output can be sent to a client. If the next output to send is
// not kept any more, skip continues with the oldest output that is kept, but only
// after the client has acknowledged everything that was sent, so that no output is in
// transit.
func (s *Session) skip(p *Peer) bool {
	if p.sent >= s.log.start {
		return true
	}
	if p.client.acked < p.sent {
		return false
	}
	p.sent, p.client.acked, p.skipped = s.log.start, s.log.start, true
	return true
}

// Exit sets the end of the command. All of its output must have been passed to
// Output. Only the first call has an effect.
func (s *Session) Exit(kind ExitKind, code uint8, text string) {
	if s.exit == nil {
		s.exit = &Exit{Offset: s.log.end, Kind: kind, Code: code, Text: text}
		s.CloseInput()
	}
}

// Next appends the frames that can be sent to a client now to buf, and returns the
// result. It appends not much more than 64 KiB.
func (s *Session) Next(p *Peer, buf []byte, now time.Duration) []byte {
	c := p.client
	if c.peer != p {
		return buf
	}
	if p.welcome != nil {
		buf = Append(buf, p.welcome)
		p.welcome = nil
	}
	if p.pongDue {
		buf = Append(buf, &Pong{p.pong})
		p.pongDue = false
	}
	if p.ackDue {
		buf = Append(buf, &InputAck{Offset: c.written, Signals: c.signals})
		p.ackDue = false
	}
	for i := range p.presences {
		buf = Append(buf, &p.presences[i])
	}
	p.presences = nil
	kept := s.skip(p)
	if p.skipped {
		buf = Append(buf, &Skipped{p.sent})
		p.skipped = false
	}
	for kept && len(buf) < maxNext {
		room := p.window.limit() - int(p.sent-c.acked)
		if room <= 0 { // below 0 after the window has become smaller
			break
		}
		stream, data := s.log.at(p.sent, min(room, s.frameLimit(p)))
		if len(data) == 0 {
			break
		}
		buf = appendOutput(buf, Output{Offset: p.sent, Stamp: stampOf(now), Stream: stream, Data: data})
		p.sent += uint64(len(data))
	}
	if s.exit != nil && p.sent == s.exit.Offset && !p.exitSent {
		buf = Append(buf, s.exit)
		p.exitSent = true
	}
	return buf
}

// frameLimit returns the maximum number of bytes of output in a frame. In a small
// window, frames are small, so that acknowledgements come often.
func (s *Session) frameLimit(p *Peer) int { return min(maxData, p.window.size/4) }

// Silent returns the clients from which no frame has come for too long. Their relays
// must be closed. If the owner has not been attached for SessionConfig.Idle, Silent
// makes another client the owner.
func (s *Session) Silent(now time.Duration) []*Peer {
	var silent []*Peer
	for _, p := range s.peers {
		if now-p.client.seen >= s.cfg.Silence {
			silent = append(silent, p)
		}
	}
	if s.owner != nil && s.owner.peer == nil && now-s.owner.seen >= s.cfg.Idle {
		s.passOn()
	}
	return silent
}

// Expired reports whether the session has reached a time limit, so that the command
// must be ended.
func (s *Session) Expired(now time.Duration) bool {
	return now >= s.cfg.Total || len(s.peers) == 0 && now-s.idleSince >= s.cfg.Idle
}

// Awaits reports whether a client is attached, or may attach again soon: it has not
// left, and a frame has come from it within SessionConfig.Silence.
func (s *Session) Awaits(now time.Duration) bool {
	for _, c := range s.clients {
		if c.peer != nil || !c.left && now-c.seen < s.cfg.Silence {
			return true
		}
	}
	return false
}

// Finished reports whether the agent can end: the command has ended, and either all
// attached clients have acknowledged the exit, or lastExitAcknowledged has passed
// since the first acknowledgement.
func (s *Session) Finished(now time.Duration) bool {
	if s.exit == nil || s.exitAcked == 0 {
		return false
	}
	if now-s.exitAcked >= lastExitAcknowledged {
		return true
	}
	for _, p := range s.peers {
		if !p.client.exitAcked {
			return false
		}
	}
	return true
}

// Deadline returns the time at which Silent, Expired and Finished must be called
// again, if nothing else happens before.
func (s *Session) Deadline() time.Duration {
	deadline := s.cfg.Total
	if len(s.peers) == 0 {
		deadline = min(deadline, s.idleSince+s.cfg.Idle)
	}
	for _, p := range s.peers {
		deadline = min(deadline, p.client.seen+s.cfg.Silence)
	}
	if s.owner != nil && s.owner.peer == nil && len(s.peers) > 0 {
		deadline = min(deadline, s.owner.seen+s.cfg.Idle)
	}
	if s.exitAcked > 0 {
		deadline = min(deadline, s.exitAcked+lastExitAcknowledged)
	}
	return deadline
}

// Info returns what the session knows for an Info. The caller adds the rest.
func (s *Session) Info() Info {
	return Info{
		Version: Version, Build: s.cfg.Build, Session: s.cfg.ID, Started: s.cfg.Started,
		Terminal: s.cfg.Terminal, Ended: s.exit != nil, Clients: uint16(len(s.peers)),
	}
}

// stampOf returns a time as a stamp, which is never 0.
func stampOf(now time.Duration) uint64 { return uint64(now/time.Microsecond) + 1 }

// sinceStamp returns the time since a stamp, or 0 if the stamp is 0 or not plausible.
func sinceStamp(stamp uint64, now time.Duration) time.Duration {
	if stamp == 0 || stamp > stampOf(now) {
		return 0
	}
	return max(time.Duration(stampOf(now)-stamp)*time.Microsecond, time.Microsecond)
}
