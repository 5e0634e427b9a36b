package headlamp

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"
)

// front is a server that records the requests and answers them by a function.
type front struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
}

// newFront starts a server. It answers /base/config with config, or with 404 if
// config is "", and other requests by answer.
func newFront(t *testing.T, config string, answer http.HandlerFunc) *front {
	t.Helper()
	f := &front{}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.requests = append(f.requests, r.Clone(context.WithoutCancel(r.Context())))
		f.mu.Unlock()
		switch {
		case r.URL.Path != "/base/config":
			answer(w, r)
		case config == "":
			http.NotFound(w, r)
		default:
			w.Header().Set("Content-Type", jsonType)
			_, _ = io.WriteString(w, config)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

// paths returns the paths of the requests.
func (f *front) paths() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var paths []string
	for _, r := range f.requests {
		paths = append(paths, r.URL.EscapedPath())
	}
	return paths
}

// last returns the last request.
func (f *front) last(t *testing.T) *http.Request {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.requests) == 0 {
		t.Fatal("the server got no request")
	}
	return f.requests[len(f.requests)-1]
}

// send sends a request through route and returns the answer, and the Refusal
// that explains it or nil. change, if not nil, changes the request.
func (f *front) send(
	t *testing.T, route *Route, cfg *rest.Config, change func(*http.Request),
) (*http.Response, *Refusal) {
	t.Helper()
	return f.sendChanged(t, route, cfg, change, func(*rest.Config) {})
}

// sendChanged is like send. changeConfig changes the configuration that
// route.Apply returns.
func (f *front) sendChanged(
	t *testing.T, route *Route, cfg *rest.Config, change func(*http.Request), changeConfig func(*rest.Config),
) (*http.Response, *Refusal) {
	t.Helper()
	if route.Base == "" {
		route.Base = f.URL + "/base"
	}
	cfg = route.Apply(cfg)
	changeConfig(cfg)
	rt, err := rest.TransportFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, cfg.Host+"/api/v1/pods", nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	before := req.Header.Clone()
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if !slices.Equal(req.Header["Sec-Websocket-Protocol"], before["Sec-Websocket-Protocol"]) {
		t.Error("the request of the caller was changed")
	}
	refused, ok := resp.Body.(interface{ Refusal() error })
	if !ok {
		return resp, nil
	}
	var refusal *Refusal
	errors.As(refused.Refusal(), &refusal)
	return resp, refusal
}

