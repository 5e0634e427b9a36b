package agent

// The versions of the protocol that this package speaks. A later version may only
// append fields to Hello, Welcome, Refused and Info, and add types of frames.
const (
	Version    = 1
	minVersion = 1
)

// magic is the beginning of a Hello and a Welcome.
const magic = "kshell-agent"

// Limits of strings, in bytes.
const (
	maxBuild   = 64
	maxID      = 64
	maxName    = 256
	maxTerm    = 64
	maxText    = 1024
	maxArg     = 4096
	maxArgs    = 64
	maxCommand = 16 << 10 // of all arguments in an Info
)

// Message is the content of a frame.
type Message interface {
	frameType() byte
	encode(*writer)
	decode(*reader)
}

// ClientID is the random identity of a client. It is the same on each relay.
type ClientID [16]byte

// Purpose is the reason why a client connects.
type Purpose uint8

// Purposes of a Hello.
const (
	PurposeAttach Purpose = iota // take part in the session
	PurposeInfo                  // receive one Info
	PurposeEnd                   // end the session and receive one Info
)

// Size is the size of a terminal, in characters. The zero value means that the size
// is unknown.
type Size struct{ Cols, Rows uint16 }

// Hello is the first message of a client on each relay.
type Hello struct {
	Version, MinVersion uint16 // the versions that the client speaks
	Build               string // the build ID of the agent that the client has, or ""
	Purpose             Purpose
	Client              ClientID
	Epoch               uint64 // greater than on each earlier relay of the client
	Output              uint64 // the offset of the next byte of output to send
	Size                Size
	Name                string // a claim, such as user@host
	Term                string // the client's TERM
}

func (*Hello) frameType() byte { return typeHello }

func (m *Hello) encode(w *writer) {
	w.data([]byte(magic))
	w.uint16(m.Version)
	w.uint16(m.MinVersion)
	w.string(m.Build, maxBuild)
	w.uint8(uint8(m.Purpose))
	w.data(m.Client[:])
	w.uint64(m.Epoch)
	w.uint64(m.Output)
	w.size(m.Size)
	w.string(m.Name, maxName)
	w.string(m.Term, maxTerm)
}

func (m *Hello) decode(r *reader) {
	r.magic()
	m.Version, m.MinVersion = r.uint16(), r.uint16()
	m.Build = r.string(maxBuild)
	m.Purpose = Purpose(r.uint8())
	copy(m.Client[:], r.take(len(m.Client)))
	m.Epoch, m.Output = r.uint64(), r.uint64()
	m.Size = r.size()
	m.Name, m.Term = r.string(maxName), r.string(maxTerm)
}

// Welcome is the agent's answer to a Hello with PurposeAttach.
type Welcome struct {
	Version    uint16 // the version that both ends speak from now on
	Build      string // the build ID of the agent
	Session    string // the ID of the session
	Started    uint64 // seconds since 1970
	Terminal   bool   // whether the command has a terminal
	Owner      bool   // whether output waits for this client; see Session
	Input      uint64 // the offset of the next byte of input of this client
	Signals    uint64 // the number of signals of this client that were received
	InputLimit uint32 // the maximum number of bytes of input that are not acknowledged
	Output     uint64 // the offset of the oldest byte of output that is kept
	Clients    uint16 // the number of attached clients, with this one
	Term       string // TERM of the client that started the session
}

func (*Welcome) frameType() byte { return typeWelcome }

func (m *Welcome) encode(w *writer) {
	w.data([]byte(magic))
	w.uint16(m.Version)
	w.string(m.Build, maxBuild)
	w.string(m.Session, maxID)
	w.uint64(m.Started)
	w.bool(m.Terminal)
	w.bool(m.Owner)
	w.uint64(m.Input)
	w.uint64(m.Signals)
	w.uint32(m.InputLimit)
	w.uint64(m.Output)
	w.uint16(m.Clients)
	w.string(m.Term, maxTerm)
}

