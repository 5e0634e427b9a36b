package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/kubeconfig"
	"kshell/internal/node"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

// clients are all parts of kshell that send requests to the API server. Each
// sends one request; it may return nil although the request has failed.
var clients = map[string]func(ctx context.Context, cfg *rest.Config) error{
	"pod": func(ctx context.Context, cfg *rest.Config) error {
		client, err := pod.NewClient(cfg, pod.Options{})
		if err != nil {
			return err
		}
		_, err = client.Get(ctx, "default", "web")
		return err
	},
	"node": func(ctx context.Context, cfg *rest.Config) error {
		client, err := node.NewClient(cfg, nil)
		if err != nil {
			return err
		}
		_, err = client.Node(ctx, "web")
		return err
	},
	"completion": func(ctx context.Context, cfg *rest.Config) error {
		listNames(ctx, cfg, "/api/v1/nodes", "")
		return nil
	},
	"WebSocket": func(ctx context.Context, cfg *rest.Config) error {
		dialer, err := stream.NewDialer(cfg)
		if err != nil {
			return err
		}
		_, err = dialer.Dial(ctx, stream.Request{Path: "/exec", Protocols: []string{stream.V5}})
		return err
	},
	"SPDY": func(ctx context.Context, cfg *rest.Config) error {
		dialer, err := stream.NewDialer(cfg)
		if err != nil {
			return err
		}
		_, err = dialer.DialSPDY(ctx, stream.Request{Path: "/exec", Query: url.Values{"stdout": {"true"}}})
		return err
	},
}

var redirectCodes = []int{301, 302, 303, 307, 308}

// targetOf returns a configuration with a token for s, as loaded from a
// kubeconfig.
func targetOf(t *testing.T, s *httptest.Server) *kubeconfig.Connection {
	t.Helper()
	all := clientcmdapi.NewConfig()
	all.Clusters["c"] = &clientcmdapi.Cluster{
		Server:                   s.URL,
		CertificateAuthorityData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
	}
	all.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: "hunter2"}
	all.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	all.CurrentContext = "x"
	path := filepath.Join(t.TempDir(), "config")
	if err := clientcmd.WriteToFile(*all, path); err != nil {
		t.Fatal(err)
	}
	target, err := (&kubeconfig.Flags{Kubeconfig: path}).Load()
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func TestRedirect_AnotherOriginIsRefused(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	other := func(w http.ResponseWriter, r *http.Request) {
		reached.Add(1)
		t.Errorf("%s received a request with Authorization %q", r.Host, r.Header.Get("Authorization"))
	}
	plain, secure := httptest.NewServer(http.HandlerFunc(other)), httptest.NewTLSServer(http.HandlerFunc(other))
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	var where atomic.Value
	var code atomic.Int32
	api := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", where.Load().(string))
		w.WriteHeader(int(code.Load()))
	}))
	t.Cleanup(api.Close)
	target := targetOf(t, api)
	host := strings.TrimPrefix(api.URL, "https://")
	_, port, _ := strings.Cut(host, ":")
	for name, location := range map[string]struct{ header, printed string }{
		"another port":       {secure.URL + "/login?token=x#y", secure.URL + "/login"},
		"http":               {plain.URL + "/login", plain.URL + "/login"},
		"http, same port":    {"http://" + host + "/login", "http://" + host + "/login"},
		"another host":       {"https://localhost:" + port + "/login", "https://localhost:" + port + "/login"},
		"user info":          {strings.Replace(secure.URL, "https://", "https://u:hunter2@", 1), secure.URL},
		"without a scheme":   {"//login.invalid/", "https://login.invalid/"},
		"not an address":     {"https://u:hunter2@login.invalid:zz/", "an address that cannot be read"},
		"control characters": {"https://login.invalid/%1b[2J", "https://login.invalid/%1b[2J"},
	} {
		for _, status := range redirectCodes {
			where.Store(location.header)
			code.Store(int32(status))
			for client, ask := range clients {
				err := ask(t.Context(), target.Config)
				if err == nil {
					continue // if the redirect was followed, the function other has failed the test
				}
				want := fmt.Sprintf("the server redirects (%d) to %s", status, location.printed)
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s, %d, %s: %v, want %s", name, status, client, err, want)
				}
				if strings.Contains(err.Error(), "hunter2") {
					t.Errorf("%s, %d, %s: %v", name, status, client, err)
				}
			}
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

// A redirect to the same server, for example by a gateway that normalizes
// paths, is followed with the credentials.
func TestRedirect_SameOriginIsFollowed(t *testing.T) {
	t.Parallel()
	for _, status := range redirectCodes {
		for client, ask := range clients {
			if client == "WebSocket" || client == "SPDY" {
				continue // these clients never follow redirects
			}
			for _, absolute := range []bool{true, false} {
				var authorizations []string
				api := httptest.NewTLSServer(nil)
				api.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					authorizations = append(authorizations, r.Header.Get("Authorization"))
					if r.URL.Query().Has("again") {
						w.Header().Set("Content-Type", "application/json")
						_, _ = w.Write([]byte(`{"metadata":{"name":"web"}}`))
						return
					}
					location := r.URL.Path + "?again=1"
					if absolute {
						location = strings.Replace(api.URL, "https", "HTTPS", 1) + location
					}
					w.Header().Set("Location", location)
					w.WriteHeader(status)
				})
				if err := ask(t.Context(), targetOf(t, api).Config); err != nil {
					t.Errorf("%s, %d: %v", client, status, err)
				}
				api.Close()
				if want := []string{"Bearer hunter2", "Bearer hunter2"}; fmt.Sprint(authorizations) != fmt.Sprint(want) {
					t.Errorf("%s, %d: Authorization %q, want %q", client, status, authorizations, want)
				}
			}
		}
	}
}

