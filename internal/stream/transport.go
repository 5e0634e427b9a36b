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
// SPDY has worked, it uses only SPDY. Once a WebSocket has worked, it tries
// SPDY only if the user lacks a right that WebSocket needs. If the server does
// not accept the credentials, it tries again with new ones. It does not repeat
// an attempt for any other reason. Use NewTransport: the zero value is not
// usable. A Transport is safe for concurrent use.
type Transport struct {
	cfg           *rest.Config
	webSocketOnly bool
	logf          func(format string, args ...any)
	prober        *prober // may be nil

	mu        sync.Mutex
	dialer    *Dialer
	usesSPDY  bool
	webSocket bool // Dial has opened a WebSocket
	prepared  *prepared
}

// NewTransport returns a Transport for the server of cfg. It connects to
// nothing; the errors are those of NewDialer. webSocketOnly disables SPDY. logf
// is called when Dial falls back to SPDY, when SPDY fails as well, and when
// Dial tries again with new credentials. logf must be safe for concurrent use.
func NewTransport(cfg *rest.Config, webSocketOnly bool, logf func(format string, args ...any)) (*Transport, error) {
	dialer, err := NewDialer(cfg)
	if err != nil {
		return nil, err
	}
	prober, err := newProber(cfg)
	if err != nil {
		return nil, err
	}
	return &Transport{cfg: cfg, webSocketOnly: webSocketOnly, logf: logf, prober: prober, dialer: dialer}, nil
}

// Server returns the server's address without credentials, for messages.
func (t *Transport) Server() string {
	dialer, _ := t.state()
	return dialer.Server()
}

// LineLength returns the length of the request line of r, in bytes.
func (t *Transport) LineLength(r Request) int {
	dialer, _ := t.state()
	return dialer.LineLength(r)
}

// UsesSPDY reports whether Dial uses only SPDY, because SPDY has worked after
// WebSocket was refused.
func (t *Transport) UsesSPDY() bool {
	_, usesSPDY := t.state()
	return usesSPDY
}

// DialWebSocket opens a WebSocket. It does not try SPDY or new credentials. The
// errors are those of Dialer.Dial.
func (t *Transport) DialWebSocket(ctx context.Context, r Request) (*Conn, error) {
	dialer, _ := t.state()
	return dialer.dialOn(ctx, t.takePrepared(), r)
}

// Dial opens a connection. The errors are those of Dialer.Dial. If both
// WebSocket and SPDY failed, it returns the error that explains more.
//
// If Dial returns a *ProtocolError or a RefusalOtherUpgrade, the server has
// answered with 101, and may have started the command. If Dial returns any
// other error, the command was not started. If the command is on a terminal,
// Dial tries SPDY even after a 101, which may start the command a second time.
// A command that is not on a terminal is started at most once.
func (t *Transport) Dial(ctx context.Context, r Request) (*Conn, error) {
	conn, err := withRenewal(t, func(*Dialer) (*Conn, error) { return t.dial(ctx, r) })
	if err == nil {
		conn.prober = t.prober
	}
	return conn, err
}

// withRenewal calls request with the current Dialer. If the server does not
// accept the credentials, and there may be new ones, it calls request again
// with a new Dialer.
func withRenewal[R any](t *Transport, request func(*Dialer) (R, error)) (R, error) {
	dialer, _ := t.state()
	answer, err := request(dialer)
	if RefusalOf(err) == RefusalUnauthorized && t.renewCredentials() {
		t.logf("%s: trying again with new credentials", err)
		dialer, _ = t.state()
		answer, err = request(dialer)
	}
	return answer, err
}

func (t *Transport) dial(ctx context.Context, r Request) (*Conn, error) {
	dialer, usesSPDY := t.state()
	if usesSPDY {
		return dialer.DialSPDY(ctx, r)
	}
	conn, err := dialer.dialOn(ctx, t.takePrepared(), r)
	if RefusalOf(err) == RefusalNoSubprotocol && len(r.Rest) > 0 {
		t.logf("%s: trying other subprotocols", err)
		r.Protocols, r.Rest = r.Rest, nil
		conn, err = dialer.dialOn(ctx, nil, r)
	}
	if err == nil {
		t.setWebSocketWorks()
		return conn, nil
	}
	if t.webSocketOnly || !spdyMayWork(err, repeatable(r)) || t.webSocketWorks() && RefusalOf(err) != RefusalNoRight {
		return nil, err
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

func (t *Transport) setWebSocketWorks() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.webSocket = true
}

// webSocketWorks reports whether Dial has opened a WebSocket.
func (t *Transport) webSocketWorks() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.webSocket
}

// renewCredentials creates a new Dialer if the credentials come from a plugin
// or a file, and reports whether it did. The next request may then have other
// credentials. For a file, the new Dialer is needed: client-go keeps the
// contents of the file for up to a minute, and a new Dialer reads the file
// again. For a plugin, it is not needed: client-go itself runs the plugin again
// after a 401.
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

// repeatable reports whether a command may be started a second time. A command
// on a terminal may be started again, because the session also starts a new
// process after a lost connection.
func repeatable(r Request) bool { return r.Query.Get("tty") == "true" }

// spdyMayWork reports whether to try SPDY after a WebSocket failed with err. If
// the answer was 101, the server has probably started the command, so SPDY is
// tried only if the command is repeatable. After any other answer, nothing has
// run.
//
// If the API server itself refused the WebSocket, it would refuse SPDY as well,
// unless the refusal concerns the handshake: the API server supports none of
// the subprotocols offered, a gateway has removed the headers that ask for the
// upgrade, or a right is missing. A WebSocket is a GET, which needs the verb
// get, and SPDY is a POST, which needs the verb create. (Since Kubernetes 1.35,
// a WebSocket needs both verbs. If only create is missing, or a policy denies
// the request, SPDY is refused, too.)
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
	case RefusalUnauthorized, RefusalProxyAuth, RefusalTimeout, RefusalBusy, RefusalRedirect, RefusalNotRunning,
		RefusalNoCertificate, RefusalTooLong, RefusalInFront:
		return false
	}
	return refused.Status == nil // without a Status, the answer is probably from a gateway
}

// moreHelpful returns the error to report if both WebSocket and SPDY failed. It
// returns the error of SPDY if SPDY was refused because of the pod or its node,
// for example because the container is not running. Otherwise, it returns the
// error of WebSocket.
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