func (m *Welcome) decode(r *reader) {
	r.magic()
	m.Version = r.uint16()
	m.Build, m.Session = r.string(maxBuild), r.string(maxID)
	m.Started = r.uint64()
	m.Terminal, m.Owner = r.bool(), r.bool()
	m.Input, m.Signals, m.InputLimit = r.uint64(), r.uint64(), r.uint32()
	m.Output, m.Clients = r.uint64(), r.uint16()
	m.Term = r.string(maxTerm)
}

// Reason is the reason of a Refused.
type Reason uint8

// Reasons of a Refused.
const (
	ReasonVersion   Reason = iota + 1 // no version in common
	ReasonEpoch                       // a newer relay of this client is attached
	ReasonOffset                      // the client asks for output that does not exist yet
	ReasonTooMany                     // too many clients are attached
	ReasonMalformed                   // the Hello has an unknown purpose
	ReasonEnded                       // the session has ended
	ReasonUnable                      // the session cannot start: no terminal, no socket
)

// Refused is the agent's answer to a Hello that it does not accept.
type Refused struct {
	Reason  Reason
	Version uint16 // the newest version that the agent speaks
	Build   string // the build ID of the agent
	Text    string
}

func (*Refused) frameType() byte { return typeRefused }

func (m *Refused) encode(w *writer) {
	w.uint8(uint8(m.Reason))
	w.uint16(m.Version)
	w.string(m.Build, maxBuild)
	w.string(m.Text, maxText)
}

func (m *Refused) decode(r *reader) {
	m.Reason = Reason(r.uint8())
	m.Version = r.uint16()
	m.Build, m.Text = r.string(maxBuild), r.string(maxText)
}

// Input is input of the command, from the client.
type Input struct {
	Offset uint64
	Data   []byte // 1 byte to 32 KiB
}

func (*Input) frameType() byte { return typeInput }

func (m *Input) encode(w *writer) {
	w.uint64(m.Offset)
	w.data(m.Data)
}

func (m *Input) decode(r *reader) { m.Offset, m.Data = r.uint64(), r.data() }

// InputEnd is the end of the input, from the client. It counts as one byte of input
// at Offset, so that it is acknowledged, and applied once.
type InputEnd struct{ Offset uint64 }

func (*InputEnd) frameType() byte    { return typeInputEnd }
func (m *InputEnd) encode(w *writer) { w.uint64(m.Offset) }
func (m *InputEnd) decode(r *reader) { m.Offset = r.uint64() }

// Signal is a signal for the command, from the client. Signals are numbered from 0
// apart from the input, because a signal must also arrive while the command does not
// read its input.
type Signal struct {
	Number uint64 // the position among the client's signals
	Signal uint8  // the number of the signal in Linux, 1 to 64
}

func (*Signal) frameType() byte { return typeSignal }

func (m *Signal) encode(w *writer) {
	w.uint64(m.Number)
	w.uint8(m.Signal)
}

func (m *Signal) decode(r *reader) {
	m.Number, m.Signal = r.uint64(), r.uint8()
	r.failed = r.failed || m.Signal < 1 || m.Signal > 64
}

// InputAck acknowledges input and signals, from the agent.
type InputAck struct {
	Offset  uint64 // all input below was written to the command, or discarded
	Signals uint64 // the number of signals that were received
}

func (*InputAck) frameType() byte { return typeInputAck }

func (m *InputAck) encode(w *writer) {
	w.uint64(m.Offset)
	w.uint64(m.Signals)
}

func (m *InputAck) decode(r *reader) { m.Offset, m.Signals = r.uint64(), r.uint64() }

// Stream is a stream of output. Both streams share one sequence of offsets.
type Stream uint8

// Streams of output.
const (
	Stdout Stream = 1 // also the output of a terminal
	Stderr Stream = 2
)

