package agent

import (
	"errors"
	"time"
)

// Errors of Client.Receive that are not in session.go.
var errVersion = errors.New("the agent speaks an unknown version of the protocol")

const (
	firstInputLimit = terminalInputLimit // before the Welcome
	maxEvents       = 64
	maxUnackedSigs  = 32
	maxChunks       = 2 * maxRuns
	smallChunk      = 1 << 10
	chunkCapacity   = maxData
	maxFree         = 16

	// Without a terminal, output is acknowledged when ackBytes were written, or
	// after ackDelay. To acknowledge each frame would take much processor time.
	ackBytes = 512 << 10
	ackDelay = 10 * time.Millisecond
)

// ClientConfig describes a client.
type ClientConfig struct {
	ID     ClientID // random
	Build  string   // the build ID of the agent that this client has, or ""
	Name   string   // such as user@host
	Term   string
	Size   Size
	Output uint64 // the offset of the first output to receive; 0 means all output that is kept
}

// Client is kshell's end of a session. Its methods must not be called concurrently.
// The time is the time since any fixed time.
type Client struct {
	cfg   ClientConfig
	epoch uint64

	// The newest relay.
	decoder    Decoder
	welcomed   bool
	helloDue   bool
	resizeDue  bool
	pingDue    bool
	leaveDue   bool
	sent       uint64 // the offset of the next byte of input to send
	sentSig    uint64 // the number of the next signal to send
	ackedStamp uint64 // of the last frame of output that was written
	ackDue     bool
	ackSent    uint64 // the offset in the last acknowledgement of output
	ackWaits   bool   // an acknowledgement is delayed, since ackSince
	ackSince   time.Duration

	// Input and signals that are not acknowledged.
	inputLimit int
	input      []byte
	inputBase  uint64 // the offset of the first byte of input
	ended      bool   // the end of the input follows input
	signals    []uint8
	signalBase uint64 // the number of the first signal of signals

	// Output that is not written.
	output   []Chunk
	free     [][]byte // memory for chunks, at most maxFree
	waiting  int      // the number of bytes in output
	received uint64   // the offset of the next byte
	written  uint64   // the offset of the first byte that is not written

	exit        *Exit
	exitAckDue  bool
	exitAckSent bool
	welcome     Welcome
	events      []Message
	roundTrip   time.Duration
	answers     uint64 // the number of answers to pings
}

// Chunk is output, or a place where output was dropped.
type Chunk struct {
	Stream  Stream
	Data    []byte
	Dropped uint64 // if not 0: the number of bytes that were dropped here; Data is empty

	stamp uint64
	buf   []byte // the memory of Data; it is used again if its capacity is at least chunkCapacity
}

// NewClient returns a client that has no relay.
func NewClient(cfg ClientConfig) *Client {
	return &Client{cfg: cfg, inputLimit: firstInputLimit, received: cfg.Output, written: cfg.Output}
}

// Connect begins a new relay, which replaces the old one. Bytes that arrive later on
// the old relay must not be passed to Receive.
func (c *Client) Connect() {
	c.epoch++
	c.decoder = Decoder{}
	c.welcomed, c.helloDue = false, true
	c.resizeDue, c.pingDue, c.ackDue, c.exitAckSent = false, false, false, false
	c.exitAckDue, c.ackedStamp, c.ackWaits = false, 0, false
	for i := range c.output { // the round trip would include the outage
		c.output[i].stamp = 0
	}
}

// RefusedError means that the agent does not accept the client. A new relay does not
// help, except with ReasonTooMany.
type RefusedError struct{ Refused Refused }

func (e *RefusedError) Error() string {
	return "the session agent refuses the client: " + e.Refused.Text
}

// Receive processes bytes from the newest relay. After an error, the relay must be
// closed. Unless the error is a *RefusedError or ErrForgotten, a new relay continues
// the session.
func (c *Client) Receive(p []byte, now time.Duration) error {
	c.decoder.add(p)
	for {
		m, err := c.decoder.Next()
		if m == nil || err != nil {
			return err
		}
		if err := c.process(m, now); err != nil {
			return err
		}
	}
}

