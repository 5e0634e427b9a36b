package main

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"k8s.io/client-go/rest"

	"kshell/internal/notice"
	"kshell/internal/stream"
)

// road is the way to the API server's commands: by WebSocket, or by SPDY, once that has worked where WebSocket was refused. It may be
// used by several goroutines.
type road struct {
	cfg    *rest.Config
	notice *notice.Printer
	only   bool // WebSocket: its subprotocols were asked for

	mu     sync.Mutex
	dialer *stream.Dialer
	spdy   bool
}

func newRoad(cfg *rest.Config, n *notice.Printer, only bool) (*road, error) {
	dialer, err := stream.NewDialer(cfg)
	if err != nil {
		return nil, err
	}
	return &road{cfg: cfg, notice: n, only: only, dialer: dialer}, nil
}

// Server is the address that is dialled, without credentials: for messages.
func (r *road) Server() string {
	dialer, _ := r.now()
	return dialer.Server()
}

// opener is open for one request.
func (r *road) opener(request stream.Request) func(context.Context) (*stream.Conn, error) {
	return func(ctx context.Context) (*stream.Conn, error) { return r.open(ctx, request) }
}

// open connects. What it tries by SPDY has not run before, or may run again: see spdyMayDo. When credentials have run out that come from
// a program or a file, it tries again with what these give now.
func (r *road) open(ctx context.Context, request stream.Request) (*stream.Conn, error) {
	conn, err := r.try(ctx, request)
	if !loggedOut(err) || !r.renew() {
		return conn, err
	}
	r.notice.Detail("%s: trying again with new credentials", err)
	return r.try(ctx, request)
}

func loggedOut(err error) bool {
	return stream.RefusalOf(err) == stream.RefusalUnauthorized
}

// renew makes sure that the next request has new credentials, and says whether there may be any: client-go has called the program again
// by itself, but would go on for a minute with what it has read from the file.
func (r *road) renew() bool {
	if r.cfg.ExecProvider == nil && r.cfg.BearerTokenFile == "" {
		return false
	}
	dialer, err := stream.NewDialer(r.cfg)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dialer = dialer
	return true
}

func (r *road) try(ctx context.Context, request stream.Request) (*stream.Conn, error) {
	dialer, bySPDY := r.now()
	if bySPDY {
		return dialer.DialSPDY(ctx, request)
	}
	conn, err := dialer.Dial(ctx, request)
	if err == nil || r.only || !spdyMayDo(err, repeatable(request)) {
		return conn, err
	}
	r.notice.Detail("falling back to SPDY: %s", err)
	conn, failure := dialer.DialSPDY(ctx, request)
	switch {
	case failure == nil:
		r.remember()
		return conn, nil
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	r.notice.Detail("SPDY did not do either: %s", failure)
	return nil, betterExplained(err, failure)
}

// betterExplained returns the error to report if both WebSocket and SPDY failed: that of
// the WebSocket, unless SPDY got as far as the pod, so that the handshake is not the
// cause.
func betterExplained(webSocket, spdy error) error {
	var refused *stream.HandshakeError
	if !errors.As(spdy, &refused) {
		return webSocket
	}
	switch class := refused.Refusal(); {
	case class == stream.RefusalNotRunning:
		return spdy
	case refused.Status == nil || class == stream.RefusalUpgradeStripped:
		return webSocket
	}
	switch refused.StatusCode {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusInternalServerError:
		return spdy
	}
	return webSocket
}

// now is what to dial with, and by what.
func (r *road) now() (dialer *stream.Dialer, bySPDY bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dialer, r.spdy
}

func (r *road) remember() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spdy = true
}

// repeatable says whether a command may be run again that may have been started: a session on a terminal is taken up by a new process
// anyway.
func repeatable(request stream.Request) bool { return request.Query.Get("tty") == "true" }

// spdyMayDo reports whether SPDY may work after a WebSocket failed with err. Nothing has
// run, unless the answer was 101: then the server has probably started the command, so
// it must be repeatable.
//
// The API server itself would refuse SPDY as well, except for refusals that concern the
// handshake: a WebSocket is a GET, which needs the right to get, and SPDY is a POST,
// which needs the right to create. (Since Kubernetes 1.35, a WebSocket needs both. If
// only create is missing, or a policy denies the request, SPDY is refused, too.)
func spdyMayDo(err error, repeatable bool) bool {
	var refused *stream.HandshakeError
	var unknown *stream.ProtocolError
	switch {
	case errors.As(err, &unknown):
		return repeatable
	case !errors.As(err, &refused):
		return false
	}
	switch refused.Refusal() {
	case stream.RefusalOtherUpgrade:
		return repeatable
	case stream.RefusalNoRight, stream.RefusalUpgradeStripped:
		return true
	case stream.RefusalUnauthorized, stream.RefusalProxyAuth, stream.RefusalTimeout, stream.RefusalBusy,
		stream.RefusalRedirect, stream.RefusalNotRunning:
		return false
	}
	return refused.Status == nil // a gateway refused it
}
