package stream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
)

// handshakeTimeout is the time limit of one handshake, unless the configuration
// has a timeout. It is longer than the 30 s after which an API server reports
// that it cannot reach the kubelet. The limit is needed because a kubelet may
// accept the connection and never answer.
const handshakeTimeout = 35 * time.Second

// Dialer opens connections to one API server, and makes requests to it, with the
// credentials, proxy and TLS settings of a configuration. Use NewDialer: the
// zero value is not usable. It is safe for concurrent use.
type Dialer struct {
	cfg     *rest.Config
	base    *url.URL
	client  *http.Client
	http    func() (*http.Client, error)      // for Get
	http1   func() (http.RoundTripper, error) // for DialSPDY
	early   func() (*http.Transport, error)   // for prepare; returns nil if it cannot be used
	timeout time.Duration                     // the time limit of one handshake
}

// NewDialer returns a Dialer for the server of cfg. It connects to nothing: an
// error means that cfg has an unusable host, certificate or credential plugin.
func NewDialer(cfg *rest.Config) (*Dialer, error) {
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("server address: %w", err)
	}
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connection settings: %w", err)
	}
	own := *client // a copy, because client may be http.DefaultClient
	own.Timeout = 0
	own.Transport = apiclient.PluginErrors(cfg, cmp.Or(client.Transport, http.DefaultTransport))
	return &Dialer{
		cfg: cfg, base: base, client: &own, timeout: cmp.Or(cfg.Timeout, handshakeTimeout),
		http:  sync.OnceValues(func() (*http.Client, error) { return newHTTP(cfg) }),
		http1: sync.OnceValues(func() (http.RoundTripper, error) { return newHTTP1(cfg) }),

		early: sync.OnceValues(func() (*http.Transport, error) { return newEarlyTransport(cfg, base) }),
	}, nil
}

