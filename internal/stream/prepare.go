package stream

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
	"kshell/internal/group"
)

// preparedAge is the longest time that a prepared connection is kept without
// being used. Servers and proxies close idle connections; common ones do so after
// more than a minute.
const preparedAge = 15 * time.Second

// Prepare starts to open a connection to the server, including the TLS
// handshake, and returns at once. The next handshake of Dial or DialWebSocket
// uses the connection, and waits for it if necessary. Until then, the caller can
// make another request, such as one for the pod. If the connection cannot be
// opened, the handshake tries to open another one, and returns the error of that
// attempt.
//
// Nothing is sent on the connection before the handshake. It is closed if it is
// not used within 15 s, or by ClosePrepared. Prepare does nothing if an earlier
// prepared connection was neither used nor closed by ClosePrepared, or if the
// configuration contains an HTTP transport. Prepare may run the credential plugin
// if that provides a client certificate.
func (t *Transport) Prepare() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.usesSPDY && t.prepared == nil {
		t.prepared = t.dialer.prepare()
	}
}

// ClosePrepared closes the connection that Prepare has opened, if it was not
// used, and returns when it is closed.
func (t *Transport) ClosePrepared() {
	if p := t.takePrepared(); p != nil {
		p.close()
	}
}

// takePrepared returns the connection that Prepare has opened or is opening, or
// nil. The caller must use or close it.
func (t *Transport) takePrepared() *prepared {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.prepared
	t.prepared = nil
	return p
}

// prepared is a connection on which no request was sent, or an attempt to open
// one.
type prepared struct {
	tcp     *tcpConn
	cancel  context.CancelFunc // ends the attempt
	opening group.Group
	opened  chan struct{} // closed when the attempt has ended and the following fields are set

	conn   *http.ClientConn
	err    error
	expiry *time.Timer // closes conn
}

// prepare returns a connection that is being opened; nil if the Dialer cannot
// open connections in advance.
func (d *Dialer) prepare() *prepared {
	transport, err := d.early()
	if err != nil || transport == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.timeout)
	p := &prepared{tcp: new(tcpConn), cancel: cancel, opened: make(chan struct{})}
	p.opening.Go(func() {
		defer close(p.opened)
		defer cancel()
		p.conn, p.err = transport.NewClientConn(context.WithValue(ctx, tcpKey{}, p.tcp), d.base.Scheme, address(d.base))
		if p.err == nil {
			conn := p.conn
			p.expiry = time.AfterFunc(preparedAge, func() { _ = conn.Close() })
		}
	})
	return p
}

// wait waits until the attempt to open the connection has ended, and reports
// whether the connection can be used. If so, the caller must use or close it;
// otherwise, wait has closed it.
func (p *prepared) wait(ctx context.Context) bool {
	select {
	case <-p.opened:
	case <-ctx.Done():
		p.close()
		return false
	}
	p.opening.Wait()
	if p.err != nil || !p.expiry.Stop() || p.conn.Err() != nil {
		p.close()
		return false
	}
	return true
}

// close ends the attempt, or closes the connection.
func (p *prepared) close() {
	p.cancel()
	p.opening.Wait()
	if p.err != nil {
		return
	}
	p.expiry.Stop()
	_ = p.conn.Close() // nothing was sent
}

// tcpKey is the key of the context's *tcpConn that a dialer sets to the
// connection that it opens.
type tcpKey struct{}

// newEarlyTransport returns the transport that opens prepared connections. They use
// HTTP/1.1, which a WebSocket needs. It returns nil if cfg contains an HTTP
// transport.
func newEarlyTransport(cfg *rest.Config, base *url.URL) (*http.Transport, error) {
	if cfg.Transport != nil {
		return nil, nil
	}
	own := rest.CopyConfig(cfg)
	own.NextProtos = []string{"http/1.1"}
	shared, err := rest.TransportFor(own)
	if err != nil {
		return nil, err
	}
	inner := baseTransport(shared)
	if inner == nil {
		return nil, nil
	}
	transport := inner.Clone()
	if dial := transport.DialContext; dial != nil {
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if tcp, ok := ctx.Value(tcpKey{}).(*tcpConn); ok && err == nil {
				tcp.set(conn)
			}
			return conn, err
		}
	}
	if proxy := transport.Proxy; proxy != nil {
		// NewClientConn calls Proxy with a URL without the port. NO_PROXY may
		// contain the port, so Proxy needs the whole URL.
		transport.Proxy = func(*http.Request) (*url.URL, error) {
			return proxy(&http.Request{Method: http.MethodGet, URL: base, Header: http.Header{}, Host: base.Host})
		}
	}
	return transport, nil
}

// baseTransport returns the *http.Transport inside the transports that client-go and
// this program add; nil if there is none.
func baseTransport(rt http.RoundTripper) *http.Transport {
	for {
		switch t := rt.(type) {
		case *http.Transport:
			return t
		case utilnet.RoundTripperWrapper:
			rt = t.WrappedRoundTripper()
		default:
			return nil
		}
	}
}

// address returns the host and the port of a URL.
func address(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// preparedTransport returns the transport for one handshake on conn, with the credentials
// and the other settings of cfg.
func preparedTransport(cfg *rest.Config, conn *http.ClientConn) (http.RoundTripper, error) {
	transport, err := rest.HTTPWrappersForConfig(cfg, conn)
	if err != nil {
		return nil, err
	}
	return apiclient.PluginErrors(cfg, transport), nil
}
