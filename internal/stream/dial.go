package stream

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// handshakeTimeout bounds one handshake. A kubelet that accepts and stays silent would otherwise hold it for ever; an API
// server that cannot reach its kubelet says so after 30 s at most, so we wait a little longer than that.
// The configuration's timeout takes its place.
const handshakeTimeout = 35 * time.Second

// Dialer opens sockets to one API server with the credentials, proxy and TLS settings of its configuration. The zero value is not
// usable: see NewDialer. It may be used by several goroutines.
type Dialer struct {
	base   *url.URL
	client *http.Client
	http1  func() (http.RoundTripper, error) // for DialSPDY
	within time.Duration                     // the time limit of one handshake
}

// NewDialer prepares to dial the server of cfg. Errors are those of cfg: an unusable host, certificate or credential plugin.
func NewDialer(cfg *rest.Config) (*Dialer, error) {
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("server address: %w", err)
	}
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		return nil, fmt.Errorf("connection settings: %w", err)
	}
	own := *client // each handshake needs its own transport
	own.Timeout = 0
	own.Transport = cmp.Or(client.Transport, http.DefaultTransport)
	http1 := sync.OnceValues(func() (http.RoundTripper, error) { return newHTTP1(cfg) })
	return &Dialer{base: base, client: &own, http1: http1, within: cmp.Or(cfg.Timeout, handshakeTimeout)}, nil
}

// Server is the address that is dialled, without credentials: for messages.
func (d *Dialer) Server() string { return d.base.Scheme + "://" + d.base.Host }

// Request is what is asked of the server.
type Request struct {
	Path      string     // below the server's address, escaped
	Query     url.Values // may be nil
	Protocols []string   // subprotocols to offer, best first; none for a stream of plain messages
	Origin    bool       // send an Origin header: watch over WebSocket is refused without one
}

// Dial performs one handshake. The time limit is the configuration's timeout, or 35 s if
// it has none. ctx applies only to the handshake. The error is a *HandshakeError if the
// server refused, a *DialError if it could not be reached, or the context's cause.
func (d *Dialer) Dial(ctx context.Context, r Request) (*Conn, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, d.within, d.late("WebSocket"))
	defer cancel()
	u := d.base.JoinPath(r.Path)
	u.RawQuery = encode(r.Query)
	header := http.Header{}
	if r.Origin {
		header.Set("Origin", d.Server())
	}
	handshake := &upgrader{RoundTripper: d.client.Transport}
	client := *d.client
	client.Transport = handshake
	ws, resp, err := websocket.Dial(bounded, u.String(), &websocket.DialOptions{ //nolint:bodyclose // the library says: never needed
		HTTPClient: &client, HTTPHeader: header, Subprotocols: slices.Clone(r.Protocols),
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, d.refusal(err, resp, context.Cause(bounded))
	}
	return newConn(ws, handshake.out), nil
}

// late returns the error of a handshake that was not answered in time.
func (d *Dialer) late(protocol string) error {
	return fmt.Errorf("no answer to the %s handshake within %v", protocol, d.within)
}

// refusal returns the error of a failed handshake.
func (d *Dialer) refusal(err error, resp *http.Response, timeout error) error {
	var refused *HandshakeError
	var unknown *ProtocolError
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &unknown):
		return unknown
	case resp != nil: // 101, but not a WebSocket answer
		return &HandshakeError{StatusCode: resp.StatusCode, Text: plain(err)}
	case timeout != nil:
		err = timeout
	}
	return &DialError{Server: d.Server(), Err: err}
}

// DialError says that the server could not be reached, or not be trusted: nothing was answered and nothing has run.
type DialError struct {
	Server string // scheme and host
	Err    error
}

func (e *DialError) Error() string {
	return fmt.Sprintf("cannot connect to %s: %s", e.Server, plain(e.Err))
}
func (e *DialError) Unwrap() error { return e.Err }

// Permanent says that another try gives the same: a server that cannot be trusted does not become so.
func (e *DialError) Permanent() bool {
	var untrusted *tls.CertificateVerificationError
	return errors.As(e.Err, &untrusted)
}

// HandshakeError says that a server answered the handshake with something else than a WebSocket: nothing has run.
type HandshakeError struct {
	StatusCode int            // HTTP
	Status     *metav1.Status // the server's own, or nil
	Text       string         // a plain answer, at most 1 KiB, unfiltered; empty for a page, a Status or nothing
	Page       bool           // the answer was HTML: this is not an API server, or something stands before it
	Location   string         // the target of a redirect, without user info and query
}

