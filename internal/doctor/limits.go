package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
	"kshell/internal/group"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/stream"
)

// roundTrips is the number of round trips that are measured.
const roundTrips = 5

// checkRoundTrip measures the round trip of requests on an open connection.
func checkRoundTrip(ctx context.Context, d *diagnosis) finding {
	var times []time.Duration
	for range roundTrips + 1 {
		start := time.Now()
		if err := d.get(ctx); err != nil {
			return failure(ctx, remote.Explain(err))
		}
		times = append(times, time.Since(start))
	}
	times = times[1:] // the first request may have opened a connection
	slices.Sort(times)
	median := times[len(times)/2]
	f := passed("median of %d requests", len(times)).
		with(fmt.Sprintf("from %s to %s", milliseconds(times[0]), milliseconds(times[len(times)-1])))
	if median >= slowRoundTrip {
		f.status, f.hint = Warning, "each key and its echo take this time: is the link busy, or a proxy slow?"
	}
	return f.in(median)
}

// slowRoundTrip is the shortest median round trip that is reported as a warning.
const slowRoundTrip = time.Second

// get requests the version of the server.
func (d *diagnosis) get(ctx context.Context) error {
	body, err := d.cluster.Transport().Get(ctx, "/version", nil)
	if err != nil {
		return err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(body, apiclient.MaxObject))
	return err
}

// milliseconds formats a duration in milliseconds.
func milliseconds(d time.Duration) string {
	if d < 10*time.Millisecond {
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	}
	return fmt.Sprintf("%d ms", d.Milliseconds())
}

// Lengths of request lines, in bytes.
const (
	maxTried   = 16 << 10 // the longest one that is tried
	minTried   = 512      // the shortest one
	precision  = 64       // the search ends when the limit is known to this many bytes
	leastUsed  = 1000     // what kshell needs for a short command, if it sends its script on stdin
	leastTries = 2        // requests that must fail before a limit is reported
)

// checkRequestLine finds the longest request line that the server and the proxies
// before it accept. It requests the version with a long query parameter, over
// HTTP/1.1, which WebSocket handshakes use, too.
func checkRequestLine(ctx context.Context, d *diagnosis) finding {
	cfg := rest.CopyConfig(d.conn.Config)
	cfg.NextProtos = []string{"http/1.1"}
	dialer, err := stream.NewDialer(cfg)
	if err != nil {
		return failure(ctx, err)
	}
	if _, err := tryLine(ctx, dialer, 0); err != nil {
		return failure(ctx, remote.Explain(err))
	}
	accepted, refusedAt, refusal := 0, 0, error(nil)
	for n := minTried; n <= maxTried && refusedAt == 0; n *= 2 {
		if refused, err := d.lineRefused(ctx, dialer, n); err != nil {
			return failure(ctx, remote.Explain(err))
		} else if refused != nil {
			refusedAt, refusal = n, refused
		} else {
			accepted = n
		}
	}
	if refusedAt == 0 {
		return passed("at least %d bytes", maxTried)
	}
	for refusedAt-accepted > precision {
		n := (accepted + refusedAt) / 2
		refused, err := d.lineRefused(ctx, dialer, n)
		switch {
		case err != nil:
			return failure(ctx, remote.Explain(err))
		case refused != nil:
			refusedAt, refusal = n, refused
		default:
			accepted = n
		}
	}
	f := finding{
		status: OK, refusal: stream.RefusalOf(refusal),
		message: fmt.Sprintf("about %d bytes: longer requests are refused%s", accepted, codeOf(refusal)),
	}
	raise := fmt.Sprintf("allow at least %d bytes in the server or proxy that refuses them: "+
		"for nginx, large_client_header_buffers; "+
		"for HAProxy, tune.bufsize; for AWS and other cloud load balancers, see their documentation", 2*remote.MaxLine)
	switch {
	case accepted < leastUsed:
		f.status, f.hint = Failed, raise
		return f.with(fmt.Sprintf("kshell needs at least %d bytes", leastUsed))
	case accepted < remote.MaxLine:
		f.status, f.hint = Warning, raise
		return f.with(fmt.Sprintf("kshell uses up to %d bytes; if such a request is refused, "+
			"it makes another one, and sends its script on stdin", remote.MaxLine))
	}
	return f.with(fmt.Sprintf("kshell uses up to %d bytes, and more only for a command that is longer", remote.MaxLine))
}

