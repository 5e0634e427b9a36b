//go:build unix

package contract

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"kshell/internal/sandbox"
	"kshell/test/faultproxy"
)

// headlampCluster is the path of the cluster main on the server of
// startHeadlamp.
const headlampCluster = "/dash/clusters/main"

// startHeadlamp starts a sandbox, and a Headlamp server in front of it. It sets
// the fields Dir and BaseURL of cfg. The setup selects the cluster main by its
// kubeconfig.
func startHeadlamp(t *testing.T, cfg sandbox.HeadlampConfig) (*sandbox.Server, *sandbox.Headlamp, HeadlampSetup) {
	t.Helper()
	s, _ := startSandbox(t)
	cfg.Dir, cfg.BaseURL = t.TempDir(), "/dash"
	h, err := s.StartHeadlamp(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := h.WriteKubeconfig(kubeconfig, s.Token("admin")); err != nil {
		t.Fatal(err)
	}
	w := setupOf(t, s, h.ClusterURL("main"))
	w.Kubeconfig = kubeconfig
	return s, h, HeadlampSetup{
		Setup: w, Nodes: sandboxNodes, ClusterPath: headlampCluster,
		Kill: func(t *testing.T) func() {
			t.Helper()
			h.Kill()
			return func() {
				if err := h.Start(); err != nil {
					t.Error(err)
				}
			}
		},
	}
}

// byFlag returns a setup in which --headlamp or KSHELL_HEADLAMP selects the
// cluster, instead of the kubeconfig.
func (w HeadlampSetup) byFlag(h *sandbox.Headlamp) HeadlampSetup {
	// SSL_CERT_FILE is necessary because the certificate authority in the
	// kubeconfig is only for the API server.
	w.Env = []string{"KSHELL_HEADLAMP=" + h.ClusterURL("main"), "SSL_CERT_FILE=" + h.CA()}
	through := w.Through
	w.Through = func(t *testing.T) (*faultproxy.Proxy, []string) {
		t.Helper()
		proxy, server := through(t)
		server[0] = "--headlamp"
		return proxy, server
	}
	return w
}

func TestHeadlamp(t *testing.T) {
	t.Parallel()
	t.Run("kubeconfig", func(t *testing.T) {
		t.Parallel()
		_, _, w := startHeadlamp(t, sandbox.HeadlampConfig{})
		Headlamp(t, w, *cuts)
	})
	t.Run("flag", func(t *testing.T) {
		t.Parallel()
		_, h, w := startHeadlamp(t, sandbox.HeadlampConfig{})
		Headlamp(t, w.byFlag(h), *cuts)
	})
}

// TestHeadlamp_LongCommands checks long commands through a proxy that limits
// the request line to 8,192 bytes, as nginx does by default.
func TestHeadlamp_LongCommands(t *testing.T) {
	t.Parallel()
	_, _, w := startHeadlamp(t, sandbox.HeadlampConfig{LineLimit: 8192})
	LongCommands(t, w.Program, w.Nodes)
}

func TestHeadlamp_AnsweredQueries(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("busybox is not installed")
	}
	_, _, w := startHeadlamp(t, sandbox.HeadlampConfig{})
	AnsweredQueries(t, w.Program, "busybox", "ash")
}

// TestHeadlamp_Cache checks commands through a server whose response cache
// answers a list with the answer to a list with another selector. Over TLS, the
// server offers HTTP/2, which does not allow the header that bypasses the
// cache.
func TestHeadlamp_Cache(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name          string
		plain, byFlag bool
	}{
		{"HTTP", true, true},
		{"TLS", false, true},
		{"kubeconfig", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s, h, w := startHeadlamp(t, sandbox.HeadlampConfig{Cache: true, PlainHTTP: test.plain})
			if test.byFlag {
				w = w.byFlag(h)
			}
			poisonCache(t, s, h, "app=db")
			for _, target := range []string{"deploy/web", "svc/web"} {
				r := w.Run(t, nil, "exec", "-q", target, "--", "echo", "hi")
				pod := ""
				for _, session := range s.Sessions() {
					pod = session.Path
				}
				if r.Code != 0 || r.Out != "hi\n" || r.Err != "" || !strings.Contains(pod, "/pods/web-") {
					t.Errorf("%s: %+v, the last session is %s", target, r, pod)
				}
			}
			for _, args := range [][]string{{"exec", "deploy/web", "--all"}, {"exec", "-l", "app=web", "--all"}} {
				r := w.Run(t, nil, append(args, "--", "echo", "hi")...)
				if pods := podsOf(t, r.Out); len(pods) != 2 || r.Code != 0 || r.Err != "" {
					t.Errorf("%q: pods %v, exit code %d, stderr %q", args, pods, r.Code, r.Err)
				}
			}
			if r := w.Run(t, nil, "__complete", "exec", ""); !strings.Contains(r.Out, "multi\n") {
				t.Errorf("completion: %+v", r)
			}
			poisonCache(t, s, h, "app=web") // the answer to app=db is still stored
			proxy, server := w.Through(t)
			NodeShellResumes(t, w.Program, w.Nodes, 3, func() { proxy.Cut(faultproxy.Both, faultproxy.RST) }, server...)
		})
	}
}

// poisonCache requests a list of pods with a selector, and then one with a
// selector that matches no pods. It checks that both answers contain a pod of
// the stateful set db: the server answers from its cache.
func poisonCache(t *testing.T, s *sandbox.Server, h *sandbox.Headlamp, selector string) {
	t.Helper()
	config := s.RESTConfig("admin")
	config.Host = h.ClusterURL("main")
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	for _, selector := range []string{selector, "app=none"} {
		list := config.Host + "/api/v1/namespaces/default/pods?labelSelector=" + url.QueryEscape(selector)
		resp, err := client.Get(list) //nolint:noctx // the server answers at once
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(`"name":"db-0"`)) {
			t.Fatalf("%s: %s, %v, %.300s", list, resp.Status, err, body)
		}
	}
}

// TestHeadlamp_CacheNotBypassed checks that kshell reports that the server
// ignores selectors if it cannot bypass the response cache, and does not run
// the command in pods that the selector does not match.
func TestHeadlamp_CacheNotBypassed(t *testing.T) {
	t.Parallel()
	s, h, w := startHeadlamp(t, sandbox.HeadlampConfig{Cache: true, CacheAll: true})
	poisonCache(t, s, h, "app=db")
	r := w.byFlag(h).Run(t, nil, "exec", "-l", "app=web", "--all", "--", "echo", "hi")
	if r.Code != 255 || r.Out != "" || !strings.Contains(r.Err, "the server ignores selectors") {
		t.Errorf("%+v", r)
	}
}