// newHTTP returns a client for Get. It does not follow redirects, for the
// reason given at upgrader. After the answer 401, it does not repeat a request,
// because Transport does so.
func newHTTP(cfg *rest.Config) (*http.Client, error) {
	client, err := apiclient.NewWithoutRenewal(cfg)
	if err != nil {
		return nil, err
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return client, nil
}

// Server returns the server's address with its path and without credentials,
// for messages.
func (d *Dialer) Server() string { return d.origin() + strings.TrimSuffix(d.base.EscapedPath(), "/") }

// origin returns the scheme and the host of the server's address.
func (d *Dialer) origin() string { return d.base.Scheme + "://" + d.base.Host }

// Request is the request of a handshake.
type Request struct {
	Path      string     // below the server's address, escaped
	Query     url.Values // may be nil
	Protocols []string   // the subprotocols to offer, best first; none for a stream of plain messages
	Rest      []string   // for Transport.Dial: offered if the server supports none of Protocols; may be nil
	Origin    bool       // send an Origin header, which a watch over WebSocket needs
}

// LineLength returns the length of the request line of r, in bytes.
func (d *Dialer) LineLength(r Request) int {
	u := d.base.JoinPath(r.Path)
	return len("GET ? HTTP/1.1\r\n") + len(u.EscapedPath()) + len(encode(r.Query))
}

// Dial performs one handshake. The time limit is the configuration's timeout,
// or 35 s if it has none. ctx applies only to the handshake. The error is a
// *HandshakeError if the server refused, a *ProtocolError if the server
// selected none of the subprotocols offered, a *DialError if the server could
// not be reached, or the context's cause.
func (d *Dialer) Dial(ctx context.Context, r Request) (*Conn, error) { return d.dialOn(ctx, nil, r) }

// dialOn is like Dial, but uses the connection p. If p is nil or cannot be used, it
// opens another connection.
func (d *Dialer) dialOn(ctx context.Context, p *prepared, r Request) (*Conn, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, d.timeout, d.timeoutError("WebSocket"))
	defer cancel()
	u := d.base.JoinPath(r.Path)
	u.RawQuery = encode(r.Query)
	header := http.Header{}
	if r.Origin {
		header.Set("Origin", d.origin())
	}
	tcp, transport := new(tcpConn), d.client.Transport
	if p != nil && p.wait(bounded) {
		prepared, err := preparedTransport(d.cfg, p.conn)
		if err != nil {
			p.close()
			return nil, fmt.Errorf("connection settings: %w", err)
		}
		tcp, transport = p.tcp, prepared
	}
	handshake := &upgrader{RoundTripper: transport}
	client := *d.client
	client.Transport = handshake
	options := &websocket.DialOptions{HTTPClient: &client, HTTPHeader: header, Subprotocols: slices.Clone(r.Protocols)}
	ws, resp, err := websocket.Dial(tcp.traced(bounded), u.String(), options) //nolint:bodyclose // see websocket.Dial
	if err != nil {
		if transport != d.client.Transport {
			p.close()
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, d.dialError(err, resp, context.Cause(bounded))
	}
	conn := newConn(ws, handshake.out)
	conn.tcp = tcp
	return conn, nil
}

// timeoutError returns the error of a handshake that was not answered in time.
func (d *Dialer) timeoutError(protocol string) error {
	return fmt.Errorf("no answer to the %s handshake within %v", protocol, d.timeout)
}

// lateError is the error of a handshake that was not answered in time.
type lateError struct {
	text  error // the message
	cause error // the error of the connection
}

// Error returns the message.
func (e *lateError) Error() string { return e.text.Error() }

// Unwrap returns the error of the connection, which may have a hint.
func (e *lateError) Unwrap() error { return e.cause }

// dialError returns the error to report for err, which ended a handshake. resp
// is the answer, or nil. timeout is not nil if the time limit has passed.
func (d *Dialer) dialError(err error, resp *http.Response, timeout error) error {
	var refused *HandshakeError
	var unknown *ProtocolError
	explained := apiclient.AsRefusal(err)
	switch {
	case errors.As(err, &refused):
		return refused
	case explained != nil:
		return &HandshakeError{StatusCode: explained.HTTPStatus(), Err: explained}
	case errors.As(err, &unknown):
		return unknown
	case resp != nil: // 101, but not for a WebSocket
		return &HandshakeError{StatusCode: resp.StatusCode, Text: plain(err)}
	case timeout != nil:
		err = &lateError{timeout, err}
	}
	return &DialError{Server: d.Server(), Err: err}
}

// upgrader is the transport of one handshake. It returns a *HandshakeError for
// any answer except 101, and a *ProtocolError for a 101 with a subprotocol that
// was not offered. It does not follow redirects: their targets, such as login
// pages, must not get the credentials.
type upgrader struct {
	http.RoundTripper
	out *bufferedConn // the connection, set after the handshake
}

// RoundTrip implements http.RoundTripper.
func (u *upgrader) RoundTrip(req *http.Request) (*http.Response, error) {
	once := *req
	once.Body, once.TransferEncoding = noBody{}, noEncoding
	resp, err := u.RoundTripper.RoundTrip(&once)
	if err != nil {
		return nil, err
	}
	if conn, ok := resp.Body.(io.ReadWriteCloser); ok && resp.StatusCode == http.StatusSwitchingProtocols {
		if err := checkSubprotocol(req, resp); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		u.out = newBufferedConn(conn)
		resp.Body = u.out
		return resp, nil
	}
	defer resp.Body.Close()
	return nil, newHandshakeError(resp, refusalBody(resp))
}

// noBody is the body of a handshake. It has no bytes, and nothing is sent for
// it. It prevents http.Transport from sending the handshake again. http.Transport
// repeats a GET without a body, or with http.NoBody, if the server has answered an
// earlier request on the same connection, and then closes the connection without
// an answer. The handshake must not be repeated, because the server may have
// started the command.
type noBody struct{}

// noEncoding prevents http.Transport from reading noBody in advance. If that read took
// longer than 200 ms, as it can on a busy machine, http.Transport would send the body
// in chunks. The server would then receive the last chunk as a frame of the WebSocket.
var noEncoding = []string{"identity"}

// Read implements io.Reader.
func (noBody) Read([]byte) (int, error) { return 0, io.EOF }

// Close implements io.Closer.
func (noBody) Close() error { return nil }

// refusalBody returns the beginning of the body of a refusal, at most maxRefusal
// bytes. It does not read a JSON answer with the status 200, because that may be
// a watch, which does not end.
func refusalBody(resp *http.Response) []byte {
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode == http.StatusOK && mediaType == "application/json" {
		return nil
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // after an error, body contains the part that was read
	return body
}

// checkSubprotocol returns a *ProtocolError if the selected subprotocol was not
// offered.
func checkSubprotocol(req *http.Request, resp *http.Response) error {
	const header = "Sec-Websocket-Protocol"
	if !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
		return nil // another protocol: the library returns an error
	}
	offered, selected := req.Header.Get(header), resp.Header.Get(header)
	if names := strings.Split(offered, ","); offered != "" && !slices.Contains(names, selected) {
		return &ProtocolError{Selected: selected, Offered: names}
	}
	return nil
}
