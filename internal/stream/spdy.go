package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coder/websocket"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"

	"kshell/internal/apiclient"
	"kshell/internal/stream/spdy"
)

// SPDY is the beginning of what Conn.Protocol returns for a Conn that DialSPDY
// has opened. A space and the selected subprotocol follow.
const SPDY = spdy.Version

// DialSPDY is like Dial, but uses SPDY. It is for exec and attach. SPDY needs
// the verb create, whereas WebSocket needs the verb get, and some proxies
// support only SPDY. Of r, only Path and Query are used; the query parameters
// stdin, stdout, stderr and tty select the streams.
//
// The Conn can close stdin and ends with a status. It cannot send pings.
func (d *Dialer) DialSPDY(ctx context.Context, r Request) (*Conn, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, d.timeout, d.timeoutError("SPDY"))
	defer cancel()
	transport, err := d.http1()
	if err != nil {
		return nil, fmt.Errorf("connection settings: %w", err)
	}
	u := d.base.JoinPath(r.Path)
	u.RawQuery = encode(r.Query)
	var h spdyHandshake
	tcp := new(tcpConn)
	conn, err := spdy.Dial(tcp.traced(bounded), transport, u, h.accept)
	if err != nil {
		h.close()
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, d.dialError(err, nil, context.Cause(bounded))
	}
	s := &spdySocket{conn: conn, reads: newReadTimer()}
	return &Conn{
		ws: s, reads: s.reads, out: h.out, protocol: SPDY + " " + h.protocol, codec: codec{halfClose: true, status: true},
		buf: make([]byte, readSize), start: time.Now(), tcp: tcp,
	}, nil
}

// newHTTP1 returns a transport for SPDY handshakes, which need HTTP/1.1.
func newHTTP1(cfg *rest.Config) (http.RoundTripper, error) {
	own := rest.CopyConfig(cfg)
	own.NextProtos = []string{"http/1.1"}
	transport, err := rest.TransportFor(own)
	if err != nil {
		return nil, err
	}
	return apiclient.PluginErrors(own, transport), nil
}

// spdyHandshake checks the answer to a SPDY handshake.
type spdyHandshake struct {
	protocol string
	out      *bufferedConn // the connection; nil before a successful accept
}

// accept returns the connection on which resp, the answer to a handshake, has
// arrived. The errors are those of upgrader.RoundTrip.
func (h *spdyHandshake) accept(resp *http.Response) (io.ReadWriteCloser, error) {
	conn, ok := resp.Body.(io.ReadWriteCloser)
	if !ok || resp.StatusCode != http.StatusSwitchingProtocols {
		defer resp.Body.Close()
		return nil, newHandshakeError(resp, refusalBody(resp))
	}
	if err := checkSPDY(resp); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	h.protocol, h.out = resp.Header.Get(httpstream.HeaderProtocolVersion), newBufferedConn(conn)
	return h.out, nil
}

// close closes the connection of a handshake that failed after accept.
func (h *spdyHandshake) close() {
	if h.out != nil {
		_ = h.out.Close() // an error means that it was closed already
	}
}

func checkSPDY(resp *http.Response) error {
	if upgrade := resp.Header.Get(httpstream.HeaderUpgrade); !strings.EqualFold(upgrade, SPDY) {
		return &HandshakeError{StatusCode: resp.StatusCode, Text: fmt.Sprintf("upgrade to %q, not to %s", upgrade, SPDY)}
	}
	if selected := resp.Header.Get(httpstream.HeaderProtocolVersion); !slices.Contains(spdy.Protocols(), selected) {
		return &ProtocolError{Selected: selected, Offered: spdy.Protocols()}
	}
	return nil
}

// spdySocket adapts a SPDY connection to socket.
type spdySocket struct {
	conn  *spdy.Conn
	reads *readTimer // measures how long Reader waits for a whole message
}

// Reader implements socket.
func (s *spdySocket) Reader(context.Context) (websocket.MessageType, io.Reader, error) {
	s.reads.begin()
	defer s.reads.end()
	r, err := s.conn.NextReader()
	return websocket.MessageBinary, r, err
}

// Write implements socket.
func (s *spdySocket) Write(_ context.Context, _ websocket.MessageType, message []byte) error {
	return s.conn.Write(message)
}

var errNoPing = errors.New("no pings over SPDY")

// Ping implements socket. It always fails.
func (s *spdySocket) Ping(context.Context) error { return errNoPing }

// CloseNow implements socket.
func (s *spdySocket) CloseNow() error {
	s.conn.Close()
	return nil
}