// Output is output of the command, from the agent.
type Output struct {
	Offset uint64
	Stamp  uint64 // a time of the agent, which the acknowledgement returns
	Stream Stream
	Data   []byte // 1 byte to 32 KiB
}

func (*Output) frameType() byte { return typeOutput }

func (m *Output) encode(w *writer) {
	w.uint64(m.Offset)
	w.uint64(m.Stamp)
	w.uint8(uint8(m.Stream))
	w.data(m.Data)
}

func (m *Output) decode(r *reader) {
	m.Offset, m.Stamp, m.Stream = r.uint64(), r.uint64(), Stream(r.uint8())
	r.failed = r.failed || m.Stream != Stdout && m.Stream != Stderr
	m.Data = r.data()
}

// OutputAck acknowledges output, from the client.
type OutputAck struct {
	Offset uint64 // all output below was written on the client's side
	Stamp  uint64 // of the last frame that was written as a whole; 0 means none
}

func (*OutputAck) frameType() byte { return typeOutputAck }

func (m *OutputAck) encode(w *writer) {
	w.uint64(m.Offset)
	w.uint64(m.Stamp)
}

func (m *OutputAck) decode(r *reader) { m.Offset, m.Stamp = r.uint64(), r.uint64() }

// Resize is the size of the client's terminal, from the client. Only the newest
// counts.
type Resize struct{ Size Size }

func (*Resize) frameType() byte    { return typeResize }
func (m *Resize) encode(w *writer) { w.size(m.Size) }
func (m *Resize) decode(r *reader) { m.Size = r.size() }

// Skipped means that the agent does not keep the output below Offset any more: the
// client does not receive the part that it has not received yet. The agent sends it.
type Skipped struct{ Offset uint64 }

func (*Skipped) frameType() byte    { return typeSkipped }
func (m *Skipped) encode(w *writer) { w.uint64(m.Offset) }
func (m *Skipped) decode(r *reader) { m.Offset = r.uint64() }

// ExitKind is the way in which a command ended.
type ExitKind uint8

// Kinds of exits.
const (
	Exited     ExitKind = iota // Code is the exit code
	Signaled                   // Code is the number of the signal
	NotStarted                 // Code is 126, 127 or NoDirectory, and Text is the reason
	TimedOut                   // the agent ended the command at one of its time limits; Code is a signal
)

// NoDirectory is the code of a command that was not started because its working
// directory does not exist or cannot be entered.
const NoDirectory = 125

// Exit is the end of the command, from the agent. It follows all output.
type Exit struct {
	Offset uint64 // the end of the output
	Kind   ExitKind
	Code   uint8
	Text   string
}

func (*Exit) frameType() byte { return typeExit }

func (m *Exit) encode(w *writer) {
	w.uint64(m.Offset)
	w.uint8(uint8(m.Kind))
	w.uint8(m.Code)
	w.string(m.Text, maxText)
}

func (m *Exit) decode(r *reader) {
	m.Offset, m.Kind, m.Code = r.uint64(), ExitKind(r.uint8()), r.uint8()
	m.Text = r.string(maxText)
	r.failed = r.failed || m.Kind > TimedOut
}

// ExitAck acknowledges the Exit, from the client.
type ExitAck struct{}

func (*ExitAck) frameType() byte  { return typeExitAck }
func (m *ExitAck) encode(*writer) {}
func (m *ExitAck) decode(*reader) {}

// Ping requests a Pong with the same stamp, from the client.
type Ping struct{ Stamp uint64 }

func (*Ping) frameType() byte    { return typePing }
func (m *Ping) encode(w *writer) { w.uint64(m.Stamp) }
func (m *Ping) decode(r *reader) { m.Stamp = r.uint64() }

// Pong answers a Ping, from the agent.
type Pong struct{ Stamp uint64 }

func (*Pong) frameType() byte    { return typePong }
func (m *Pong) encode(w *writer) { w.uint64(m.Stamp) }
func (m *Pong) decode(r *reader) { m.Stamp = r.uint64() }

