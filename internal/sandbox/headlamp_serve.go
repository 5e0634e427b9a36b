package sandbox

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"

	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

const (
	gateHeader    = "X-Headlamp_backend-Token" // in canonical form
	gateProtocol  = "base64url.headlamp.backend.authorization.k8s.io."
	userHeader    = "X-Headlamp-User-Id"
	userProtocol  = "base64url.headlamp.authorization.k8s.io."
	cacheHeader   = "X-Headlamp-Cache"
	cookiePrefix  = "headlamp-auth-"
	headlampAgent = "Headlamp (sandbox)"
	headlampPage  = "<!doctype html>\n<html><head><title>Headlamp</title></head><body></body></html>\n"
	tooLongPage   = "<html><head><title>414 Request-URI Too Large</title></head><body></body></html>\n"
	keyNotFound   = "key not found"
	pageNotFound  = "404 page not found"
)

// serveTracked records a request and serves it. Kill waits until it returns.
func (run *headlampRun) serveTracked(w http.ResponseWriter, r *http.Request) {
	h := run.front
	h.mu.Lock()
	if h.run != run { // killed
		h.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	run.wg.Add(1)
	cfg := h.cfg
	h.requests = append(h.requests, HeadlampRequest{r.Method, r.RequestURI, r.Host, r.Proto, r.Header.Clone()})
	h.mu.Unlock()
	defer run.wg.Done()
	if serveProxyAnswer(cfg, w, r) {
		return
	}
	run.serve(cfg, w, r)
}

// serveProxyAnswer simulates a proxy in front of the server. It reports whether
// the proxy has answered the request.
func serveProxyAnswer(cfg *HeadlampConfig, w http.ResponseWriter, r *http.Request) bool {
	line := len(r.Method) + len(r.RequestURI) + len(r.Proto) + len("  \r\n")
	switch {
	case cfg.LineLimit > 0 && line > cfg.LineLimit:
		writePage(w, http.StatusRequestURITooLong, tooLongPage)
		return true
	case cfg.Redirect != "":
		code := cfg.RedirectCode
		if code == 0 {
			code = http.StatusFound
		}
		http.Redirect(w, r, cfg.Redirect, code)
		return true
	case cfg.RefuseWebSockets && wsstream.IsWebSocketRequest(r):
		w.WriteHeader(http.StatusForbidden)
		return true
	case cfg.DropUpgrade:
		r.Header.Del("Connection")
		r.Header.Del("Upgrade")
	}
	return false
}

func writePage(w http.ResponseWriter, code int, page string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, page) // the client may be gone
}

func (run *headlampRun) serve(cfg *HeadlampConfig, w http.ResponseWriter, r *http.Request) {
	if cfg.CheckHost && !run.knowsHost(r.Host) {
		http.Error(w, "invalid Host header", http.StatusForbidden)
		return
	}
	if clean := cleanPath(r.URL.Path); clean != r.URL.Path {
		u := *r.URL
		u.Path, u.RawPath = clean, ""
		w.Header().Set("Location", u.String())
		w.WriteHeader(http.StatusMovedPermanently)
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, cfg.BaseURL)
	if !ok {
		http.Error(w, pageNotFound, http.StatusNotFound)
		return
	}
	cluster, api, isAPI := strings.Cut(strings.TrimPrefix(rest, "/clusters/"), "/")
	isAPI = isAPI && cluster != "" && strings.HasPrefix(rest, "/clusters/")
	switch {
	case rest != "/config" && !isAPI && cfg.Page:
		writePage(w, http.StatusOK, headlampPage)
	case rest != "/config" && !isAPI:
		http.Error(w, pageNotFound, http.StatusNotFound)
	case !passGate(cfg.Gate, r):
		http.Error(w, "access denied", http.StatusForbidden)
	case isAPI:
		run.serveCluster(cfg, w, r, cluster, "/"+api)
	default:
		serveConfig(cfg, w)
	}
}

