package headlamp

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// The headers that Headlamp reads and sets.
const (
	gateHeader       = "X-Headlamp_backend-Token" // the canonical form of X-HEADLAMP_BACKEND-TOKEN
	kubeconfigHeader = "Kubeconfig"
	userIDHeader     = "X-Headlamp-User-Id"
	cacheHeader      = "X-Headlamp-Cache"
)

// userIDProtocol is the prefix of the subprotocol that carries the user ID.
const userIDProtocol = "base64url.headlamp.authorization.k8s.io."

// Route is the way to one cluster through one Headlamp server. A Route must not
// be copied after the first call of Apply. The transports of the configurations
// that Apply returns are safe for concurrent use.
type Route struct {
	Base    string // the URL of the server, without a / at the end
	Cluster string // the name of the cluster, not escaped
	Gate    string // the token of the desktop app, or ""

	// Kubeconfig is the result of Flatten, for a stateless cluster. Cluster is
	// then the name of its context, and UserID is not "".
	Kubeconfig []byte
	UserID     string

	// Server is the answer of Probe, or nil if the server was not asked.
	Server *Server

	// Unverified means that only the path of the address suggests that the
	// server is a Headlamp. The route then explains a refusal only if the
	// answer to BASE/config is that of a Headlamp, or a refusal of the same
	// kind. It does not explain a 401 if the credentials can be renewed. It
	// does not change the Authorization header.
	Unverified bool

	uncached  atomic.Bool // the server has a response cache, which must be bypassed
	connected atomic.Bool // the server has served the cluster

	once sync.Once // initializes asking and found

	// asking has one slot, which is occupied during a request for BASE/config.
	// It protects the fields below.
	asking  chan struct{}
	asked   time.Time // the time of the last answer to BASE/config
	found   *Server   // the last answer that was that of a Headlamp, or nil
	refused *Refusal  // the refusal of the last request, or nil
}

// Apply returns a copy of cfg whose clients use the route. It replaces Host,
// and disables HTTP/2, because a request that bypasses the response cache has a
// header that HTTP/2 does not allow. It adds a transport, which is inside those
// that later calls of Wrap add. The credentials of cfg are for the cluster; its
// TLS and proxy settings are for the Headlamp server.
//
// If a Refusal explains an answer, the Body of the response has a method
// Refusal() error that returns it. The transport does not return it as an
// error, because client-go renews credentials only after a response with the
// status 401.
func (r *Route) Apply(cfg *rest.Config) *rest.Config {
	r.once.Do(func() {
		r.asking = make(chan struct{}, 1)
		r.found = r.Server
	})
	cfg = rest.CopyConfig(cfg)
	cfg.Host = Address{r.Base, r.Cluster}.URL()
	cfg.NextProtos = []string{"http/1.1"}
	renewable := cfg.ExecProvider != nil || cfg.AuthProvider != nil || cfg.BearerTokenFile != ""
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &transport{next, r, renewable} })
	return cfg
}

// NewClient returns an HTTP client for Probe. It has the TLS and proxy settings
// and the timeout of cfg. Its only credentials are gate, which is the token of
// the desktop app or "", and the client certificate of cfg, which the Headlamp
// server or a proxy in front of it may require.
func NewClient(cfg *rest.Config, gate string) (*http.Client, error) {
	own := WithoutLogin(cfg)
	own.NextProtos = []string{"http/1.1"}
	own.Wrap(func(next http.RoundTripper) http.RoundTripper { return &gateTransport{next, gate} })
	return rest.HTTPClientFor(own)
}

// WithoutLogin returns a copy of cfg without the credentials for a cluster. It
// keeps the client certificate, which is for the Headlamp server.
func WithoutLogin(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.BearerToken, cfg.BearerTokenFile, cfg.Username, cfg.Password = "", "", "", ""
	cfg.ExecProvider, cfg.AuthProvider, cfg.AuthConfigPersister = nil, nil, nil
	cfg.Impersonate = rest.ImpersonationConfig{}
	return cfg
}

// gateTransport adds the token of the desktop app to each request.
type gateTransport struct {
	http.RoundTripper
	gate string
}

// WrappedRoundTripper implements utilnet.RoundTripperWrapper.
func (t *gateTransport) WrappedRoundTripper() http.RoundTripper { return t.RoundTripper }

// CloseIdleConnections is called by the method of that name of http.Client.
func (t *gateTransport) CloseIdleConnections() { utilnet.CloseIdleConnectionsFor(t.RoundTripper) }

