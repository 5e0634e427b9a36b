//go:build unix

package contract

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// check is a line of `kshell doctor -o json`.
type check struct {
	ID, Status, Message, Hint string
}

// The statuses of a check.
const (
	checkOK      = "ok"
	checkWarning = "warning"
	checkFailed  = "failed"
	checkSkipped = "skipped"
)

// doctorCase is a situation, and the statuses that kshell doctor must report in it.
type doctorCase struct {
	name string
	args []string
	env  []string
	// gateway, if it is not nil, is the handler of a server between kshell and the API
	// server. It calls next to pass a request on to the API server.
	gateway func(w http.ResponseWriter, r *http.Request, next http.Handler)
	want    map[string]string // the statuses of checks, by ID; no other check may fail or warn
}

// Doctor runs kshell doctor in each case: the checks in want must have that status, and
// no other check may fail or warn.
func Doctor(t *testing.T, w Users) {
	cases := append(w.localFaults(t), rightsFaults(w)...)
	for _, c := range append(cases, gatewayFaults()...) {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			if c.gateway != nil {
				c.args = append(w.throughGateway(t, c.gateway), c.args...)
			}
			w.checkDoctor(t, c)
		})
	}
}

// checkDoctor runs kshell doctor, and compares the statuses and the exit code.
func (w Users) checkDoctor(t *testing.T, c doctorCase) {
	t.Helper()
	p := w.Program
	p.Env = append(p.Env[:len(p.Env):len(p.Env)], c.env...)
	r := p.Run(t, nil, append([]string{"doctor", "-o", "json"}, c.args...)...)
	missing := map[string]bool{}
	for id := range c.want {
		missing[id] = true
	}
	code := 0
	lines := bufio.NewScanner(strings.NewReader(r.Out))
	for lines.Scan() {
		var got check
		if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
			t.Fatalf("%v: %s", err, lines.Text())
		}
		delete(missing, got.ID)
		isBad := got.Status == checkFailed || got.Status == checkWarning
		switch want, ok := c.want[got.ID]; {
		case ok && got.Status != want, !ok && isBad:
			t.Errorf("%+v, want the status %q", got, want)
		case got.Status == checkFailed && got.Hint == "":
			t.Errorf("%+v, want a hint", got)
		}
		if got.Status == checkFailed {
			code = 1
		}
	}
	if r.Code != code || r.Err != "" {
		t.Errorf("exit code %d, want %d; stderr %q", r.Code, code, r.Err)
	}
	if len(missing) > 0 {
		t.Errorf("no results of %v: %s", missing, r.Out)
	}
}

// localFaults returns the cases without a fault, with faults of the configuration and
// the network, and with faults of a pod.
func (w Users) localFaults(t *testing.T) []doctorCase {
	t.Helper()
	dir := t.TempDir()
	content, err := os.ReadFile(w.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	file := func(name string, mode os.FileMode, content []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, content, mode); err != nil { //nolint:gosec // the directory is the test's own
			t.Fatal(err)
		}
		return path
	}
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	return []doctorCase{
		{"no fault", []string{"web"}, nil, nil, map[string]string{
			"kubeconfig": checkOK, "settings": checkOK, "context": checkOK, "server": checkOK, "user": checkOK,
			"namespace": checkOK, "dns": checkOK, "tcp": checkOK, "tls": checkOK, "version": checkOK,
			"credentials": checkOK, "identity": checkOK, "rights-exec": checkOK, "rights-find": checkOK,
			"rights-resume": checkOK, "rights-node-shell": checkOK, "round-trip": checkOK, "request-line": checkOK,
			"websocket": checkOK, "idle": checkSkipped, "agents": checkOK, "pod": checkOK, "exec": checkOK,
			"subprotocols": checkOK, "exact": checkOK, "resume": checkOK,
		}},
		{"an idle connection stays open", []string{"--slow=1s"}, nil, nil, map[string]string{"idle": checkOK}},
		{
			"others can read the kubeconfig",
			[]string{"--kubeconfig", file("open", 0o644, content)},
			nil, nil,
			map[string]string{"kubeconfig": checkWarning, "server": checkOK},
		},
		{
			"no kubeconfig",
			[]string{"--kubeconfig", filepath.Join(dir, "none")},
			nil, nil,
			map[string]string{"kubeconfig": checkFailed, "server": checkSkipped, "version": checkSkipped},
		},
		{
			"an unknown setting", nil,
			[]string{"KSHELL_CONFIG=" + file("settings.yaml", 0o600, []byte("shel: zsh\n"))},
			nil,
			map[string]string{"settings": checkFailed, "server": checkSkipped},
		},
		{"an unknown context", []string{"--context", "no-such"}, nil, nil, map[string]string{"server": checkFailed}},
		{"an unknown user", []string{"--user", "no-such"}, nil, nil, map[string]string{"server": checkFailed}},
		{
			"an unknown host",
			[]string{"--server", "https://nowhere.invalid"},
			nil, nil,
			map[string]string{"dns": checkFailed, "tcp": checkSkipped, "version": checkSkipped},
		},
		{
			"a closed port",
			[]string{"--server", "https://127.0.0.1:1"},
			nil, nil,
			map[string]string{"dns": checkOK, "tcp": checkFailed, "tls": checkSkipped},
		},
		{
			"a closed port of a proxy",
			[]string{"--proxy-url", "http://127.0.0.1:1"},
			nil, nil,
			map[string]string{"tcp": checkFailed},
		},
		{
			"another certificate authority",
			[]string{"--certificate-authority", certificateFile(t, dir, other)},
			nil, nil,
			map[string]string{"tcp": checkOK, "tls": checkFailed, "version": checkSkipped},
		},
		{
			"another name in the certificate",
			[]string{"--tls-server-name", "other.example"},
			nil, nil,
			map[string]string{"tls": checkFailed},
		},
		{
			"an unchecked certificate",
			[]string{"--insecure-skip-tls-verify"},
			nil, nil,
			map[string]string{"tls": checkWarning, "version": checkOK},
		},
		{
			"no such pod",
			[]string{"no-such"},
			nil, nil,
			map[string]string{"pod": checkFailed, "exec": checkSkipped, "exact": checkSkipped},
		},
		{
			"a container without sh",
			[]string{"noshell"},
			nil, nil,
			map[string]string{"exec": checkOK, "exact": checkWarning, "resume": checkWarning},
		},
	}
}