// cleanPath removes empty elements, . and .. from a path, as the router of the
// real server does.
func cleanPath(p string) string {
	clean := path.Clean(p)
	if strings.HasSuffix(p, "/") && clean != "/" {
		clean += "/"
	}
	return clean
}

// knowsHost reports whether a Host header names the server: localhost or a
// loopback address, with the port of the server or without a port.
func (run *headlampRun) knowsHost(host string) bool {
	_, own, _ := net.SplitHostPort(run.ln.Addr().String())
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.Trim(host, "[]"), own
	}
	return port == own && slices.Contains([]string{"localhost", "127.0.0.1", "::1"}, strings.ToLower(name))
}

// passGate reports whether a request contains the token of the desktop app, in
// the header or in a subprotocol. If so, it removes the token from the request.
func passGate(token string, r *http.Request) bool {
	if token == "" {
		return true
	}
	got := r.Header.Values(gateHeader)
	rest := []string{}
	for _, p := range offeredProtocols(r.Header) {
		encoded, ok := strings.CutPrefix(p, gateProtocol)
		if !ok {
			rest = append(rest, p)
			continue
		}
		data, err := base64.RawURLEncoding.DecodeString(encoded)
		if err != nil {
			return false
		}
		if !slices.Contains(got, string(data)) {
			got = append(got, string(data))
		}
	}
	if len(got) != 1 || subtle.ConstantTimeCompare([]byte(got[0]), []byte(token)) != 1 {
		return false
	}
	r.Header.Del(gateHeader)
	if len(rest) < len(offeredProtocols(r.Header)) {
		setProtocols(r.Header, rest)
	}
	return true
}

func setProtocols(h http.Header, names []string) {
	if len(names) == 0 {
		h.Del(wsstream.WebSocketProtocolHeader)
		return
	}
	h.Set(wsstream.WebSocketProtocolHeader, strings.Join(names, ", "))
}

// configAnswer is the answer to /config.
type configAnswer struct {
	Clusters                  []configCluster `json:"clusters"`
	IsDynamicClusterEnabled   bool            `json:"isDynamicClusterEnabled"`
	AllowKubeconfigChanges    bool            `json:"allowKubeconfigChanges"`
	DefaultPodDebugImage      string          `json:"defaultPodDebugImage"`
	DefaultNodeShellImage     string          `json:"defaultNodeShellImage"`
	DefaultNodeShellNamespace string          `json:"defaultNodeShellNamespace"`
}

type configCluster struct {
	Name     string         `json:"name"`
	Server   string         `json:"server,omitempty"`
	AuthType string         `json:"auth_type"`
	Metadata map[string]any `json:"meta_data"`
	Error    string         `json:"error,omitempty"`
}

// serveConfig serves /config. The order of the clusters is random.
func serveConfig(cfg *HeadlampConfig, w http.ResponseWriter) {
	answer := configAnswer{
		Clusters:                  []configCluster{},
		IsDynamicClusterEnabled:   cfg.DynamicClusters,
		DefaultPodDebugImage:      cfg.PodDebugImage,
		DefaultNodeShellImage:     cfg.NodeShellImage,
		DefaultNodeShellNamespace: cfg.NodeShellNamespace,
	}
	for _, c := range cfg.Clusters {
		cluster := configCluster{Name: c.Name, Error: c.Error}
		if c.Error == "" {
			cluster.Server, cluster.AuthType = c.Config.Host, c.AuthType
			if !c.NoMetadata {
				cluster.Metadata = map[string]any{
					"clusterID": "/kubeconfig+" + c.Name, "extensions": map[string]any{}, "namespace": c.Namespace,
					"origin": map[string]any{"kubeconfig": "/kubeconfig"}, "originalName": c.Name, "source": "kubeconfig",
				}
			}
		}
		answer.Clusters = append(answer.Clusters, cluster)
	}
	rand.Shuffle(len(answer.Clusters), func(i, j int) { //nolint:gosec // only an order
		answer.Clusters[i], answer.Clusters[j] = answer.Clusters[j], answer.Clusters[i]
	})
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer) // the client may be gone
}

