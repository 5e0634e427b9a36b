package spdy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// readSize is the size of the read buffer, in bytes.
const readSize = 32 << 10

// socket is the connection below SPDY. It buffers reads, because the library
// reads very small pieces, and checks the frames from the server.
type socket struct {
	net.Conn // nil: the library does not use addresses or deadlines
	in       *bufio.Reader
	out      io.Writer
	frames   frameChecker
	frameErr atomic.Pointer[error] // the error that frames.check has returned
	close    func()
}

func newSocket(body io.ReadWriteCloser) *socket {
	return &socket{
		in: bufio.NewReaderSize(body, readSize), out: body,
		close: sync.OnceFunc(func() { _ = body.Close() }), // an error means that it was closed already
	}
}

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	if frameErr := s.frames.check(p[:n]); frameErr != nil {
		s.frameErr.Store(&frameErr)
		return 0, frameErr
	}
	return n, err
}

// Write implements net.Conn.
func (s *socket) Write(p []byte) (int, error) { return s.out.Write(p) }

// Close implements net.Conn. It may be called repeatedly. It always returns
// nil, because the library would block while it reports an error.
func (s *socket) Close() error {
	s.close()
	return nil
}

// maxFrame is the maximum size of a frame from the server, in bytes; servers
// write frames of 32 KiB. The library holds whole frames in memory, up to 50
// for each stream that is not read, and would accept 16 MiB for each frame.
const maxFrame = 4 << 20

var (
	errFrameSize   = errors.New("the server's SPDY frame is larger than 4 MiB")
	errFrameStream = errors.New("the server tried to open a SPDY stream")
)

// frameChecker checks the headers of the frames (SPDY/3.1, section 2.2) that
// the server sends.
type frameChecker struct {
	header  [8]byte
	have    int // the number of bytes in header
	payload int // the number of payload bytes that are still to come
}

// check checks the next bytes. It returns errFrameSize, errFrameStream or nil.
func (f *frameChecker) check(p []byte) error {
	for len(p) > 0 {
		n := min(f.payload, len(p))
		f.payload -= n
		p = p[n:]
		n = copy(f.header[f.have:], p)
		f.have += n
		p = p[n:]
		if f.have < len(f.header) {
			continue
		}
		f.have, f.payload = 0, int(binary.BigEndian.Uint32(f.header[4:])&0xffffff)
		const control, synStream = 0x80, 1
		switch {
		case f.payload > maxFrame:
			return errFrameSize
		case f.header[0]&control != 0 && binary.BigEndian.Uint16(f.header[2:]) == synStream:
			return errFrameStream
		}
	}
	return nil
}
