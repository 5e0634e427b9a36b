package stream

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"k8s.io/client-go/rest"
)

// Transport opens the connections of exec and attach to one API server. It
// tries WebSocket, and then SPDY if a refusal suggests that SPDY works; once
// SPDY has worked, it uses only SPDY. If the server does not accept the
// credentials, it tries again with new ones. It does not repeat an attempt for
// any other reason. Use NewTransport: the zero value is not usable. A Transport
// is safe for concurrent use.
type Transport struct {
	cfg           *rest.Config
	webSocketOnly bool
	logf          func(format string, args ...any)

	mu       sync.Mutex
	dialer   *Dialer
	usesSPDY bool
}

// NewTransport returns a Transport for the server of cfg. It connects to
// nothing; the errors are those of NewDialer. webSocketOnly disables SPDY. logf
// is called with each failed attempt that is followed by another one; it must
// be safe for concurrent use.
func NewTransport(cfg *rest.Config, webSocketOnly bool, logf func(format string, args ...any)) (*Transport, error) {
	dialer, err := NewDialer(cfg)
	if err != nil {
		return nil, err
	}
	return &Transport{cfg: cfg, webSocketOnly: webSocketOnly, logf: logf, dialer: dialer}, nil
}

// Server returns the server's address without credentials, for messages.
func (t *Transport) Server() string {
	dialer, _ := t.state()
	return dialer.Server()
}

// UsesSPDY reports whether SPDY has worked where WebSocket was refused.
func (t *Transport) UsesSPDY() bool {
	_, usesSPDY := t.state()
	return usesSPDY
}

// DialWebSocket opens a WebSocket. It does not try SPDY or new credentials. The
// errors are those of Dialer.Dial.
func (t *Transport) DialWebSocket(ctx context.Context, r Request) (*Conn, error) {
	dialer, _ := t.state()
	return dialer.Dial(ctx, r)
}

// Dial opens a connection. The errors are those of Dialer.Dial. If both
// WebSocket and SPDY failed, it returns the error that explains more.
//
// A command that is not on a terminal is started at most once, and if Dial
// returns an error other than a *ProtocolError, it was not started. On a
// terminal, SPDY is also tried after a *ProtocolError, and may then start the
// command a second time.
func (t *Transport) Dial(ctx context.Context, r Request) (*Conn, error) {
	conn, err := t.dial(ctx, r)
	if RefusalOf(err) != RefusalUnauthorized || !t.renewCredentials() {
		return conn, err
	}
	t.logf("%s: trying again with new credentials", err)
	return t.dial(ctx, r)
}

func (t *Transport) dial(ctx context.Context, r Request) (*Conn, error) {
	dialer, usesSPDY := t.state()
	if usesSPDY {
		return dialer.DialSPDY(ctx, r)
	}
	conn, err := dialer.Dial(ctx, r)
	if err == nil || t.webSocketOnly || !spdyMayWork(err, repeatable(r)) {
		return conn, err
	}
	t.logf("falling back to SPDY: %s", err)
	conn, spdyErr := dialer.DialSPDY(ctx, r)
	switch {
	case spdyErr == nil:
		t.useSPDY()
		return conn, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	t.logf("SPDY failed, too: %s", spdyErr)
	return nil, moreHelpful(err, spdyErr)
}

func (t *Transport) state() (dialer *Dialer, usesSPDY bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dialer, t.usesSPDY
}

func (t *Transport) useSPDY() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.usesSPDY = true
}

// renewCredentials creates a new Dialer if the credentials come from a plugin
// or a file, and reports whether it did: the next request may then have other
// credentials. After a 401, client-go runs the plugin again, but it uses the
// contents of the file for another minute; a new Dialer reads the file again.
func (t *Transport) renewCredentials() bool {
	if t.cfg.ExecProvider == nil && t.cfg.BearerTokenFile == "" {
		return false
	}
	dialer, err := NewDialer(t.cfg)
	if err != nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dialer = dialer
	return true
}

// repeatable reports whether a command that may have been started may be run
// again. On a terminal it may: a new process also continues the session after a
// lost connection.
func repeatable(r Request) bool { return r.Query.Get("tty") == "true" }

// spdyMayWork reports whether to try SPDY after a WebSocket failed with err.
// Nothing has run, unless the answer was 101: then the server has probably
// started the command, so it must be repeatable.
//
// The API server itself would refuse SPDY as well, except for refusals that
// concern the handshake: a WebSocket is a GET, which needs the verb get, and
// SPDY is a POST, which needs the verb create. (Since Kubernetes 1.35, a
// WebSocket needs both verbs. If only create is missing, or a policy denies the
// request, SPDY is refused, too.)
func spdyMayWork(err error, repeatable bool) bool {
	var refused *HandshakeError
	var unknown *ProtocolError
	switch {
	case errors.As(err, &unknown):
		return repeatable
	case !errors.As(err, &refused):
		return false
	}
	switch refused.Refusal() {
	case RefusalOtherUpgrade:
		return repeatable
	case RefusalNoRight, RefusalUpgradeStripped:
		return true
	case RefusalUnauthorized, RefusalProxyAuth, RefusalTimeout, RefusalBusy, RefusalRedirect, RefusalNotRunning:
		return false
	}
	return refused.Status == nil // a gateway refused it
}

// moreHelpful returns the error to report if both WebSocket and SPDY failed:
// that of the WebSocket, unless the SPDY request reached the pod: then the
// handshake is not the cause.
func moreHelpful(webSocket, spdy error) error {
	var refused *HandshakeError
	if !errors.As(spdy, &refused) {
		return webSocket
	}
	switch class := refused.Refusal(); {
	case class == RefusalNotRunning:
		return spdy
	case refused.Status == nil || class == RefusalUpgradeStripped:
		return webSocket
	}
	switch refused.StatusCode {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusInternalServerError:
		return spdy
	}
	return webSocket
}