// rightsFaults returns the cases with rejected credentials, and with few rights.
func rightsFaults(w Users) []doctorCase {
	return []doctorCase{
		{
			"a wrong token",
			[]string{"--token", "wrong"},
			nil, nil,
			map[string]string{"identity": checkFailed, "rights-exec": checkSkipped, "round-trip": checkSkipped},
		},
		{"no rights", []string{"--context", w.None, "web"}, nil, nil, map[string]string{
			"rights-exec": checkFailed, "rights-find": checkWarning, "rights-resume": checkSkipped,
			"rights-node-shell": checkWarning, "websocket": checkSkipped, "exec": checkSkipped, "pod": checkWarning,
		}},
		{"only the rights of exec", []string{"--context", w.ExecOnly}, nil, nil, map[string]string{
			"rights-exec": checkOK, "rights-find": checkWarning, "rights-resume": checkOK,
			"rights-node-shell": checkWarning, "websocket": checkSkipped,
		}},
	}
}

// gatewayFaults returns the cases with a server between kshell and the API server.
func gatewayFaults() []doctorCase {
	refuse := func(code int, refused func(r *http.Request) bool) func(http.ResponseWriter, *http.Request, http.Handler) {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if refused(r) {
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(code)
				_, _ = io.WriteString(w, "<html>refused</html>")
				return
			}
			next.ServeHTTP(w, r)
		}
	}
	isExec := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/exec") }
	isWebSocket := func(r *http.Request) bool { return strings.EqualFold(r.Header.Get("Upgrade"), "websocket") }
	offers := func(r *http.Request, name string) bool {
		return strings.Contains(r.Header.Get("Sec-WebSocket-Protocol"), name)
	}
	return []doctorCase{
		{
			"a gateway",
			[]string{"web"},
			nil, refuse(0, func(*http.Request) bool { return false }),
			map[string]string{"websocket": checkOK, "exec": checkOK, "request-line": checkOK},
		},
		{
			"a web page instead of an API server", nil, nil, refuse(200, func(*http.Request) bool { return true }),
			map[string]string{"tls": checkOK, "version": checkFailed, "identity": checkSkipped},
		},
		{
			"a gateway that limits the request line", nil, nil,
			refuse(414, func(r *http.Request) bool { return len(r.RequestURI) > 1500 }),
			map[string]string{"version": checkOK, "request-line": checkWarning, "websocket": checkOK},
		},
		{"refused WebSockets", []string{"web"}, nil, refuse(403, isWebSocket), map[string]string{
			"websocket": checkWarning, "exec": checkWarning, "subprotocols": checkSkipped, "exact": checkOK,
		}},
		{
			"a refused exec",
			[]string{"web"},
			nil, refuse(403, isExec),
			map[string]string{"websocket": checkOK, "exec": checkFailed, "exact": checkSkipped},
		},
		{
			"refused subprotocols",
			[]string{"web"},
			nil,
			refuse(403, func(r *http.Request) bool { return isExec(r) && !offers(r, "base64") }),
			map[string]string{"exec": checkOK, "subprotocols": checkWarning},
		},
		{
			"a gateway that closes WebSockets after 1 s",
			[]string{"--slow=20s"},
			nil,
			func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				ctx := r.Context()
				if isWebSocket(r) {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, time.Second)
					defer cancel()
				}
				next.ServeHTTP(w, r.WithContext(ctx))
			},
			map[string]string{"websocket": checkOK, "idle": checkWarning},
		},
	}
}

// throughGateway starts an HTTPS server with the handler handle, and returns the flags
// that make kshell connect to it. The handler next, which handle gets, passes requests on
// to the server of w.Kubeconfig.
func (w Users) throughGateway(t *testing.T, handle func(http.ResponseWriter, *http.Request, http.Handler)) []string {
	t.Helper()
	cfg, err := clientcmd.BuildConfigFromFlags("", w.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(cfg.Host)
	if err != nil {
		t.Fatal(err)
	}
	trust, err := rest.TLSConfigFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	next := httputil.NewSingleHostReverseProxy(target)
	next.Transport = &http.Transport{
		TLSClientConfig: trust,
		TLSNextProto:    map[string]func(string, *tls.Conn) http.RoundTripper{}, // no HTTP/2: it has no header Upgrade
	}
	next.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	gateway := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r, next) }))
	t.Cleanup(gateway.Close)
	return []string{"--server", gateway.URL, "--certificate-authority", certificateFile(t, t.TempDir(), gateway)}
}

// certificateFile writes the certificate of s to a file, and returns its path.
func certificateFile(t *testing.T, dir string, s *httptest.Server) string {
	t.Helper()
	path := filepath.Join(dir, "ca.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(path, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