func ok(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", jsonType) }

func webSocket(protocols ...string) func(*http.Request) {
	return func(r *http.Request) {
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Connection", "Upgrade")
		if len(protocols) > 0 {
			r.Header.Set("Sec-Websocket-Protocol", strings.Join(protocols, ","))
		}
	}
}

func TestRoute_Headers(t *testing.T) {
	f := newFront(t, "", ok)
	route := &Route{Cluster: "a b", Gate: "gate"}
	f.send(t, route, &rest.Config{BearerToken: "token"}, func(r *http.Request) {
		r.Header.Set("Cookie", "headlamp-auth-a=x")
	})
	got := f.last(t)
	if got.URL.EscapedPath() != "/base/clusters/a%20b/api/v1/pods" {
		t.Errorf("path %s", got.URL.EscapedPath())
	}
	for name, want := range map[string]string{
		"Authorization": "Bearer token", "X-HEADLAMP_BACKEND-TOKEN": "gate", "Cookie": "", "Kubeconfig": "",
		"X-Headlamp-User-Id": "", "Connection": "",
	} {
		if value := strings.Join(got.Header.Values(name), "|"); value != want {
			t.Errorf("%s: %q, want %q", name, value, want)
		}
	}
	if got.ProtoMajor != 1 {
		t.Errorf("the protocol is %s", got.Proto)
	}
}

func TestRoute_OnlyBearerTokens(t *testing.T) {
	f := newFront(t, "", ok)
	password := &rest.Config{Username: "u", Password: "p"}
	f.send(t, &Route{Cluster: "a"}, password, nil)
	if got := f.last(t).Header.Get("Authorization"); got != "" {
		t.Errorf("sent %q", got)
	}
	f.send(t, &Route{Cluster: "a", Unverified: true}, password, nil)
	if got := f.last(t).Header.Get("Authorization"); !strings.HasPrefix(got, "Basic ") {
		t.Errorf("unverified: sent %q", got)
	}
}

func TestRoute_Stateless(t *testing.T) {
	f := newFront(t, "", ok)
	route := &Route{Cluster: "kshell-1", Kubeconfig: []byte("content?>"), UserID: "id-1"}
	for name, test := range map[string]struct {
		change  func(*http.Request)
		offered string
	}{
		"GET":     {nil, ""},
		"exec":    {webSocket("v5.channel.k8s.io"), "v5.channel.k8s.io, " + userIDProtocol + "id-1"},
		"watch":   {webSocket(), userIDProtocol + "id-1"},
		"spaces":  {webSocket("a", " b "), "a, b, " + userIDProtocol + "id-1"},
		"in SPDY": {func(r *http.Request) { r.Header.Set("Upgrade", "SPDY/3.1") }, ""},
	} {
		f.send(t, route, &rest.Config{}, test.change)
		h := f.last(t).Header
		decoded, err := base64.StdEncoding.DecodeString(h.Get("KUBECONFIG"))
		if err != nil || string(decoded) != "content?>" || h.Get("X-HEADLAMP-USER-ID") != "id-1" {
			t.Errorf("%s: %v", name, h)
		}
		if got := strings.Join(h.Values("Sec-WebSocket-Protocol"), "|"); got != test.offered {
			t.Errorf("%s: offered %q, want %q", name, got, test.offered)
		}
	}
}

func TestRoute_SubprotocolsAreJoinedByCommaAndSpace(t *testing.T) {
	f := newFront(t, "", ok)
	f.send(t, &Route{Cluster: "a"}, &rest.Config{}, webSocket("v5.channel.k8s.io", "v4.channel.k8s.io"))
	if got, want := f.last(t).Header.Get("Sec-WebSocket-Protocol"), "v5.channel.k8s.io, v4.channel.k8s.io"; got != want {
		t.Errorf("offered %q, want %q", got, want)
	}
	f.send(t, &Route{Cluster: "a"}, &rest.Config{}, webSocket())
	if got := f.last(t).Header.Values("Sec-WebSocket-Protocol"); len(got) != 0 {
		t.Errorf("offered %q, want none", got)
	}
}

func TestRoute_UserIDProtocolIsNotSelected(t *testing.T) {
	f := newFront(t, "", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Sec-WebSocket-Protocol", userIDProtocol+"id-1")
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusSwitchingProtocols)
	})
	resp, _ := f.send(t, &Route{Cluster: "a", Kubeconfig: []byte("x"), UserID: "id-1"}, &rest.Config{}, webSocket())
	if got := resp.Header.Get("Sec-WebSocket-Protocol"); resp.StatusCode != http.StatusSwitchingProtocols || got != "" {
		t.Errorf("%d, selected %q", resp.StatusCode, got)
	}
}

// cachingServer answers from its cache unless the request has the header
// Connection: upgrade.
func cachingServer(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", jsonType)
	body := "fresh"
	if r.Header.Get("Connection") != "upgrade" {
		w.Header().Set("X-HEADLAMP-CACHE", "true")
		body = "cached"
	}
	_, _ = io.WriteString(w, body)
}

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestRoute_CacheIsBypassed(t *testing.T) {
	f := newFront(t, "", cachingServer)
	route := &Route{Cluster: "a"}
	for i, want := range []int{2, 3, 4} { // the number of requests
		resp, _ := f.send(t, route, &rest.Config{}, nil)
		if got := readAll(t, resp.Body); got != "fresh" || len(f.paths()) != want {
			t.Errorf("answer %d: %q after %d requests, want %d", i+1, got, len(f.paths()), want)
		}
	}
	f.send(t, route, &rest.Config{}, func(r *http.Request) { r.Method = http.MethodDelete })
	if got := f.last(t).Header.Get("Connection"); got != "" {
		t.Errorf("DELETE was sent with Connection: %q", got)
	}
}

func TestRoute_CacheIsBypassedConcurrently(t *testing.T) {
	f := newFront(t, "", cachingServer)
	route := &Route{Base: f.URL + "/base", Cluster: "a"}
	t.Run("group", func(t *testing.T) {
		for range 8 {
			t.Run("request", func(t *testing.T) {
				t.Parallel()
				resp, _ := f.send(t, route, &rest.Config{}, nil)
				if got := readAll(t, resp.Body); got != "fresh" {
					t.Errorf("got the %s answer", got)
				}
			})
		}
	})
}