// RoundTrip implements http.RoundTripper.
func (t *gateTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.gate != "" {
		req = req.Clone(req.Context())
		req.Header.Set(gateHeader, t.gate)
	}
	return t.RoundTripper.RoundTrip(req)
}

// transport is the transport of a Route.
type transport struct {
	http.RoundTripper
	route     *Route
	renewable bool // the credentials can be renewed after a 401
}

// WrappedRoundTripper implements utilnet.RoundTripperWrapper.
func (t *transport) WrappedRoundTripper() http.RoundTripper { return t.RoundTripper }

// CloseIdleConnections is called by the method of that name of http.Client.
func (t *transport) CloseIdleConnections() { utilnet.CloseIdleConnectionsFor(t.RoundTripper) }

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	out := t.route.request(req)
	resp, err := t.RoundTripper.RoundTrip(out)
	if err == nil && isCached(out, resp) {
		_ = resp.Body.Close() // the body is not used
		t.route.uncached.Store(true)
		out = t.route.request(req)
		resp, err = t.RoundTripper.RoundTrip(out)
	}
	if code, ok := redirectCode(err); ok && !t.route.Unverified {
		return nil, t.route.refusal(WebPage, code)
	}
	if err != nil {
		return nil, err
	}
	if protocol := resp.Header.Get("Sec-Websocket-Protocol"); strings.HasPrefix(protocol, userIDProtocol) {
		resp.Header.Del("Sec-Websocket-Protocol") // it was not offered by the caller
	}
	return t.check(out, resp), nil
}

// isCached reports whether resp comes from the server's response cache, so that
// it may be the answer to another query, and req did not bypass the cache.
func isCached(req *http.Request, resp *http.Response) bool {
	return strings.EqualFold(resp.Header.Get(cacheHeader), "true") &&
		req.Method == http.MethodGet && req.Header.Get("Connection") == ""
}

// request returns a copy of req with the headers of the route.
func (r *Route) request(req *http.Request) *http.Request {
	req = req.Clone(req.Context())
	h := req.Header
	h.Del("Cookie")
	if !r.Unverified && !strings.HasPrefix(h.Get("Authorization"), "Bearer ") {
		h.Del("Authorization")
	}
	if r.Gate != "" {
		h.Set(gateHeader, r.Gate)
	}
	if r.Kubeconfig != nil {
		h.Set(kubeconfigHeader, base64.StdEncoding.EncodeToString(r.Kubeconfig))
		h.Set(userIDHeader, r.UserID)
	}
	switch upgrade := h.Get("Upgrade"); {
	case strings.EqualFold(upgrade, "websocket"):
		r.offer(h)
	case upgrade == "" && req.Method == http.MethodGet && r.uncached.Load():
		h.Set("Connection", "upgrade") // the server does not answer such a request from its cache
	}
	return req
}

// offer changes the header of a WebSocket handshake that offers subprotocols.
// It separates them by ", ", because Headlamp splits the header only there. For
// a stateless cluster, it adds the user ID as the last subprotocol.
func (r *Route) offer(h http.Header) {
	const header = "Sec-Websocket-Protocol"
	var names []string
	for _, line := range h.Values(header) {
		for name := range strings.SplitSeq(line, ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, name)
			}
		}
	}
	if r.Kubeconfig != nil {
		names = append(names, userIDProtocol+r.UserID)
	}
	if len(names) > 0 {
		h.Set(header, strings.Join(names, ", "))
	}
}

// maxRefusal is how much of the body of an answer is read to determine its
// Kind, in bytes.
const maxRefusal = 64 << 10

// check returns resp. Unless resp is a success, it replaces the body by a
// refusedBody with the same content.
func (t *transport) check(req *http.Request, resp *http.Response) *http.Response {
	success := resp.StatusCode == http.StatusSwitchingProtocols || resp.StatusCode/100 == 2
	if success && !isPage(resp) {
		t.route.connected.Store(true)
		return resp
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	refusal := (*Refusal)(nil)
	if err == nil {
		refusal = t.explain(req, resp, body)
	}
	rest := io.MultiReader(bytes.NewReader(body), failing{resp.Body, err})
	resp.Body = &refusedBody{rest, resp.Body, refusal}
	return resp
}

// failing is a reader whose Read returns err. If err is nil, it reads from
// Reader.
type failing struct {
	io.Reader
	err error
}

// Read implements io.Reader.
func (f failing) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	return f.Reader.Read(p)
}