// Presence means that another client has attached or left, from the agent.
type Presence struct {
	Attached bool
	Name     string // what the other client claims
}

func (*Presence) frameType() byte { return typePresence }

func (m *Presence) encode(w *writer) {
	w.bool(m.Attached)
	w.string(m.Name, maxName)
}

func (m *Presence) decode(r *reader) { m.Attached, m.Name = r.bool(), r.string(maxName) }

// Leave means that the client detaches, from the client. The relay ends.
type Leave struct{}

func (*Leave) frameType() byte  { return typeLeave }
func (m *Leave) encode(*writer) {}
func (m *Leave) decode(*reader) {}

// Info describes a session, from the agent.
type Info struct {
	Version  uint16
	Build    string
	Session  string
	Started  uint64 // seconds since 1970
	Terminal bool
	Ended    bool // whether the command has ended
	Clients  uint16
	PID      uint32   // the process ID of the command in the agent's namespace, or 0
	Mounts   string   // the agent's mount namespace, as in the link /proc/PID/ns/mnt
	Command  []string // the arguments, possibly cut
}

func (*Info) frameType() byte { return typeInfo }

func (m *Info) encode(w *writer) {
	w.uint16(m.Version)
	w.string(m.Build, maxBuild)
	w.string(m.Session, maxID)
	w.uint64(m.Started)
	w.bool(m.Terminal)
	w.bool(m.Ended)
	w.uint16(m.Clients)
	w.uint32(m.PID)
	w.string(m.Mounts, maxName)
	args, total := m.Command[:min(len(m.Command), maxArgs)], 0
	for i, arg := range args {
		total += min(len(arg), maxArg)
		if total > maxCommand {
			args = args[:i]
			break
		}
	}
	w.uint8(uint8(len(args)))
	for _, arg := range args {
		w.string(arg, maxArg)
	}
}

func (m *Info) decode(r *reader) {
	m.Version = r.uint16()
	m.Build, m.Session = r.string(maxBuild), r.string(maxID)
	m.Started = r.uint64()
	m.Terminal, m.Ended = r.bool(), r.bool()
	m.Clients, m.PID = r.uint16(), r.uint32()
	m.Mounts = r.string(maxName)
	n := int(r.uint8())
	if n > maxArgs {
		r.failed = true
	}
	for range n {
		if r.failed {
			return
		}
		m.Command = append(m.Command, r.string(maxArg))
	}
}

// newMessage returns an empty message of a type. It returns nil if the type is unknown,
// or if the Decoder has a message of the type.
func newMessage(frameType byte) Message {
	switch frameType {
	case typeHello:
		return &Hello{}
	case typeWelcome:
		return &Welcome{}
	case typeRefused:
		return &Refused{}
	case typeInputEnd:
		return &InputEnd{}
	case typeSignal:
		return &Signal{}
	case typeResize:
		return &Resize{}
	case typeSkipped:
		return &Skipped{}
	case typeExit:
		return &Exit{}
	case typeExitAck:
		return &ExitAck{}
	case typePing:
		return &Ping{}
	case typePong:
		return &Pong{}
	case typePresence:
		return &Presence{}
	case typeLeave:
		return &Leave{}
	case typeInfo:
		return &Info{}
	}
	return nil
}

// extensible reports whether a later version may append fields to the frame.
func extensible(frameType byte) bool {
	switch frameType {
	case typeHello, typeWelcome, typeRefused, typeInfo:
		return true
	}
	return false
}

func (r *reader) magic() {
	if string(r.take(len(magic))) != magic {
		r.failed = true
	}
}

func (r *reader) size() Size { return Size{Cols: r.uint16(), Rows: r.uint16()} }

func (w *writer) size(s Size) {
	w.uint16(s.Cols)
	w.uint16(s.Rows)
}