// An HTTP/2 connection does not allow the header with which the cache is
// bypassed.
func TestRoute_NoHTTP2(t *testing.T) {
	var proto string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proto = r.Proto
		cachingServer(w, r)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	route := &Route{Base: server.URL, Cluster: "a"}
	cfg := route.Apply(&rest.Config{TLSClientConfig: rest.TLSClientConfig{Insecure: true}})
	client, err := rest.HTTPClientFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get(cfg.Host + "/version")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got := readAll(t, resp.Body); got != "fresh" || proto != "HTTP/1.1" {
		t.Errorf("got the %s answer by %s", got, proto)
	}
}

// refusing is an answer of a server, and the Refusal that explains it.
type refusing struct {
	name        string
	code        int
	contentType string
	body        string
	change      func(*http.Request)
	kind        Kind // 0: not explained
	permanent   bool
	text, hint  string // parts of the message; BASE is the URL of the server
}

const textType = "text/plain; charset=utf-8"

var refusals = []refusing{
	{
		"unknown cluster", 404, textType, "key not found\n", nil, UnknownCluster, true,
		`Headlamp at BASE knows no cluster "prod"`, "--headlamp-cluster with one of: prud, dev",
	},
	{
		"API server down", 502, "", "", nil, APIServerDown, false,
		`Headlamp cannot reach the API server of cluster "prod"`, "kshell clusters",
	},
	{
		"API server down, handshake", 502, "", "", webSocket("v5.channel.k8s.io"), APIServerDown, false,
		`Headlamp cannot reach the API server of cluster "prod"`, "kshell clusters",
	},
	{"SPDY", 502, "", "", func(r *http.Request) { r.Header.Set("Upgrade", "SPDY/3.1") }, 0, false, "", ""},
	{
		"desktop app", 403, textType, "access denied\n", nil, DesktopOnly, true,
		"this Headlamp takes requests from its desktop app only", "KSHELL_HEADLAMP_TOKEN",
	},
	{
		"Host header", 403, textType, "invalid Host header\n", nil, WrongHost, true,
		"Headlamp on loopback answers only under its own port", "ssh -L PORT:127.0.0.1:PORT",
	},
	{
		"anonymous", 403, jsonType, status(403, `User "system:anonymous" cannot list resource "pods"`), nil,
		Anonymous, true, `no credentials reached cluster "prod"`, "--token",
	},
	{"no right", 403, jsonType, status(403, `User "dev" cannot list resource "pods"`), nil, 0, false, "", ""},
	{
		"credentials", 401, jsonType, status(401, "Unauthorized"), nil, Unauthorized, true,
		"the cluster does not know these credentials", "log in again",
	},
	{"401 of a proxy", 401, "text/html", "<html>", nil, 0, false, "", ""},
	{
		"web page", 200, "text/html; charset=utf-8", "<!doctype html>", nil, WebPage, true,
		"a web page answered at BASE, not Headlamp's API", "login proxy",
	},
	{
		"redirect", 302, "", "", nil, WebPage, true, "a web page answered at BASE, not Headlamp's API", "login proxy",
	},
	{"permanent redirect", 308, "", "", nil, WebPage, true, "a web page answered at BASE", "login proxy"},
	{
		"HTTPS server", 400, "", "Client sent an HTTP request to an HTTPS server.\n", nil, NeedsTLS, true,
		"the server at BASE expects HTTPS", "https://",
	},
	{
		"no upgrade", 400, jsonType, status(400, "Upgrade request required"), webSocket("v5.channel.k8s.io"), NoUpgrade, true,
		"a proxy in front of Headlamp at BASE passes no WebSockets", "proxy_set_header Upgrade $http_upgrade;",
	},
	{"no subprotocol", 403, "", "", webSocket("v2.channel.k8s.io"), 0, false, "", ""},
	{"no such pod", 404, jsonType, status(404, `pods "x" not found`), nil, 0, false, "", ""},
	{"too long", 414, "text/html", "<html>", nil, 0, false, "", ""},
	{"page of a gateway", 502, "text/html", "<html>", nil, 0, false, "", ""},
	{"unknown path of the API server", 404, textType, "404 page not found\n", nil, 0, false, "", ""},
}