// codeOf returns the HTTP status of a refusal in parentheses, with a space before
// it, or "".
func codeOf(err error) string {
	var refused *stream.HandshakeError
	if !errors.As(err, &refused) {
		return ""
	}
	return fmt.Sprintf(" (%d)", refused.StatusCode)
}

// lineRefused makes a request whose request line has n bytes. refused is the error
// if the request was refused because of its length: it fails each time, and the
// shortest request succeeds.
func (d *diagnosis) lineRefused(ctx context.Context, dialer *stream.Dialer, n int) (refused, err error) {
	for range leastTries {
		ok, err := tryLine(ctx, dialer, n)
		switch {
		case ok:
			return nil, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
		if _, short := tryLine(ctx, dialer, 0); short != nil { // something else has failed
			return nil, short
		}
		refused = err
	}
	return refused, nil
}

// tryLine requests the version of the server. The request line has n bytes; if n is
// 0, it is as short as possible.
func tryLine(ctx context.Context, dialer *stream.Dialer, n int) (ok bool, err error) {
	r := stream.Request{Path: "/version"}
	if n > 0 {
		r.Query = url.Values{"x": {""}}
		r.Query.Set("x", strings.Repeat("x", max(n-dialer.LineLength(r), 0)))
	}
	body, err := dialer.Get(ctx, r.Path, r.Query)
	if err != nil {
		return false, err
	}
	defer body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(body, apiclient.MaxObject))
	return err == nil, err
}

// idleRequest returns a watch of a pod that does not exist, so the server sends no
// events. A watch runs no command. With resourceVersion 0, the server answers at once;
// without it, a server with a watch cache may take up to 3 seconds.
func (d *diagnosis) idleRequest() stream.Request {
	path, _ := pod.ListPath("pods", d.conn.Namespace) // the type is known: no error
	return stream.Request{
		Path: path, Origin: true,
		Query: url.Values{
			"watch": {"true"}, "resourceVersion": {"0"}, "fieldSelector": {"metadata.name=kshell-doctor-no-such-pod"},
		},
	}
}

// checkIdle holds a WebSocket open on which nothing is sent, and reports when it is
// closed.
func checkIdle(ctx context.Context, d *diagnosis) finding {
	if d.Slow == 0 {
		return skipped("--slow holds an idle connection open for minutes, and reports when it is closed")
	}
	cfg := rest.CopyConfig(d.conn.Config)
	// TCP keepalives would prevent some firewalls from closing the connection.
	cfg.Dial = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: false}, KeepAlive: -1}).DialContext
	dialer, err := stream.NewDialer(cfg)
	if err != nil {
		return failure(ctx, err)
	}
	ended := make(chan struct{})
	var counting group.Group
	defer counting.Wait()
	defer close(ended)
	lasted, err := dialer.Idle(ctx, d.idleRequest(), d.Slow, func() {
		counting.Go(func() { d.count(ended) })
	})
	var lost *stream.LostError
	switch {
	case err == nil:
		return passed("an idle connection was still open after %v", d.Slow)
	case !errors.As(err, &lost):
		return failure(ctx, remote.Explain(err))
	}
	message := fmt.Sprintf("an idle connection was closed after %v: %s", lasted.Round(time.Second), lost)
	if lasted > d.settings.Keepalive && d.settings.Keepalive > 0 {
		return passed("%s", message).with(
			fmt.Sprintf("kshell prevents that by pings, at least every %v; kubectl exec does not", d.settings.Keepalive))
	}
	return warning(fmt.Sprintf("--keepalive %v, or the setting keepalive, makes kshell send pings before that",
		max(lasted/2, time.Second).Round(time.Second)), "%s", message)
}

// count reports every second how long the connection has been idle, until ended is
// closed.
func (d *diagnosis) count(ended <-chan struct{}) {
	start := time.Now()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		d.Progress(fmt.Sprintf("idle for %v of up to %v (press Ctrl-C to cancel)",
			time.Since(start).Round(time.Second), d.Slow))
		select {
		case <-ticker.C:
		case <-ended:
			return
		}
	}
}