func TestRedirect_ManifestStaysAtItsServer(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the redirect was followed")
	}))
	t.Cleanup(other.Close)
	for _, status := range redirectCodes {
		files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/there" {
				return
			}
			http.Redirect(w, r, map[string]string{"/here": "/there", "/away": other.URL + "/x?token=y"}[r.URL.Path], status)
		}))
		t.Cleanup(files.Close)
		if _, err := download(t.Context(), files.URL+"/here"); err != nil {
			t.Errorf("%d on the same server: %v", status, err)
		}
		_, err := download(t.Context(), files.URL+"/away")
		var refused *kubeconfig.RedirectError
		if !errors.As(err, &refused) || refused.Location != other.URL+"/x" || refused.StatusCode != status {
			t.Errorf("%d: %v, want a refusal that names %s/x", status, err, other.URL)
		}
	}
}

// TestHTTPCredentials_OneOrigin checks that every client sends the credentials
// to an http:// server if this is allowed, and never sends them to a server to
// which the http:// server redirects.
func TestHTTPCredentials_OneOrigin(t *testing.T) {
	t.Parallel()
	var reached atomic.Int32
	other := func(http.ResponseWriter, *http.Request) { reached.Add(1) }
	plain, secure := httptest.NewServer(http.HandlerFunc(other)), httptest.NewTLSServer(http.HandlerFunc(other))
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	for name, user := range map[string]*clientcmdapi.AuthInfo{
		"Bearer hunter2":         {Token: "hunter2"},
		"Basic bWU6aHVudGVyMg==": {Username: "me", Password: "hunter2"},
	} {
		for _, location := range []string{plain.URL, secure.URL} {
			for client, ask := range clients {
				var authorization atomic.Value
				api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					authorization.Store(r.Header.Get("Authorization"))
					w.Header().Set("Location", location)
					w.WriteHeader(http.StatusTemporaryRedirect)
				}))
				all := clientcmdapi.NewConfig()
				all.Clusters["c"], all.AuthInfos["u"] = &clientcmdapi.Cluster{Server: api.URL}, user
				all.Contexts["x"], all.CurrentContext = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}, "x"
				file := filepath.Join(t.TempDir(), "kubeconfig")
				if err := clientcmd.WriteToFile(*all, file); err != nil {
					t.Fatal(err)
				}
				conn, err := (&kubeconfig.Flags{Kubeconfig: file}).Load()
				if err == nil {
					err = conn.UseHTTPCredentials(kubeconfig.HTTPSend)
				}
				if err != nil {
					t.Fatal(err)
				}
				_ = ask(t.Context(), conn.Config)
				api.Close()
				if got := authorization.Load(); got != name {
					t.Errorf("%s: Authorization %q, want %q", client, got, name)
				}
			}
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}