func (c *Client) process(m Message, now time.Duration) error {
	switch m := m.(type) {
	case *Welcome:
		return c.processWelcome(m)
	case *Refused:
		return &RefusedError{*m}
	}
	if !c.welcomed {
		return ErrUnexpected
	}
	switch m := m.(type) {
	case *InputAck:
		return c.processInputAck(m)
	case *Output:
		return c.processOutput(m)
	case *Skipped:
		if m.Offset > c.received {
			if len(c.output) >= maxChunks {
				return ErrTooMuch
			}
			c.output = append(c.output, Chunk{Dropped: m.Offset - c.received})
			c.received = m.Offset
		}
	case *Exit:
		if m.Offset != c.received {
			return ErrGap
		}
		if c.exit == nil {
			c.exit = m
		}
		c.exitAckDue = true
	case *Pong:
		c.answers++
		if d := sinceStamp(m.Stamp, now); d > 0 {
			c.roundTrip = d
		}
	case *Presence:
		c.addEvent(m)
	default:
		return ErrUnexpected
	}
	return nil
}

// addEvent drops the event if too many were not taken.
func (c *Client) addEvent(m Message) {
	if len(c.events) < maxEvents {
		c.events = append(c.events, m)
	}
}

func (c *Client) processWelcome(m *Welcome) error {
	switch {
	case c.welcomed:
		return ErrUnexpected
	case m.Version < minVersion || m.Version > Version:
		return errVersion
	case m.Input < c.inputBase || m.Input > c.inputEnd(),
		m.Signals < c.signalBase || m.Signals > c.signalBase+uint64(len(c.signals)):
		return ErrForgotten
	}
	c.welcomed, c.welcome = true, *m
	c.inputLimit = int(min(m.InputLimit, commandInputLimit))
	c.sent, c.sentSig = m.Input, m.Signals
	c.ackDue = true // an acknowledgement may be lost with the old relay
	c.addEvent(m)
	return nil
}

// inputEnd returns the offset after the last byte of input, and after its end.
func (c *Client) inputEnd() uint64 {
	end := c.inputBase + uint64(len(c.input))
	if c.ended {
		end++
	}
	return end
}

func (c *Client) processInputAck(m *InputAck) error {
	if m.Offset > c.sent || m.Signals > c.sentSig {
		return ErrUnexpected
	}
	if m.Offset > c.inputBase {
		n := min(m.Offset-c.inputBase, uint64(len(c.input)))
		c.input = c.input[:copy(c.input, c.input[n:])]
		c.inputBase += n // ended stays set: a Welcome reports whether the agent has received the end
	}
	if m.Signals > c.signalBase {
		c.signals = c.signals[:copy(c.signals, c.signals[m.Signals-c.signalBase:])]
		c.signalBase = m.Signals
	}
	return nil
}

func (c *Client) processOutput(m *Output) error {
	if m.Offset > c.received {
		return ErrGap
	}
	c.ackDue = true // also for repeated output, because an earlier acknowledgement may be lost
	known := c.received - m.Offset
	if known >= uint64(len(m.Data)) {
		return nil
	}
	data := m.Data[known:]
	if c.waiting+len(data) > commandWindow || len(c.output) >= maxChunks || c.exit != nil {
		return ErrTooMuch
	}
	c.received += uint64(len(data))
	c.waiting += len(data)
	if n := len(c.output); n > 0 {
		last := &c.output[n-1]
		if last.Stream == m.Stream && last.Dropped == 0 && len(last.Data)+len(data) <= smallChunk {
			last.Data, last.stamp, last.buf = append(last.Data, data...), m.Stamp, nil
			return nil
		}
	}
	buf := append(c.memory(len(data)), data...)
	c.output = append(c.output, Chunk{Stream: m.Stream, Data: buf, stamp: m.Stamp, buf: buf})
	return nil
}

