package stream

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"
)

// testProber returns a prober for a server in memory, and the number of
// requests that the server has received.
func testProber(t *testing.T, handler http.HandlerFunc) (*prober, *atomic.Int32) {
	t.Helper()
	var requests atomic.Int32
	cfg := serveConfig(t, func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		handler(w, r)
	})
	cfg.BearerToken, cfg.Host = "secret", "http://user:password@server/prefix/"
	p, err := newProber(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p, &requests
}

func TestProber_Answers(t *testing.T) {
	for status, want := range map[int]bool{
		200: true, 301: true, 401: true, 403: true, 500: true, 501: true, 502: false,
		503: false, 504: false, 505: true,
	} {
		synctest.Test(t, func(t *testing.T) {
			p, requests := testProber(t, func(w http.ResponseWriter, r *http.Request) {
				if _, _, ok := r.BasicAuth(); ok || r.Header.Get("Authorization") != "" {
					t.Errorf("the probe has credentials: %v", r.Header)
				}
				if r.Method != http.MethodGet || r.URL.Path != "/prefix/version" {
					t.Errorf("the probe is %s %s", r.Method, r.URL)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(status)
			})
			if got := p.probe(t.Context()); got.answered != want || requests.Load() != 1 {
				t.Errorf("status %d: %+v after %d requests, want %v after 1", status, got, requests.Load(), want)
			}
		})
	}
}

func TestProber_NewConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := testProber(t, func(http.ResponseWriter, *http.Request) {})
		transport := p.transport.(*http.Transport)
		dial, connections := transport.DialContext, atomic.Int32{}
		transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			connections.Add(1)
			return dial(ctx, network, addr)
		}
		for range 3 {
			if !p.probe(t.Context()).answered {
				t.Error("not answered")
			}
			time.Sleep(probeEvery)
		}
		if n := connections.Load(); n != 3 {
			t.Errorf("%d connections for 3 probes", n)
		}
	})
}

func TestProber_Proxy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := serveConfig(t, func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.String() != "http://server/version" {
				t.Errorf("the proxy was asked for %s", r.URL)
			}
		})
		cfg.Proxy = func(*http.Request) (*url.URL, error) { return url.Parse("http://proxy") }
		p, err := newProber(cfg)
		if err != nil {
			t.Fatal(err)
		}
		if !p.probe(t.Context()).answered {
			t.Error("not answered")
		}
	})
}

func TestProber_Silence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, _ := testProber(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		if got, want := p.probe(t.Context()), (probeResult{false, probeWithin}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	})
}

// Links that probe at about the same time share one probe. If the link that
// makes the probe ends, another link makes a new one.
func TestProber_Shared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, requests := testProber(t, func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-time.After(time.Second):
			}
		})
		ended, end := context.WithCancel(t.Context())
		var links sync.WaitGroup
		links.Go(func() {
			if p.probe(ended).answered {
				t.Error("the probe of a link that has ended was answered")
			}
		})
		synctest.Wait()
		for range 50 {
			links.Go(func() {
				if !p.probe(t.Context()).answered {
					t.Error("not answered")
				}
			})
		}
		synctest.Wait()
		end()
		links.Wait()
		if n := requests.Load(); n != 2 {
			t.Errorf("%d requests, want the canceled one and another one", n)
		}
		if !p.probe(t.Context()).answered || requests.Load() != 2 {
			t.Errorf("%d requests; want the result of the last probe", requests.Load())
		}
		time.Sleep(probeEvery)
		if !p.probe(t.Context()).answered || requests.Load() != 3 {
			t.Errorf("%d requests; want a new probe", requests.Load())
		}
	})
}

func TestProber_TLS(t *testing.T) {
	for name, c := range map[string]struct {
		client rest.TLSClientConfig
		server tls.ClientAuthType
		want   bool
	}{
		"trusted":                       {rest.TLSClientConfig{Insecure: true}, tls.NoClientCert, true},
		"untrusted":                     {rest.TLSClientConfig{}, tls.NoClientCert, false},
		"requires a client certificate": {rest.TLSClientConfig{Insecure: true}, tls.RequireAnyClientCert, true},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.NotFoundHandler())
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.TLS = &tls.Config{ClientAuth: c.server}
			server.StartTLS()
			defer server.Close()
			p, err := newProber(&rest.Config{Host: server.URL, TLSClientConfig: c.client})
			if err != nil {
				t.Fatal(err)
			}
			if got := p.probe(t.Context()).answered; got != c.want {
				t.Errorf("answered %v, want %v", got, c.want)
			}
		})
	}
}