func (e *HandshakeError) Error() string {
	switch {
	case e.Status != nil && strings.TrimSpace(e.Status.Message) != "":
		return fmt.Sprintf("the server refused (%d): %s", e.StatusCode, strings.TrimSpace(e.Status.Message))
	case e.Location != "":
		return fmt.Sprintf("the server redirects (%d) to %s: the redirect was not followed", e.StatusCode, e.Location)
	case e.Page:
		return fmt.Sprintf("the server answered with a web page (%d), not as a Kubernetes API", e.StatusCode)
	case e.Text != "":
		return fmt.Sprintf("the server refused (%d): %s", e.StatusCode, e.Text)
	case e.StatusCode == http.StatusOK:
		return "the server ignored the request to upgrade to WebSocket (200)"
	default:
		return fmt.Sprintf("the server refused (%d %s) and gave no reason", e.StatusCode, http.StatusText(e.StatusCode))
	}
}

// Permanent says whether asking again gives the same. Overload, a server that is restarting and a node that cannot be reached
// (429, 5xx) may pass.
func (e *HandshakeError) Permanent() bool {
	return e.StatusCode < 500 && e.StatusCode != http.StatusTooManyRequests && e.StatusCode != http.StatusRequestTimeout
}

// Empty says that there was no body at all: with 403, the API server's way to say that it knows none of the subprotocols
// offered (or, for a watch, that the Origin is missing).
func (e *HandshakeError) Empty() bool {
	return e.Status == nil && e.Text == "" && !e.Page && e.Location == ""
}

// maxRefusal bounds how much of a refusal is read, maxText how much of a plain one is kept, in bytes.
const (
	maxRefusal = 64 << 10
	maxText    = 1 << 10
)

// ProtocolError says that the server accepted the handshake without selecting any of the subprotocols offered. What it would have
// said is not known, so nothing of it is used: the unversioned framing that "none" stands for has no exit status.
type ProtocolError struct {
	Selected string // empty: none
	Offered  []string
}

func (e *ProtocolError) Error() string {
	if e.Selected == "" {
		return "the server selected no subprotocol: a proxy may have removed the offer"
	}
	return fmt.Sprintf("the server selected the subprotocol %q, which was not offered", e.Selected)
}

// Permanent is true: the same server selects the same.
func (e *ProtocolError) Permanent() bool { return true }

// upgrader is the transport of one handshake. It returns a *HandshakeError for any answer
// except 101, and a *ProtocolError for a 101 with a subprotocol that was not offered. It
// does not follow redirects: they lead to login pages, which must not get credentials.
type upgrader struct {
	http.RoundTripper
	out *gather // the connection, set after the handshake
}

// RoundTrip implements http.RoundTripper.
func (u *upgrader) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := u.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	if socket, ok := resp.Body.(io.ReadWriteCloser); ok && resp.StatusCode == http.StatusSwitchingProtocols {
		if err := checkSelected(req, resp); err != nil {
			return nil, errors.Join(err, socket.Close())
		}
		u.out = newGather(socket)
		resp.Body = u.out
		return resp, nil
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // what there is of it is worth showing
	return nil, newHandshakeError(resp, body)
}

func checkSelected(req *http.Request, resp *http.Response) error {
	const header = "Sec-Websocket-Protocol"
	if !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") {
		return nil // something else altogether: the library says what
	}
	offered, selected := req.Header.Get(header), resp.Header.Get(header)
	if names := strings.Split(offered, ","); offered != "" && !slices.Contains(names, selected) {
		return &ProtocolError{Selected: selected, Offered: names}
	}
	return nil
}

func newHandshakeError(resp *http.Response, body []byte) *HandshakeError {
	e := &HandshakeError{StatusCode: resp.StatusCode}
	if resp.StatusCode/100 == 3 {
		e.Location = location(resp)
		return e
	}
	var status metav1.Status
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case json.Unmarshal(body, &status) == nil && status.Kind == "Status":
		e.Status = &status
	case mediaType == "text/html" || strings.HasPrefix(strings.TrimSpace(strings.ToLower(string(body[:min(len(body), 64)]))), "<!doctype html"):
		e.Page = true
	default:
		e.Text = strings.TrimSpace(beginning(body))
	}
	return e
}

// location returns the target of the redirect resp, without user info and query; empty if
// resp has none.
func location(resp *http.Response) string {
	u, err := resp.Location()
	switch {
	case errors.Is(err, http.ErrNoLocation):
		return ""
	case err != nil:
		return "an address that cannot be read"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// plain says what went wrong in the words of the innermost error that says something, without addresses and paths that the
// reader knows already.
func plain(err error) string {
	var op *net.OpError
	var closed websocket.CloseError
	switch {
	case errors.As(err, &closed):
		return fmt.Sprintf("closed by the server (%s)", strings.TrimSpace(fmt.Sprint(int(closed.Code), " ", closed.Reason)))
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was cut"
	case errors.Is(err, context.DeadlineExceeded):
		return "timed out"
	case errors.As(err, &op):
		return innermost(op).Error()
	}
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err.Error()
	}
	return err.Error()
}

func innermost(err error) error {
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) {
		err = next
	}
	return err
}
