package headlamp

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
)

// serve starts a server that answers every request in the same way.
func serve(t *testing.T, code int, contentType, body string) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if code/100 == 3 {
			w.Header().Set("Location", "https://login.example/?secret")
		}
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return server
}

const jsonType = "application/json"

func TestProbe(t *testing.T) {
	server := serve(t, 200, jsonType+"; charset=utf-8", `{"clusters":[
		{"name":"zeta","server":"https://z:6443","auth_type":"oidc","meta_data":{"namespace":"dev","source":"kubeconfig"}},
		{"name":"broken","error":"no such file"},
		{"name":"alpha","auth_type":"","meta_data":null},
		{"name":""},
		{"name":"odd","meta_data":{"namespace":7}}],
		"isDynamicClusterEnabled":true,"defaultNodeShellImage":"img","defaultNodeShellNamespace":"ns",
		"defaultPodDebugImage":"debug","somethingNew":{}}`)
	got, err := Probe(t.Context(), server.Client(), server.URL)
	if err != nil {
		t.Fatal(err)
	}
	want := &Server{
		Base: server.URL, Stateless: true, NodeShellImage: "img", NodeShellNamespace: "ns", PodDebugImage: "debug",
		Clusters: []Cluster{
			{Name: "alpha"},
			{Name: "broken", Error: "no such file"},
			{Name: "odd"},
			{Name: "zeta", Server: "https://z:6443", AuthType: "oidc", Namespace: "dev"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestProbe_NoClusters(t *testing.T) {
	server := serve(t, 200, jsonType, `{"clusters":null,"isDynamicClusterEnabled":false}`)
	got, err := Probe(t.Context(), server.Client(), server.URL)
	if err != nil || len(got.Clusters) != 0 || got.Stateless {
		t.Fatalf("got %+v, %v", got, err)
	}
}

func TestProbe_OtherAnswers(t *testing.T) {
	tests := []struct {
		name, contentType, body string
		code                    int
		want                    Kind
	}{
		{"page", "text/html; charset=utf-8", "<!doctype html>", 200, WebPage},
		{"redirect", "", "", 302, WebPage},
		{"page not found", "text/plain", "404 page not found\n", 404, NotHeadlamp},
		{"page for 404", "text/html", "<html>", 404, NotHeadlamp},
		{"desktop app", "text/plain", "access denied\n", 403, DesktopOnly},
		{"Host header", "text/plain", "invalid Host header\n", 403, WrongHost},
		{"HTTPS server", "", "Client sent an HTTP request to an HTTPS server.\n", 400, NeedsTLS},
		{"nginx with HTTPS", "text/html", "<title>400 The plain HTTP request was sent to HTTPS port</title>", 400, NeedsTLS},
		{"Status", jsonType, `{"kind":"Status","message":"x"}`, 200, NotHeadlamp},
		{
			"API server without anonymous requests", jsonType, `{"kind":"Status","message":"Unauthorized"}`, 401, NotHeadlamp,
		},
		{
			"API server", jsonType,
			`{"kind":"Status","message":"forbidden: User \"system:anonymous\" cannot get path"}`, 403, NotHeadlamp,
		},
		{"list", jsonType, `[]`, 200, NotHeadlamp},
		{"null", jsonType, `null`, 200, NotHeadlamp},
		{"text", "text/plain", `{"clusters":[]}`, 200, NotHeadlamp},
		{"empty", jsonType, "", 200, NotHeadlamp},
		{"login page for 401", "text/html", "<html>", 401, WebPage},
		{"login page for 403", "text/html", "<html>", 403, WebPage},
		{"text for 403", "text/plain", "no", 403, NotHeadlamp},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := serve(t, test.code, test.contentType, test.body)
			_, err := Probe(t.Context(), server.Client(), server.URL)
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Kind != test.want || refusal.Base != server.URL {
				t.Fatalf("got %v (%+v), want kind %d", err, refusal, test.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error contains the query of the redirect: %v", err)
			}
		})
	}
}

func TestProbe_ConnectionErrors(t *testing.T) {
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", jsonType)
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte(`{"clusters":[{"name":"a"`))
	}))
	defer cut.Close()
	huge := serve(t, 200, jsonType, `{"clusters":[],"x":"`+strings.Repeat("x", maxConfig)+`"}`)
	broken, down := serve(t, 500, "text/plain", "x"), serve(t, 502, "", "")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for name, probe := range map[string]func() (*Server, error){
		"cut off":   func() (*Server, error) { return Probe(t.Context(), cut.Client(), cut.URL) },
		"500":       func() (*Server, error) { return Probe(t.Context(), broken.Client(), broken.URL) },
		"502":       func() (*Server, error) { return Probe(t.Context(), down.Client(), down.URL) },
		"too large": func() (*Server, error) { return Probe(t.Context(), huge.Client(), huge.URL) },
		"canceled":  func() (*Server, error) { return Probe(canceled, cut.Client(), cut.URL) },
	} {
		var refusal *Refusal
		if server, err := probe(); err == nil || errors.As(err, &refusal) {
			t.Errorf("%s: got %+v, %v, want an error that is not a Refusal", name, server, err)
		}
	}
}

func TestNewClient_SendsNoCredentials(t *testing.T) {
	var seen http.Header
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen = r.Header }))
	defer server.Close()
	for _, cfg := range []*rest.Config{
		{BearerToken: "secret"},
		{BearerTokenFile: "/nonexistent", Impersonate: rest.ImpersonationConfig{UserName: "secret"}},
		{Username: "secret", Password: "secret"},
	} {
		client, err := NewClient(cfg, "gate")
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		sent := strings.Join(slices.Concat(slices.Collect(maps.Values(seen))...), " ")
		if seen.Get("X-HEADLAMP_BACKEND-TOKEN") != "gate" || strings.Contains(sent, "secret") {
			t.Errorf("sent %v", seen)
		}
	}
}

func TestServer_Choose(t *testing.T) {
	server := func(names ...string) *Server {
		s := &Server{Base: "https://h"}
		for _, name := range names {
			s.Clusters = append(s.Clusters, Cluster{Name: name})
		}
		return s
	}
	tests := []struct {
		label         string
		server        *Server
		name, context string
		want          string
		kind          Kind
		known         []string
	}{
		{label: "named", server: server("a", "b"), name: "b", context: "a", want: "b"},
		{label: "only one", server: server("a"), context: "x", want: "a"},
		{label: "context", server: server("a", "my--ctx__1"), context: "my/ctx 1", want: "my--ctx__1"},
		{label: "unknown", server: server("dev", "prod"), name: "prd", kind: UnknownCluster, known: []string{"prod", "dev"}},
		{label: "several", server: server("a", "b"), kind: SeveralClusters, known: []string{"a", "b"}},
		{label: "none", server: server(), kind: SeveralClusters},
	}
	for _, test := range tests {
		t.Run(test.label, func(t *testing.T) {
			got, err := test.server.Choose(test.name, test.context)
			var refusal *Refusal
			errors.As(err, &refusal)
			switch {
			case got != test.want:
				t.Errorf("got %q, want %q", got, test.want)
			case test.kind == 0 && err != nil:
				t.Error(err)
			case test.kind != 0 && (refusal == nil || refusal.Kind != test.kind || !slices.Equal(refusal.Known, test.known)):
				t.Errorf("got %v, want kind %d and the names %v", err, test.kind, test.known)
			}
		})
	}
}
