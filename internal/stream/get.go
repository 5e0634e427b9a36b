package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"kshell/internal/apiclient"
)

// Get requests path with the credentials of the Dialer, and returns the body of
// the answer, which the caller must close. path is escaped, and is appended to
// the server's address. Redirects are not followed.
//
// Reading more than 64 MiB of the body returns an *apiclient.TooLargeError. The
// whole body must arrive within the Timeout of the configuration, or
// apiclient.DefaultTimeout if that is 0.
//
// The error is a *HandshakeError if the answer is a web page or does not have
// the status 200, a *DialError if the server could not be reached, or the
// context's cause.
func (d *Dialer) Get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	return d.get(apiclient.PageContext(ctx), path, query)
}

// get is like Get. The limits of the answer depend on the context; see
// apiclient.PageContext and apiclient.StreamContext.
func (d *Dialer) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	client, err := d.http()
	if err != nil {
		return nil, fmt.Errorf("connection settings: %w", err)
	}
	u := d.base.JoinPath(path)
	u.RawQuery = encode(query)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("server address: %w", err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	var page *apiclient.PageError
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case errors.As(err, &page):
		return nil, &HandshakeError{StatusCode: page.StatusCode, Page: true}
	case err != nil:
		return nil, d.dialError(err, nil, nil)
	case resp.StatusCode == http.StatusOK:
		return resp.Body, nil
	}
	defer resp.Body.Close()
	return nil, newHandshakeError(resp, refusalBody(resp))
}

// follow is like Get, for an answer that is a stream of JSON messages. The time
// limit applies only until the header of the answer has arrived. A message may
// have up to 4 MiB. The Conn cannot send messages or pings. After follow has
// returned, the end of ctx does not close the Conn.
func (d *Dialer) follow(ctx context.Context, path string, query url.Values) (*Conn, error) {
	request, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { cancel(context.Cause(ctx)) })
	body, err := d.get(apiclient.StreamContext(request), path, query)
	if !stop() && err == nil { // ctx has ended
		_ = body.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		cancel(nil)
		return nil, err
	}
	return &Conn{
		ws: newHTTPSocket(body, func() { cancel(nil) }), reads: newReadTimer(), protocol: "HTTP",
		buf: make([]byte, readSize), start: time.Now(), tcp: new(tcpConn),
	}, nil
}

// Get is like Dialer.Get. If the server does not accept the credentials, Get
// tries once more with new credentials.
func (t *Transport) Get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	return withRenewal(t, func(d *Dialer) (io.ReadCloser, error) { return d.Get(ctx, path, query) })
}

// dialWatch opens a WebSocket for a watch. If the server does not accept the
// credentials, dialWatch tries once more with new credentials.
func (t *Transport) dialWatch(ctx context.Context, path string, query url.Values) (*Conn, error) {
	r := Request{Path: path, Query: query, Origin: true}
	conn, err := withRenewal(t, func(d *Dialer) (*Conn, error) { return d.Dial(ctx, r) })
	if err == nil {
		conn.prober = t.prober
	}
	return conn, err
}

// follow is like Dialer.follow. If the server does not accept the credentials,
// follow tries once more with new credentials.
func (t *Transport) follow(ctx context.Context, path string, query url.Values) (*Conn, error) {
	return withRenewal(t, func(d *Dialer) (*Conn, error) { return d.follow(ctx, path, query) })
}