func status(code int, message string) string {
	reason := map[int]string{400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound"}[code]
	return `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":` + quoted(message) +
		`,"reason":"` + reason + `"}`
}

func quoted(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }

func (r *refusing) answer(w http.ResponseWriter, _ *http.Request) {
	if r.code/100 == 3 {
		w.Header().Set("Location", "/login")
	}
	w.Header()["Content-Type"] = nil
	if r.contentType != "" {
		w.Header().Set("Content-Type", r.contentType)
	}
	w.WriteHeader(r.code)
	_, _ = io.WriteString(w, r.body)
}

const twoClusters = `{"clusters":[{"name":"dev"},{"name":"prud"}],"isDynamicClusterEnabled":false}`

func TestRoute_Refusals(t *testing.T) {
	for _, test := range refusals {
		t.Run(test.name, func(t *testing.T) {
			f := newFront(t, twoClusters, test.answer)
			resp, refusal := f.send(t, &Route{Cluster: "prod"}, &rest.Config{}, test.change)
			if got := readAll(t, resp.Body); resp.StatusCode != test.code || got != test.body {
				t.Errorf("the answer has become %d %q", resp.StatusCode, got)
			}
			checkRefusal(t, refusal, test, f.URL+"/base")
		})
	}
}

func checkRefusal(t *testing.T, got *Refusal, want refusing, base string) {
	t.Helper()
	if got == nil || want.kind == 0 {
		if got != nil || want.kind != 0 {
			t.Fatalf("got %v, want kind %d", got, want.kind)
		}
		return
	}
	text := strings.ReplaceAll(want.text, "BASE", base)
	if got.Kind != want.kind || got.Permanent() != want.permanent || got.HTTPStatus() != want.code ||
		!strings.Contains(got.Error(), text) || !strings.Contains(got.Hint(), want.hint) || got.Usage() {
		t.Errorf("got kind %d, permanent %v: %v\n%s\nwant kind %d, permanent %v: %s\n%s",
			got.Kind, got.Permanent(), got, got.Hint(), want.kind, want.permanent, text, want.hint)
	}
}

// No answer is explained if only the path suggests a Headlamp, and the answer
// to BASE/config is not that of a Headlamp.
func TestRoute_UnverifiedIsNotHeadlamp(t *testing.T) {
	for _, test := range refusals {
		f := newFront(t, "", test.answer)
		resp, refusal := f.send(t, &Route{Cluster: "prod", Unverified: true}, &rest.Config{}, test.change)
		if got := readAll(t, resp.Body); refusal != nil || got != test.body {
			t.Errorf("%s: got %v and the body %q", test.name, refusal, got)
		}
	}
}

func TestRoute_UnverifiedIsHeadlamp(t *testing.T) {
	for _, test := range refusals {
		f := newFront(t, twoClusters, test.answer)
		_, refusal := f.send(t, &Route{Cluster: "prod", Unverified: true}, &rest.Config{}, test.change)
		if test.kind == UnknownCluster {
			test.hint = "its clusters: prud, dev"
		}
		checkRefusal(t, refusal, test, f.URL+"/base")
	}
}

func TestRoute_UnverifiedGate(t *testing.T) {
	denied := &refusing{code: 403, contentType: textType, body: "access denied\n"}
	server := httptest.NewServer(http.HandlerFunc(denied.answer))
	defer server.Close()
	f := &front{Server: server}
	_, refusal := f.send(t, &Route{Cluster: "a", Unverified: true}, &rest.Config{}, nil)
	if refusal == nil || refusal.Kind != DesktopOnly {
		t.Errorf("got %v, want DesktopOnly", refusal)
	}
}

func TestRoute_NothingAtBase(t *testing.T) {
	f := newFront(t, "", http.NotFound)
	_, refusal := f.send(t, &Route{Cluster: "a"}, &rest.Config{}, nil)
	want := refusing{kind: NotHeadlamp, code: 404, permanent: true, text: "there is no Headlamp at BASE", hint: "base URL"}
	checkRefusal(t, refusal, want, f.URL+"/base")
}

func TestRoute_OpenIDConnect(t *testing.T) {
	unauthorized := &refusing{code: 401, contentType: jsonType, body: status(401, "Unauthorized")}
	f := newFront(t, `{"clusters":[{"name":"a","auth_type":"oidc"}]}`, unauthorized.answer)
	_, refusal := f.send(t, &Route{Cluster: "a"}, &rest.Config{}, nil)
	want := refusing{
		kind: Unauthorized, code: 401, permanent: true, text: "the cluster does not know these credentials",
		hint: "kshell cannot use the login of the browser",
	}
	checkRefusal(t, refusal, want, "")
}

// Credentials that can be renewed are renewed only after the transport has
// returned the answer 401. Therefore the server is not asked for its clusters.
func TestRoute_RenewalIsNotDelayed(t *testing.T) {
	unauthorized := &refusing{code: 401, contentType: jsonType, body: status(401, "Unauthorized")}
	f := newFront(t, `{"clusters":[{"name":"a"}]}`, unauthorized.answer)
	known := &Server{Clusters: []Cluster{{Name: "a", AuthType: "oidc"}}}
	for name, cfg := range map[string]*rest.Config{
		"token file":    {BearerTokenFile: "/token"},
		"plugin":        {ExecProvider: &api.ExecConfig{Command: "plugin"}},
		"auth provider": {AuthProvider: &api.AuthProviderConfig{Name: "oidc"}},
	} {
		for _, test := range []struct {
			route     *Route
			explained bool
			hint      string
		}{
			{&Route{Cluster: "a"}, true, "log in again, or select"},
			{&Route{Cluster: "a", Server: known}, true, "kshell cannot use the login of the browser"},
			{&Route{Cluster: "a", Unverified: true}, false, ""},
		} {
			change := func(cfg *rest.Config) { // the file and the plugins do not exist
				cfg.BearerTokenFile, cfg.ExecProvider, cfg.AuthProvider = "", nil, nil
			}
			_, refusal := f.sendChanged(t, test.route, cfg, nil, change)
			if (refusal != nil) != test.explained || refusal != nil && !strings.Contains(refusal.Hint(), test.hint) {
				t.Errorf("%s, %+v: got %v", name, test.route, refusal)
			}
		}
	}
	if slices.Contains(f.paths(), "/base/config") {
		t.Error("the server was asked for its clusters")
	}
}

// A proxy in front of the server answers all requests with the text of an
// unknown path, after the server has answered.
func TestRoute_ServerIsGone(t *testing.T) {
	var gone atomic.Bool
	unknown := &refusing{code: 404, contentType: textType, body: "404 page not found\n"}
	lost := &refusing{code: 404, contentType: textType, body: "key not found\n"}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case gone.Load():
			unknown.answer(w, r)
		case r.URL.Path == "/base/config":
			w.Header().Set("Content-Type", jsonType)
			_, _ = io.WriteString(w, twoClusters)
		default:
			lost.answer(w, r)
		}
	}))
	defer server.Close()
	f := &front{Server: server}
	want := refusing{kind: NotHeadlamp, code: 404, permanent: true, text: "there is no Headlamp at BASE", hint: "base URL"}
	for _, route := range []*Route{
		{Cluster: "dev", Server: &Server{Clusters: []Cluster{{Name: "dev"}}}},
		{Cluster: "dev"},
		{Cluster: "dev", Unverified: true},
	} {
		gone.Store(false)
		if route.Server == nil { // the route asks the server
			if _, refusal := f.send(t, route, &rest.Config{}, nil); refusal == nil || refusal.Kind != UnknownCluster {
				t.Fatalf("got %v", refusal)
			}
		}
		gone.Store(true)
		_, refusal := f.send(t, route, &rest.Config{}, nil)
		checkRefusal(t, refusal, want, server.URL+"/base")
	}
}