// serveCluster serves a request for the API of a cluster.
func (run *headlampRun) serveCluster(cfg *HeadlampConfig, w http.ResponseWriter, r *http.Request, name, api string) {
	cluster, key, err := run.resolve(cfg, r, name)
	switch {
	case errors.Is(err, errUnknownKey):
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	case err == nil && cluster.Error != "":
		err = errors.New(cluster.Error)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	moveBearer(r.Header)
	if token := cookieToken(r, name); token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	forward := func(w http.ResponseWriter) { run.forward(w, r, cluster, api) }
	bypass := strings.Contains(strings.ToLower(r.Header.Get("Connection")), "upgrade")
	if cfg.CacheAll {
		bypass = wsstream.IsWebSocketRequest(r)
	}
	if cfg.Cache && !bypass {
		run.cache.serve(w, r, key, api, forward)
		return
	}
	forward(w)
}

// moveBearer moves a bearer token from the subprotocols to the header
// Authorization, if that is empty, and joins the other subprotocols with ", ".
func moveBearer(h http.Header) {
	if h.Get(wsstream.WebSocketProtocolHeader) == "" {
		return
	}
	var rest []string
	for _, p := range offeredProtocols(h) {
		encoded, ok := strings.CutPrefix(p, bearerProtocolPrefix)
		if !ok {
			rest = append(rest, p)
			continue
		}
		data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(encoded, "="))
		if err == nil && len(data) > 0 && h.Get("Authorization") == "" {
			h.Set("Authorization", "Bearer "+string(data))
		}
	}
	setProtocols(h, rest)
}

// cookieToken returns the token of a cluster from the cookies of a request, or
// "". A long token is split over several cookies, which are numbered from 0.
func cookieToken(r *http.Request, cluster string) string {
	var token strings.Builder
	for i := 0; ; i++ {
		cookie, err := r.Cookie(cookiePrefix + cluster + "." + strconv.Itoa(i))
		if err != nil {
			return token.String()
		}
		token.WriteString(cookie.Value)
	}
}

// forward passes a request on to the API server. If the API server cannot be
// reached, the answer is 502, without a body.
func (run *headlampRun) forward(w http.ResponseWriter, r *http.Request, c HeadlampCluster, api string) {
	target, err := url.Parse(c.Config.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	transport, err := run.transports.get(c.Config)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if c.Down {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0),
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Path, p.Out.URL.RawPath = api, ""
			p.SetURL(target)
			p.SetXForwarded()
			p.Out.Header.Set("X-Forwarded-Host", target.Host)
			p.Out.Header.Set("User-Agent", headlampAgent)
			if wsstream.IsWebSocketRequest(p.In) {
				p.Out.Header.Del("User-Agent")
			}
		},
	}
	proxy.ServeHTTP(w, r)
}

// headlampTransports contains a transport for each API server.
type headlampTransports struct {
	mu    sync.Mutex
	known map[*rest.Config]http.RoundTripper
	inner []*http.Transport
}

func (ts *headlampTransports) get(cfg *rest.Config) (http.RoundTripper, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if t, ok := ts.known[cfg]; ok {
		return t, nil
	}
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		return nil, err
	}
	// Like the real server, prefer HTTP/2. SPDY upgrades fail with it.
	inner := &http.Transport{TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true}
	t, err := rest.HTTPWrappersForConfig(cfg, inner)
	if err != nil {
		return nil, err
	}
	if ts.known == nil {
		ts.known = map[*rest.Config]http.RoundTripper{}
	}
	ts.known[cfg] = t
	ts.inner = append(ts.inner, inner)
	return t, nil
}

// close closes the idle connections of all transports.
func (ts *headlampTransports) close() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.inner {
		t.CloseIdleConnections()
	}
}
