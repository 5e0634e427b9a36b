package agent

import "errors"

// A frame is one byte (the type), four bytes (the length of the payload, big
// endian), and the payload. All numbers are big endian.
const (
	frameHeader = 5

	// MaxPayload is the maximum length of a payload, in bytes.
	MaxPayload = 64 << 10

	// maxData is the maximum number of bytes of input or output in one frame.
	maxData = 32 << 10

	// outputHeader is the number of bytes before the data in the frame of an Output.
	outputHeader = frameHeader + 8 + 8 + 1

	// maxNext is the number of bytes after which Session.Next appends no more frames.
	maxNext = 64 << 10

	// Frames of unknown types from firstOptional on are ignored, so that a later
	// version can add types. A lower unknown type is an error.
	firstOptional = 128
)

// Types of frames. The direction is in the comment of each message.
const (
	typeHello byte = iota + 1
	typeWelcome
	typeRefused
	typeInput
	typeInputEnd
	typeSignal
	typeInputAck
	typeOutput
	typeOutputAck
	typeResize
	typeSkipped
	typeExit
	typeExitAck
	typePing
	typePong
	typePresence
	typeLeave
	typeInfo
)

// Errors of a Decoder. Each of them means that the other end does not follow the
// protocol: the relay must be closed.
var (
	ErrTooLong   = errors.New("the payload of a frame is too long")
	ErrMalformed = errors.New("the payload of a frame is malformed")
	ErrUnknown   = errors.New("the type of a frame is unknown")
)

// Decoder splits a stream of bytes into messages. The zero value is ready to use.
type Decoder struct {
	buf     []byte
	read    int // the number of bytes of buf that were decoded
	payload reader

	// The messages of bulk transfers, which Next returns again and again. The agent's
	// memory limit makes garbage expensive.
	input     Input
	inputAck  InputAck
	output    Output
	outputAck OutputAck
}

// Write adds bytes to be decoded. It copies them and never fails.
func (d *Decoder) Write(p []byte) (int, error) {
	d.add(p)
	return len(p), nil
}

func (d *Decoder) add(p []byte) {
	if d.read > 0 {
		d.buf = d.buf[:copy(d.buf, d.buf[d.read:])]
		d.read = 0
	}
	d.buf = append(d.buf, p...)
}

// Next returns the next message, or nil if more bytes are needed. An Input, InputAck,
// Output or OutputAck is valid until the next call of Next, and its data until the next
// call of Write. After an error, the Decoder must not be used.
func (d *Decoder) Next() (Message, error) {
	for {
		rest := d.buf[d.read:]
		if len(rest) < frameHeader {
			return nil, nil
		}
		length := getUint32(rest[1:])
		if length > MaxPayload {
			return nil, ErrTooLong
		}
		end := frameHeader + int(length)
		if len(rest) < end {
			return nil, nil
		}
		d.read += end
		m, err := d.parse(rest[0], rest[frameHeader:end:end])
		if err != nil || m != nil {
			return m, err
		}
	}
}

// parse returns the message of a frame, or nil if the frame is to be ignored.
func (d *Decoder) parse(frameType byte, payload []byte) (Message, error) {
	m := d.message(frameType)
	if m == nil {
		if frameType >= firstOptional {
			return nil, nil
		}
		return nil, ErrUnknown
	}
	d.payload = reader{rest: payload}
	m.decode(&d.payload)
	if d.payload.failed || len(d.payload.rest) > 0 && !extensible(frameType) {
		return nil, ErrMalformed
	}
	return m, nil
}

// message returns a message of a type, or nil if the type is unknown.
func (d *Decoder) message(frameType byte) Message {
	switch frameType {
	case typeInput:
		return &d.input
	case typeInputAck:
		return &d.inputAck
	case typeOutput:
		return &d.output
	case typeOutputAck:
		return &d.outputAck
	}
	return newMessage(frameType)
}

// Append appends the frame of a message to buf and returns the result. Strings
// that are longer than their limits are cut.
func Append(buf []byte, m Message) []byte {
	at := len(buf)
	buf = append(buf, m.frameType(), 0, 0, 0, 0)
	w := writer{buf}
	m.encode(&w)
	putUint32(w.buf[at+1:], uint32(len(w.buf)-at-frameHeader))
	return w.buf
}

// appendOutput is Append for an Output. It allocates nothing, which matters for the
// bulk output of a command: the agent's memory limit makes garbage expensive.
func appendOutput(buf []byte, m Output) []byte {
	at := len(buf)
	w := writer{append(buf, typeOutput, 0, 0, 0, 0)}
	w.uint64(m.Offset)
	w.uint64(m.Stamp)
	w.uint8(uint8(m.Stream))
	w.data(m.Data)
	putUint32(w.buf[at+1:], uint32(len(w.buf)-at-frameHeader))
	return w.buf
}

// The package encoding/binary imports reflect, which would make the agent larger.

func getUint32(b []byte) uint32 {
	_ = b[3]
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func putUint32(b []byte, v uint32) {
	_ = b[3]
	b[0], b[1], b[2], b[3] = byte(v>>24), byte(v>>16), byte(v>>8), byte(v)
}

// reader decodes the fields of a payload. After a failure, all methods return zero
// values.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) take(n int) []byte {
	if n > len(r.rest) {
		r.failed, r.rest = true, nil
	}
	if r.failed {
		return nil
	}
	field := r.rest[:n:n]
	r.rest = r.rest[n:]
	return field
}

func (r *reader) uint8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return uint16(b[0])<<8 | uint16(b[1])
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return getUint32(b)
	}
	return 0
}

func (r *reader) uint64() uint64 {
	if b := r.take(8); b != nil {
		return uint64(getUint32(b))<<32 | uint64(getUint32(b[4:]))
	}
	return 0
}

// bool fails for a byte other than 0 and 1.
func (r *reader) bool() bool {
	b := r.uint8()
	r.failed = r.failed || b > 1
	return b == 1
}

// string reads a length of two bytes, of at most limit, and the string.
func (r *reader) string(limit int) string {
	n := int(r.uint16())
	if n > limit {
		r.failed = true
	}
	return string(r.take(n))
}

// data returns the rest of the payload: 1 to maxData bytes.
func (r *reader) data() []byte {
	if len(r.rest) == 0 || len(r.rest) > maxData {
		r.failed = true
	}
	return r.take(len(r.rest))
}

// writer appends the fields of a payload.
type writer struct{ buf []byte }

func (w *writer) uint8(v uint8)   { w.buf = append(w.buf, v) }
func (w *writer) uint16(v uint16) { w.buf = append(w.buf, byte(v>>8), byte(v)) }
func (w *writer) uint32(v uint32) { w.uint16(uint16(v >> 16)); w.uint16(uint16(v)) }
func (w *writer) uint64(v uint64) { w.uint32(uint32(v >> 32)); w.uint32(uint32(v)) }
func (w *writer) data(v []byte)   { w.buf = append(w.buf, v...) }

func (w *writer) bool(v bool) {
	if v {
		w.uint8(1)
	} else {
		w.uint8(0)
	}
}

func (w *writer) string(v string, limit int) {
	v = v[:min(len(v), limit)]
	w.uint16(uint16(len(v)))
	w.buf = append(w.buf, v...)
}