// An unknown cluster is not permanent after the server has served it. The list
// of clusters in the hint is not older than ten seconds.
func TestRoute_ClusterIsLost(t *testing.T) {
	lost := false
	f := newFront(t, twoClusters, func(w http.ResponseWriter, r *http.Request) {
		if lost {
			http.Error(w, "key not found", http.StatusNotFound)
			return
		}
		ok(w, r)
	})
	old := &Server{Clusters: []Cluster{{Name: "prod"}}}
	route := &Route{Cluster: "prod", Server: old}
	if _, refusal := f.send(t, route, &rest.Config{}, nil); refusal != nil {
		t.Fatal(refusal)
	}
	lost = true
	want := refusing{kind: UnknownCluster, code: 404, text: `knows no cluster "prod"`, hint: "one of: prud, dev"}
	for range 3 {
		_, refusal := f.send(t, route, &rest.Config{}, nil)
		checkRefusal(t, refusal, want, "")
	}
	asked := slices.DeleteFunc(f.paths(), func(path string) bool { return path != "/base/config" })
	if len(asked) != 1 {
		t.Errorf("the server was asked %d times for its clusters", len(asked))
	}
}

func TestRoute_StatelessRefusals(t *testing.T) {
	stateless := func() *Route { return &Route{Cluster: "kshell-1", Kubeconfig: []byte("x"), UserID: "id-1"} }
	unknown := &refusing{code: 404, contentType: textType, body: "key not found\n"}
	f := newFront(t, twoClusters, unknown.answer)
	_, refusal := f.send(t, stateless(), &rest.Config{}, nil)
	want := refusing{
		kind: UnknownCluster, code: 404, permanent: true, text: `knows no cluster "kshell-1"`,
		hint: "it has forgotten the uploaded context: type the command again, which uploads it again; if the server " +
			"no longer accepts uploads, type --headlamp-stateless=never --headlamp-cluster with one of: dev, prud",
	}
	checkRefusal(t, refusal, want, "")
	f = newFront(t, `{"clusters":[]}`, unknown.answer)
	if _, refusal = f.send(t, stateless(), &rest.Config{}, nil); !strings.HasSuffix(refusal.Hint(), "uploads it again") {
		t.Errorf("without clusters: %s", refusal.Hint())
	}

	for _, large := range []*refusing{
		{code: 413},
		{code: 414, contentType: "text/html", body: "<html>"},
		{code: 431},
		{code: 400, contentType: "text/html", body: "<title>400 Request Header Or Cookie Too Large</title>"},
	} {
		f := newFront(t, twoClusters, large.answer)
		_, refusal := f.send(t, stateless(), &rest.Config{}, nil)
		want := refusing{
			kind: TooLarge, code: large.code, permanent: true, text: "too large for a proxy", hint: "--headlamp-cluster",
		}
		checkRefusal(t, refusal, want, "")
		_, refusal = f.send(t, stateless(), &rest.Config{}, func(r *http.Request) {
			r.URL.RawQuery = "command=" + strings.Repeat("x", 3000)
		})
		if refusal != nil {
			t.Errorf("%d for a long command: got %v, want no explanation", large.code, refusal)
		}
	}
}