// refusedBody is the body of an answer that is not a success.
type refusedBody struct {
	io.Reader
	io.Closer
	refusal *Refusal // nil if the answer may be one of an API server
}

// Refusal returns the *Refusal that explains the answer, or nil.
func (b *refusedBody) Refusal() error {
	if b.refusal == nil {
		return nil
	}
	return b.refusal
}

// explain returns the refusal for an answer that is not a success, or nil if
// the answer may be one of an API server.
func (t *transport) explain(req *http.Request, resp *http.Response, body []byte) *Refusal {
	r := t.route
	kind := kindOf(resp, body)
	upgrade := req.Header.Get("Upgrade")
	switch {
	case kind == APIServerDown && upgrade != "" && !strings.EqualFold(upgrade, "websocket"):
		return nil // Headlamp answers every SPDY handshake with 502
	case kind == 0 && r.Kubeconfig != nil && len(req.URL.RequestURI()) < shortURI && isTooLarge(resp, body):
		kind = TooLarge
	}
	if kind == 0 {
		return nil
	}
	refusal := r.refusal(kind, resp.StatusCode)
	switch {
	case r.Unverified, kind == NotHeadlamp, kind == UnknownCluster, kind == Unauthorized:
	default:
		return refusal // the server need not be asked
	}
	server, other := t.server(req.Context(), kind)
	switch {
	case server == nil && r.Unverified && (other == nil || other.Kind != kind || kind == NotHeadlamp || kind == WebPage):
		return nil
	case server != nil && kind == NotHeadlamp && other == nil:
		return nil // an API server answers an unknown path with the same text
	case server != nil:
		refusal.Known = nearest(r.Cluster, server.Names())
		if c := server.Cluster(r.Cluster); c != nil {
			refusal.oidc = c.AuthType == "oidc"
		}
	}
	return refusal
}

// server returns the answer to BASE/config that explains an answer of a kind;
// see ask.
func (t *transport) server(ctx context.Context, kind Kind) (*Server, *Refusal) {
	switch {
	case kind == Unauthorized && t.renewable:
		return t.route.Server, nil // a request would delay the renewal of the credentials
	case kind == NotHeadlamp:
		return t.ask(ctx, 0) // the server may have been removed since its last answer
	}
	return t.ask(ctx, askAgain)
}

// refusal returns a Refusal with the values of the route.
func (r *Route) refusal(kind Kind, code int) *Refusal {
	return &Refusal{
		Kind: kind, Base: r.Base, Cluster: r.Cluster, Code: code,
		unverified: r.Unverified, stateless: r.Kubeconfig != nil, gated: r.Gate != "", connected: r.connected.Load(),
	}
}

// If the URI of a request is shorter than shortURI, in bytes, it is not what
// makes the request too large.
const shortURI = 1 << 10

// isTooLarge reports whether the request was refused because it is too large.
func isTooLarge(resp *http.Response, body []byte) bool {
	switch resp.StatusCode {
	case http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusRequestHeaderFieldsTooLarge:
		return true
	}
	return resp.StatusCode == http.StatusBadRequest && bytes.Contains(body, []byte("Header Or Cookie Too Large")) // nginx
}

const (
	askTimeout = 5 * time.Second  // the time limit of a request for BASE/config
	askAgain   = 10 * time.Second // how long an answer is used, unless a new one is needed
)

// ask requests BASE/config, unless it was answered less than maxAge ago. It
// returns the last answer that was that of a Headlamp, or nil, and the refusal
// of the last request, or nil. If ctx ends while another request is waiting for
// the answer, it returns nil for both.
func (t *transport) ask(ctx context.Context, maxAge time.Duration) (*Server, *Refusal) {
	r := t.route
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	select {
	case r.asking <- struct{}{}:
		defer func() { <-r.asking }()
	case <-ctx.Done():
		return nil, nil
	}
	if !r.asked.IsZero() && time.Since(r.asked) < maxAge {
		return r.found, r.refused
	}
	client := &http.Client{Transport: &gateTransport{t.RoundTripper, r.Gate}}
	server, err := Probe(ctx, client, r.Base)
	r.found, r.refused = cmp.Or(server, r.found), nil
	if err == nil || errors.As(err, &r.refused) {
		r.asked = time.Now()
	}
	return r.found, r.refused
}

// redirectCode returns the HTTP status code of a redirect to another server
// that a transport below has refused.
func redirectCode(err error) (code int, ok bool) {
	var redirect interface{ RedirectCode() int }
	if !errors.As(err, &redirect) {
		return 0, false
	}
	return redirect.RedirectCode(), true
}