// memory returns an empty slice for a chunk of n bytes. The memory of large chunks is
// used again, because bulk output would cause much garbage.
func (c *Client) memory(n int) []byte {
	last := len(c.free) - 1
	switch {
	case n < chunkCapacity/2: // so that the output needs at most twice its size
		return nil
	case last < 0:
		return make([]byte, 0, chunkCapacity)
	}
	buf := c.free[last]
	c.free = c.free[:last]
	return buf
}

// Next appends the frames that can be sent on the newest relay to buf, and returns
// the result. It appends not much more than 32 KiB: the caller calls it again until
// it appends nothing.
func (c *Client) Next(buf []byte, now time.Duration) []byte {
	if c.helloDue {
		c.helloDue = false
		buf = Append(buf, &Hello{
			Version: Version, MinVersion: minVersion, Build: c.cfg.Build, Client: c.cfg.ID, Epoch: c.epoch,
			Output: c.received, Size: c.cfg.Size, Name: c.cfg.Name, Term: c.cfg.Term,
		})
	}
	if !c.welcomed {
		return buf
	}
	if c.resizeDue {
		c.resizeDue = false
		buf = Append(buf, &Resize{c.cfg.Size})
	}
	for end := c.signalBase + uint64(len(c.signals)); c.sentSig < end; c.sentSig++ {
		buf = Append(buf, &Signal{Number: c.sentSig, Signal: c.signals[c.sentSig-c.signalBase]})
	}
	if c.pingDue {
		c.pingDue = false
		buf = Append(buf, &Ping{stampOf(now)})
	}
	if c.acknowledges(now) {
		c.ackDue, c.ackWaits, c.ackSent = false, false, c.written
		buf = Append(buf, &OutputAck{Offset: c.written, Stamp: c.ackedStamp})
	}
	buf = c.sendInput(buf)
	if c.exitAckDue && len(c.output) == 0 && !c.exitAckSent {
		c.exitAckSent = true
		buf = Append(buf, &ExitAck{})
	}
	if c.leaveDue {
		buf = Append(buf, &Leave{})
		c.leaveDue = false
	}
	return buf
}

// acknowledges reports whether an acknowledgement of output is to be sent now.
func (c *Client) acknowledges(now time.Duration) bool {
	switch {
	case !c.ackDue:
		return false
	case c.welcome.Terminal || c.written-c.ackSent >= ackBytes:
		return true
	case !c.ackWaits:
		c.ackWaits, c.ackSince = true, now
	}
	return now-c.ackSince >= ackDelay
}

// Due reports whether Next must be called: it may append frames, or begin a time after
// which it does; see Wait.
func (c *Client) Due() bool {
	switch {
	case c.helloDue:
		return true
	case !c.welcomed:
		return false
	case c.resizeDue, c.pingDue, c.leaveDue, c.sentSig < c.signalBase+uint64(len(c.signals)):
		return true
	case c.ackDue && (c.welcome.Terminal || c.written-c.ackSent >= ackBytes || !c.ackWaits):
		return true
	case c.exitAckDue && len(c.output) == 0 && !c.exitAckSent:
		return true
	}
	return c.inputLimit > 0 && c.sent < c.inputEnd()
}

// Wait returns the time after which Next must be called again, even if nothing has
// happened until then. It returns 0 if there is no such time. It must be called after
// Next.
func (c *Client) Wait(now time.Duration) time.Duration {
	if !c.ackWaits || !c.welcomed {
		return 0
	}
	return max(c.ackSince+ackDelay-now, time.Microsecond)
}

