package stream

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

const (
	// probeWithin is the time limit of a probe: of a TCP connection, perhaps to
	// a proxy, the TLS handshake, and one request.
	probeWithin = 5 * time.Second
	// probeEvery is the interval between the starts of two probes.
	probeEvery = 2 * time.Second
)

// prober checks whether a server can be reached. A probe is a GET of /version
// without credentials, on a new connection through the same proxy as all other
// connections. A probe does not use a connection that is already open, because
// that connection may have been lost together with the silent link.
//
// There is one prober for each server, which all links to the server share.
// Links that call probe at the same time share one probe. A prober is safe for
// concurrent use.
type prober struct {
	url       string
	userAgent string
	transport http.RoundTripper

	mu   sync.Mutex
	last *probe // the probe that was begun last; nil before the first one
}

// probe is one probe.
type probe struct {
	begun time.Time
	ended chan struct{} // closed when the probe has ended and the following fields are set

	result  probeResult
	aborted bool // got no answer before the context of the link that made the probe ended
}

// probeResult is the result of a probe.
type probeResult struct {
	answered bool          // the server answered
	took     time.Duration // the duration of the probe
}

// newProber returns a prober for the server of cfg. It returns nil if cfg has
// its own http.RoundTripper, which may use connections that are already open.
func newProber(cfg *rest.Config) (*prober, error) {
	if cfg.Transport != nil {
		return nil, nil
	}
	base, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := rest.TLSConfigFor(rest.AnonymousClientConfig(cfg))
	if err != nil {
		return nil, err
	}
	proxy := cfg.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{}).DialContext
	}
	address := *base.JoinPath("version")
	address.User = nil
	return &prober{
		url: address.String(), userAgent: cmp.Or(cfg.UserAgent, rest.DefaultKubernetesUserAgent()),
		// With a TLSClientConfig or a DialContext, the transport uses HTTP/1.1.
		transport: &http.Transport{Proxy: proxy, DialContext: dial, TLSClientConfig: tlsConfig, DisableKeepAlives: true},
	}, nil
}

// probe reports whether the server answers. It makes a new probe, unless one is
// in progress or was begun less than probeEvery ago; it then returns the result
// of that one. If ctx ends, the result is that the server does not answer.
func (p *prober) probe(ctx context.Context) probeResult {
	for {
		current, mine := p.current(time.Now())
		if mine {
			p.run(ctx, current)
			return current.result
		}
		select {
		case <-ctx.Done():
			return probeResult{}
		case <-current.ended:
		}
		if !current.aborted {
			return current.result
		}
	}
}

// current returns the probe whose result the caller needs. If mine is set, the
// caller must make the probe.
func (p *prober) current(now time.Time) (current *probe, mine bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil && (!p.last.hasEnded() || !p.last.aborted && now.Sub(p.last.begun) < probeEvery) {
		return p.last, false
	}
	p.last = &probe{begun: now, ended: make(chan struct{})}
	return p.last, true
}

func (p *probe) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// run makes the probe current, and sets its result.
func (p *prober) run(ctx context.Context, current *probe) {
	current.aborted = true // remains set if answers panics
	defer close(current.ended)
	answered := p.answers(ctx)
	current.aborted = !answered && ctx.Err() != nil
	current.result = probeResult{answered, time.Since(current.begun)}
}

// answers sends the request, and reports whether the server answered. The
// statuses 502 to 504 do not count as answers, because a proxy that cannot
// reach the server sends them. A TLS alert counts as an answer, because a
// gateway may require a client certificate.
func (p *prober) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url, nil)
	if err != nil {
		return false
	}
	request.Header.Set("User-Agent", p.userAgent)
	resp, err := p.transport.RoundTrip(request)
	if err != nil {
		return isTLSAlert(err)
	}
	_ = resp.Body.Close() // the body is not used
	return resp.StatusCode < http.StatusBadGateway || resp.StatusCode > http.StatusGatewayTimeout
}

// isTLSAlert reports whether err is a TLS alert from the server.
func isTLSAlert(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}