// redirected is an error as internal/kubeconfig returns it for a redirect to
// another server.
type redirected struct{ error }

func (redirected) RedirectCode() int { return 307 }

func TestRoute_RefusedRedirect(t *testing.T) {
	for _, unverified := range []bool{false, true} {
		route := &Route{Base: "https://h", Cluster: "a", Unverified: unverified}
		cfg := &rest.Config{}
		cfg.Wrap(func(http.RoundTripper) http.RoundTripper { return failingTransport{redirected{errors.New("x")}} })
		rt, err := rest.TransportFor(route.Apply(cfg))
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://h/clusters/a/api", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = rt.RoundTrip(req)
		var refusal *Refusal
		if errors.As(err, &refusal) == unverified {
			t.Errorf("unverified %v: got %v", unverified, err)
		}
	}
}

type failingTransport struct{ err error }

func (t failingTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, t.err }

// A canceled request does not wait for another request for BASE/config.
func TestRoute_AskEndsOnCancel(t *testing.T) {
	down := &refusing{code: 404, contentType: textType, body: "key not found\n"}
	asked := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/config" {
			asked <- struct{}{}
			<-r.Context().Done()
			return
		}
		down.answer(w, r)
	}))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	f := &front{Server: server}
	go func() {
		<-asked
		cancel()
	}()
	_, refusal := f.send(t, &Route{Base: server.URL, Cluster: "a"}, &rest.Config{}, func(r *http.Request) {
		*r = *r.WithContext(ctx)
	})
	if refusal == nil || refusal.Kind != UnknownCluster || refusal.Hint() != "" {
		t.Errorf("got %v", refusal)
	}
}

func TestRefusal_ChoiceOfCluster(t *testing.T) {
	server := &Server{Base: "https://h", Clusters: []Cluster{{Name: "a"}, {Name: "b"}}}
	_, several := server.Choose("", "")
	none := server.CheckStateless()
	for _, test := range []struct {
		err        error
		text, hint string
	}{
		{several, "which of the 2 clusters of https://h is meant?", "type --headlamp-cluster with one of: a, b"},
		{none, "this Headlamp takes no clusters of its users", "type --headlamp-cluster with one of: a, b"},
	} {
		var refusal *Refusal
		if !errors.As(test.err, &refusal) || !refusal.Usage() || !refusal.Permanent() ||
			refusal.Error() != test.text || refusal.Hint() != test.hint {
			t.Errorf("got %v, %v", test.err, refusal)
		}
	}
	server.Stateless = true
	if err := server.CheckStateless(); err != nil {
		t.Error(err)
	}
}

func TestRefusal_HintListsTenNames(t *testing.T) {
	r := &Refusal{Kind: SeveralClusters, Known: strings.Split("a b c d e f g h i j k l", " ")}
	if got := r.Hint(); !strings.HasSuffix(got, "i, j (and 2 more)") {
		t.Errorf("got %s", got)
	}
}
