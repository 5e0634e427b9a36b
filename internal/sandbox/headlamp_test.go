//go:build unix

package sandbox_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"kshell/internal/sandbox"
)

// gate is the token of the desktop app in the recorded requests.
const gate = "gate-token-of-the-desktop"

// recordedHeaders are the headers that the recorded answers contain.
var recordedHeaders = []string{"Content-Type", "Location", "X-Headlamp-Cache", "Sec-Websocket-Protocol"}

// TestHeadlamp_RecordedAnswers compares the answers of the front with those of
// a real Headlamp server. Each file contains the options of the server, one or
// more requests, and the answer of the real server to the last request. The
// requests contain placeholders: GATE is the token of the desktop app, TOKEN a
// token of the cluster, and GATE64 and TOKEN64 are these in base64url. CONTEXT
// is a kubeconfig with the context kshell-1, in base64.
func TestHeadlamp_RecordedAnswers(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/headlamp-*/*.http")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recorded answers (%v)", err)
	}
	s := start(t, sandbox.Config{})
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".http"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			options, rest, _ := strings.Cut(string(data), "\n")
			at := strings.LastIndex(rest, "\nHTTP/1.") + 1
			checkRecorded(t, s, options[strings.LastIndex(options, ":")+1:], rest[:at], rest[at:])
		})
	}
}

// checkRecorded starts a front with options, sends it requests, and compares
// the answer to the last one with a recorded answer.
func checkRecorded(t *testing.T, s *sandbox.Server, options, requests, answer string) {
	h := startRecordedFront(t, s, strings.Fields(options))
	want, err := http.ReadResponse(bufio.NewReader(strings.NewReader(answer)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = want.Body.Close() }()
	wantBody, err := io.ReadAll(want.Body)
	if err != nil {
		t.Fatal(err)
	}
	requests = strings.NewReplacer(
		"GATE64", base64.RawURLEncoding.EncodeToString([]byte(gate)), "GATE", gate,
		"TOKEN64", base64.RawURLEncoding.EncodeToString([]byte(s.Token("admin"))), "Bearer TOKEN", "Bearer "+s.Token("admin"),
		"CONTEXT", base64.StdEncoding.EncodeToString(contextOf(t, s.RESTConfig("admin"), "kshell-1")),
	).Replace(requests)
	var got *http.Response
	var gotBody []byte
	for request := range strings.SplitSeq(strings.TrimSuffix(requests, "\n\n"), "\n\n") {
		got, gotBody = exchange(t, h, request)
	}
	if got.StatusCode != want.StatusCode {
		t.Fatalf("status %s, want %s; body %q", got.Status, want.Status, gotBody)
	}
	for _, name := range recordedHeaders {
		if got, want := got.Header.Get(name), want.Header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if got, want := normalized(t, s, gotBody), normalized(t, s, wantBody); !reflect.DeepEqual(got, want) {
		t.Errorf("the body is %v, want %v", got, want)
	}
}

// startRecordedFront starts a front with the clusters that the real server had
// when its answers were recorded.
func startRecordedFront(t *testing.T, s *sandbox.Server, options []string) *sandbox.Headlamp {
	t.Helper()
	cfg := sandbox.HeadlampConfig{PlainHTTP: !slices.Contains(options, "tls"), Clusters: []sandbox.HeadlampCluster{
		{Name: "main", Config: s.RESTConfig(""), Namespace: "default"},
		{Name: "own", Config: s.RESTConfig("admin"), Namespace: "team"},
		{Name: "a--b__c", Config: s.RESTConfig("")},
		{Name: "dead", Config: &rest.Config{Host: "https://127.0.0.1:1"}},
	}}
	for _, option := range options {
		switch option {
		case "none", "tls":
		case "base":
			cfg.BaseURL = "/headlamp"
		case "page":
			cfg.Page = true
		case "gate":
			cfg.Gate = gate
		case "host":
			cfg.CheckHost = true
		case "cache":
			cfg.Cache = true
		case "dynamic":
			cfg.DynamicClusters = true
		case "defaults":
			cfg.NodeShellImage, cfg.NodeShellNamespace = "registry.example/node-shell:1", "tools"
			cfg.PodDebugImage = "registry.example/debug:1"
		default:
			t.Fatalf("unknown option %q", option)
		}
	}
	return startFront(t, s, cfg)
}

func startFront(t *testing.T, s *sandbox.Server, cfg sandbox.HeadlampConfig) *sandbox.Headlamp {
	t.Helper()
	cfg.Dir = t.TempDir()
	h, err := s.StartHeadlamp(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	return h
}

// contextOf returns a kubeconfig with one context.
func contextOf(t *testing.T, cfg *rest.Config, name string) []byte {
	t.Helper()
	data, err := yaml.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": name,
		"clusters": []any{map[string]any{"name": name, "cluster": map[string]any{
			"server": cfg.Host, "certificate-authority-data": cfg.CAData,
		}}},
		"users":    []any{map[string]any{"name": name, "user": map[string]any{"token": cfg.BearerToken}}},
		"contexts": []any{map[string]any{"name": name, "context": map[string]any{"cluster": name, "user": name}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// exchange sends a request over a new connection without TLS, and returns the
// answer.
func exchange(t *testing.T, h *sandbox.Headlamp, request string) (*http.Response, []byte) {
	t.Helper()
	conn, err := net.Dial("tcp", h.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(testTimeout)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(request, "\nHost: ") {
		request += "\nHost: " + h.Addr()
	}
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "\n", "\r\n")+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp, nil
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, body
}

// normalized decodes a body for a comparison. It replaces the addresses of the
// API servers, sorts the clusters, and removes the resource version, because
// these differ between servers.
func normalized(t *testing.T, s *sandbox.Server, body []byte) any {
	t.Helper()
	if !bytes.HasPrefix(body, []byte("{")) {
		return strings.TrimSpace(string(body))
	}
	body = bytes.ReplaceAll(body, []byte(s.URL()), []byte("https://api.example"))
	body = bytes.ReplaceAll(body, []byte("https://127.0.0.1:1"), []byte("https://dead.example"))
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		t.Fatal(err)
	}
	if metadata, ok := object["metadata"].(map[string]any); ok {
		delete(metadata, "resourceVersion")
	}
	if clusters, ok := object["clusters"].([]any); ok {
		slices.SortFunc(clusters, func(a, b any) int {
			return strings.Compare(a.(map[string]any)["name"].(string), b.(map[string]any)["name"].(string))
		})
	}
	return object
}

// TestHeadlamp_Proxy checks the answers of the simulated proxy in front of the
// server, and those for a cluster that cannot be reached or loaded.
func TestHeadlamp_Proxy(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	const first = "GET /clusters/main/api/v1/namespaces/default/pods/web/exec?stdout=true&command=true HTTP/1.1"
	exec := first + "\nAuthorization: Bearer " + s.Token("admin") + "\nConnection: Upgrade\nUpgrade: websocket\n" +
		"Sec-WebSocket-Version: 13\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="
	line := len(first) + len("\r\n")
	for name, test := range map[string]struct {
		cfg            sandbox.HeadlampConfig
		status         int
		location, body string
	}{
		"longest line":  {cfg: sandbox.HeadlampConfig{LineLimit: line}, status: 101},
		"line too long": {cfg: sandbox.HeadlampConfig{LineLimit: line - 1}, status: 414, body: "<html>"},
		"login page": {
			cfg: sandbox.HeadlampConfig{Redirect: "https://login.example/?from=x"}, status: 302,
			location: "https://login.example/?from=x",
		},
		"another redirect": {
			cfg: sandbox.HeadlampConfig{Redirect: "/login", RedirectCode: 307}, status: 307, location: "/login",
		},
		"no upgrade": {
			cfg: sandbox.HeadlampConfig{DropUpgrade: true}, status: 400, body: `"message":"Upgrade request required"`,
		},
		"no WebSockets": {cfg: sandbox.HeadlampConfig{RefuseWebSockets: true}, status: 403},
		"API server down": {
			cfg: sandbox.HeadlampConfig{Clusters: []sandbox.HeadlampCluster{
				{Name: "main", Config: s.RESTConfig(""), Down: true},
			}},
			status: 502,
		},
		"cluster that could not be loaded": {
			cfg:    sandbox.HeadlampConfig{Clusters: []sandbox.HeadlampCluster{{Name: "main", Error: "no such file"}}},
			status: 400, body: "no such file\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.cfg.PlainHTTP = true
			resp, body := exchange(t, startFront(t, s, test.cfg), exec)
			if resp.StatusCode != test.status || resp.Header.Get("Location") != test.location ||
				!strings.Contains(string(body), test.body) {
				t.Errorf("status %s, location %q, body %q", resp.Status, resp.Header.Get("Location"), body)
			}
		})
	}
}

// TestHeadlamp_Config checks that /config lists clusters in random order, also
// one without metadata, and one with an error instead of an address.
func TestHeadlamp_Config(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{Empty: true})
	h := startFront(t, s, sandbox.HeadlampConfig{PlainHTTP: true, Clusters: []sandbox.HeadlampCluster{
		{Name: "a", Config: s.RESTConfig(""), NoMetadata: true, AuthType: "oidc"},
		{Name: "b", Error: "no such file"},
	}})
	const b = `{"name":"b","auth_type":"","meta_data":null,"error":"no such file"}`
	a := `{"name":"a","server":"` + s.URL() + `","auth_type":"oidc","meta_data":null}`
	for seen := map[string]bool{}; len(seen) < 2; {
		resp, body := exchange(t, h, "GET /config HTTP/1.1")
		list, _, _ := strings.Cut(string(body), `,"isDynamicClusterEnabled"`)
		list = strings.TrimPrefix(list, `{"clusters":`)
		if resp.StatusCode != http.StatusOK || list != "["+a+","+b+"]" && list != "["+b+","+a+"]" {
			t.Fatalf("status %s, body %s", resp.Status, body)
		}
		seen[list] = true
	}
}

// TestHeadlamp_ClustersOfUsers checks that a user's cluster is kept for
// FirstTTL after the first request, and for NextTTL after a later one.
func TestHeadlamp_ClustersOfUsers(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{Empty: true})
	h := startFront(t, s, sandbox.HeadlampConfig{
		PlainHTTP: true, DynamicClusters: true, FirstTTL: time.Hour, NextTTL: 10 * time.Millisecond,
	})
	header := "\nKUBECONFIG: " + base64.StdEncoding.EncodeToString(contextOf(t, s.RESTConfig("admin"), "kshell-1")) +
		"\nX-HEADLAMP-USER-ID: id1"
	// A handshake finds a cluster by its id, without the header.
	handshake := "GET /clusters/kshell-1/api/v1/pods?watch=true&resourceVersion=0 HTTP/1.1\nOrigin: http://localhost\n" +
		"Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\n" +
		"Sec-WebSocket-Protocol: base64url.headlamp.authorization.k8s.io.id1"
	check := func(when, request string, want int) {
		t.Helper()
		if resp, body := exchange(t, h, request); resp.StatusCode != want {
			t.Errorf("%s: status %s, body %q; want %d", when, resp.Status, body, want)
		}
	}
	const list = "GET /clusters/kshell-1/api/v1/pods HTTP/1.1"
	check("before the first request", handshake, http.StatusNotFound)
	check("with the header", list+header, http.StatusOK)
	check("after the first request", handshake, http.StatusSwitchingProtocols)
	check("with the header again", list+header, http.StatusOK)
	waitFor(t, "the cluster to be forgotten", func() bool {
		resp, _ := exchange(t, h, handshake)
		return resp.StatusCode == http.StatusNotFound
	})
	check("with the header after it was forgotten", list+header, http.StatusOK)
	h.Forget()
	check("after Forget", handshake, http.StatusNotFound)
	second := h.Requests()[1]
	if second.Header.Get("X-Headlamp-User-Id") != "id1" || second.RequestURI != "/clusters/kshell-1/api/v1/pods" {
		t.Errorf("the second request was %+v", second)
	}
}

// TestHeadlamp_Kill checks that a connection to a killed server ends with an
// EOF and without a close frame, and that the server can be started again at
// the same address.
func TestHeadlamp_Kill(t *testing.T) {
	t.Parallel()
	for _, plain := range []bool{true, false} {
		s := start(t, sandbox.Config{})
		h := startFront(t, s, sandbox.HeadlampConfig{PlainHTTP: plain, BaseURL: "/base"})
		address := h.URL() + "/clusters/main" + execPath("web", execQuery("o", "sh", "-c", "echo ready; sleep 1000"))
		c, _, body, err := tryDialWith(t, httpClient(t, s, "sandbox"), address, v4)
		if err != nil {
			t.Fatalf("%v; %s", err, body)
		}
		for text := ""; !strings.Contains(text, "ready"); {
			_, data, err := c.read()
			if err != nil {
				t.Fatal(err)
			}
			text += string(data)
		}
		h.Kill()
		if _, _, err := c.read(); websocket.CloseStatus(err) != -1 || !errors.Is(err, io.EOF) && !isReset(err) {
			t.Errorf("reading after the kill: %v", err)
		}
		if conn, err := net.Dial("tcp", h.Addr()); err == nil {
			_ = conn.Close()
			t.Error("the killed server accepts connections")
		}
		before := h.URL()
		if err := h.Start(); err != nil {
			t.Fatal(err)
		}
		if h.URL() != before {
			t.Errorf("the address is %s, and was %s", h.URL(), before)
		}
		if _, _, _, err := tryDialWith(t, httpClient(t, s, "sandbox"), address, v4); err != nil {
			t.Errorf("after the restart: %v", err)
		}
	}
}
