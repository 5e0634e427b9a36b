package doctor

import (
	"context"
	"fmt"
	"strings"
	"time"

	"kshell/internal/remote"
	"kshell/internal/stream"
)

// checkWebSocket opens a watch over a WebSocket, which runs no command. It shows
// whether the API server and all proxies before it accept WebSockets.
func checkWebSocket(ctx context.Context, d *diagnosis) finding {
	dialer, err := stream.NewDialer(d.conn.Config)
	if err != nil {
		return failure(ctx, err)
	}
	err = dialer.Probe(ctx, d.idleRequest())
	switch class := stream.RefusalOf(err); {
	case err == nil && d.Named:
		return passed("the API server opens WebSockets (tried with a watch, which runs nothing)")
	case err == nil:
		return passed("the API server opens WebSockets (tried with a watch, which runs nothing)").
			with("the connection from the API server to a container was not checked: name a pod to check it")
	case class == stream.RefusalNoRight || class == stream.RefusalNoReason:
		f := skipped("it is tried with a watch of pods, and you may not watch pods in namespace %q", d.conn.Namespace)
		f.refusal = class
		return f
	case class == stream.RefusalNone: // no answer
		return failure(ctx, err)
	}
	f := failure(ctx, remote.Explain(err)).as(Warning)
	if !d.Named {
		f = f.with("kshell tries SPDY if WebSockets are refused: name a pod to check that")
	}
	return f
}

// checkExec runs `true` in the container, without kshell's script: over a
// WebSocket, and if that is refused, over SPDY.
func checkExec(ctx context.Context, d *diagnosis) finding {
	start := time.Now()
	report, err := d.runTrue(ctx, true, stream.Protocols())
	if reached(err) {
		d.webSocket = true
		return started(passed("the container answers over a WebSocket, %s", report.Protocol), err).in(time.Since(start))
	}
	if ctx.Err() != nil || stream.RefusalOf(err) == stream.RefusalNone {
		return failure(ctx, err)
	}
	report, spdyErr := d.runTrue(ctx, false, stream.Protocols())
	if !reached(spdyErr) {
		return failure(ctx, spdyErr)
	}
	f := failure(ctx, err).as(Warning)
	f.message = fmt.Sprintf("the container answers over %s, but not over a WebSocket: %s", report.Protocol, f.message)
	return started(f, spdyErr)
}

// checkSubprotocols runs `true` in the container with each subprotocol.
func checkSubprotocols(ctx context.Context, d *diagnosis) finding {
	if !d.webSocket {
		return skipped("WebSockets are refused")
	}
	var works []string
	f := passed("")
	for _, name := range stream.Protocols() {
		start := time.Now()
		_, err := d.runTrue(ctx, true, []string{name})
		switch {
		case reached(err):
			works = append(works, name)
			f = f.with(fmt.Sprintf("%s works (%s)", name, milliseconds(time.Since(start))))
		case ctx.Err() != nil:
			return failure(ctx, err)
		default:
			bad := failure(ctx, err)
			f.refusal, f.hint = bad.refusal, bad.hint
			f = f.with(fmt.Sprintf("%s does not work: %s", name, bad.message))
		}
	}
	switch {
	case len(works) == len(stream.Protocols()):
		f.message = fmt.Sprintf("all %d work", len(works))
	case len(works) == 0:
		f.status, f.message = Failed, "no subprotocol works if it is the only one that is offered"
	default:
		f.message = strings.Join(works, ", ")
		if works[0] != stream.V5 && works[0] != stream.V4 {
			f.status = Warning
		} else {
			f.hint, f.refusal = "", stream.RefusalNone // kshell does not need the others
		}
	}
	return f
}
