package spdy

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/streaming/pkg/httpstream"
)

// Sessions over SPDY are tested in package stream.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A frame that is too large is refused when its header is read, before the
// library allocates memory for it.
func TestFrameChecker(t *testing.T) {
	data := func(size int) []byte {
		return append(binary.BigEndian.AppendUint32([]byte{0, 0, 0, 5}, uint32(size)), make([]byte, size)...)
	}
	control := func(kind uint16, size int) []byte {
		header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16([]byte{0x80, 3}, kind), 1<<24|uint32(size))
		return append(header, make([]byte, size)...)
	}
	for name, c := range map[string]struct {
		frames []byte
		want   error
	}{
		"small":                {slices.Concat(data(0), data(1), control(2, 10), data(32<<10), control(6, 4)), nil},
		"the largest":          {slices.Concat(data(5), data(maxFrame), data(7)), nil},
		"too large":            {slices.Concat(data(5), data(maxFrame+1)), errFrameSize},
		"too large, control":   {slices.Concat(data(5), control(8, maxFrame+1)), errFrameSize},
		"stream of the server": {slices.Concat(data(5), control(1, 20)), errFrameStream},
		"data like a header":   {slices.Concat(data(8)[:8], control(1, 0), data(3)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 3, 8, 4096, 1 << 21} {
				var f frameChecker
				var err error
				for rest := c.frames; len(rest) > 0 && err == nil; {
					n := min(size, len(rest))
					err = f.check(rest[:n])
					rest = rest[n:]
				}
				if !errors.Is(err, c.want) {
					t.Errorf("in pieces of %d bytes: %v, want %v", size, err, c.want)
				}
			}
		})
	}
}

func TestMessageReader_EmptyRead(t *testing.T) {
	c := newConn(nil, nil)
	c.message = message{pending: true, stream: remotecommand.StreamStdOut, payload: []byte("x")}
	if n, err := (messageReader{c}).Read(nil); n != 0 || err != nil {
		t.Errorf("Read = %d, %v", n, err)
	}
	if got, err := io.ReadAll(messageReader{c}); string(got) != "\x01x" || err != nil {
		t.Errorf("message %q, %v", got, err)
	}
}

func TestConn_StatusSize(t *testing.T) {
	c := newConn(nil, nil)
	if got := c.appendStatus(make([]byte, maxMessage)); got != maxMessage {
		t.Errorf("%d bytes are kept, want %d", got, maxMessage)
	}
	if got := c.appendStatus(make([]byte, 100)); got != maxMessage+1 {
		t.Errorf("%d bytes are kept, want %d", got, maxMessage+1)
	}
}

func TestConn_NewestSize(t *testing.T) {
	c := newConn(nil, nil)
	for width := range 3 {
		if err := c.Write(fmt.Appendf([]byte{remotecommand.StreamResize}, `{"Width":%d,"Height":24}`, 80+width)); err != nil {
			t.Error(err)
		}
	}
	if got := (sizeQueue{c}).Next(); got.Width != 82 || got.Height != 24 {
		t.Errorf("size %+v", got)
	}
}

func TestConn_PanicInExecutor(t *testing.T) {
	c := newConn(nil, nil)
	c.run(t.Context(), func(context.Context) error { panic("boom") })
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "boom") {
			t.Errorf("recovered %v", r)
		}
		c.Close()
	}()
	_, err := c.NextReader()
	t.Errorf("NextReader returned %v", err)
}

// The executor reports success if the error stream ends without a status.
func TestConn_ExecutorReportsSuccess(t *testing.T) {
	c := newConn(nil, nil)
	c.run(t.Context(), func(context.Context) error { return nil })
	if _, err := c.NextReader(); !errors.Is(err, io.EOF) {
		t.Errorf("NextReader returned %v", err)
	}
	c.Close()
}

// noStreams is a SPDY connection that panics when a stream is created.
type noStreams struct{ httpstream.Connection }

func (noStreams) CreateStream(http.Header) (httpstream.Stream, error) { panic("broken library") }
func (noStreams) CloseChan() <-chan bool                              { return nil }

// A panic in the goroutine that creates a stream makes CreateStream panic.
func TestConnection_PanicInCreateStream(t *testing.T) {
	defer func() {
		if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "broken library") {
			t.Errorf("recovered %v", r)
		}
	}()
	_, err := connection{noStreams{}, nil}.CreateStream(http.Header{})
	t.Errorf("CreateStream returned %v", err)
}