func (c *Client) sendInput(buf []byte) []byte {
	if c.inputLimit == 0 { // this client cannot send input
		return buf
	}
	end := c.inputBase + uint64(len(c.input))
	for c.sent < end && len(buf) < maxData {
		data := c.input[c.sent-c.inputBase:]
		data = data[:min(len(data), maxData)]
		buf = Append(buf, &Input{Offset: c.sent, Data: data})
		c.sent += uint64(len(data))
	}
	if c.ended && c.sent == end {
		buf = Append(buf, &InputEnd{Offset: c.sent})
		c.sent++
	}
	return buf
}

// InputRoom returns how many bytes Input accepts now.
func (c *Client) InputRoom() int {
	if c.ended {
		return 0
	}
	return max(c.inputLimit-len(c.input), 0)
}

// Input adds input for the command, and returns the number of bytes that were
// accepted.
func (c *Client) Input(p []byte) int {
	n := min(len(p), c.InputRoom())
	c.input = append(c.input, p[:n]...)
	return n
}

// EndInput ends the input. A command with a terminal does not notice that.
func (c *Client) EndInput() { c.ended = true }

// InputDone reports whether all input so far was acknowledged: it was written to the
// command, or discarded.
func (c *Client) InputDone() bool { return len(c.input) == 0 }

// Signal sends a signal to the command. It returns false, and sends nothing, if 32
// signals are not acknowledged.
func (c *Client) Signal(number uint8) bool {
	if len(c.signals) >= maxUnackedSigs {
		return false
	}
	c.signals = append(c.signals, number)
	return true
}

// Resize sets the size of the terminal.
func (c *Client) Resize(size Size) {
	c.cfg.Size = size
	c.resizeDue = c.welcomed
}

// Ping sends a ping, unless one is waiting to be sent. Each frame from the agent
// shows that the relay works.
func (c *Client) Ping() { c.pingDue = c.welcomed }

// Leave detaches the client, after the frames that can be sent on the relay. The
// session continues.
func (c *Client) Leave() { c.leaveDue = true }

// Output returns the next output to write, or false. The chunk is valid until
// Written is called.
func (c *Client) Output() (Chunk, bool) {
	if len(c.output) == 0 {
		return Chunk{}, false
	}
	return c.output[0], true
}

// Written acknowledges n bytes of the chunk that Output has returned. For a chunk of
// dropped output, n is ignored.
func (c *Client) Written(n int) {
	chunk := &c.output[0]
	if chunk.Dropped > 0 {
		c.written += chunk.Dropped
		n = 0
	}
	chunk.Data = chunk.Data[n:]
	c.written += uint64(n)
	c.waiting -= n
	c.ackDue = true
	if len(chunk.Data) == 0 {
		c.ackedStamp = chunk.stamp
		if cap(chunk.buf) >= chunkCapacity && len(c.free) < maxFree {
			c.free = append(c.free, chunk.buf[:0])
		}
		c.output[0] = Chunk{}
		if len(c.output) == 1 {
			c.output = c.output[:0] // the memory is used again
		} else {
			c.output = c.output[1:]
		}
	}
}

// Waiting returns the number of bytes of output that are not written.
func (c *Client) Waiting() int { return c.waiting }

// Exit returns how the command ended, after all output was written.
func (c *Client) Exit() (*Exit, bool) {
	if c.exit == nil || len(c.output) > 0 {
		return nil, false
	}
	return c.exit, true
}

// Done reports whether Next has returned an acknowledgement of the exit for the
// newest relay. After it was sent, the client does not need the relay any more.
func (c *Client) Done() bool { return c.exitAckSent }

// Events returns what was received since the last call: a *Welcome for each relay,
// and a *Presence for each other client that attaches or leaves.
func (c *Client) Events() []Message {
	events := c.events
	c.events = nil
	return events
}

// Attached reports whether the agent has accepted the newest relay.
func (c *Client) Attached() bool { return c.welcomed }

// RoundTrip returns the time between the last answered ping and its answer, or 0 if
// no ping was answered.
func (c *Client) RoundTrip() time.Duration { return c.roundTrip }

// Answers returns the number of pings that were answered.
func (c *Client) Answers() uint64 { return c.answers }
