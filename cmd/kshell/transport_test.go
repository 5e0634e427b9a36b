//go:build unix

package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"kshell/internal/sandbox"
)

// websockets is a command of the scripts. It starts a gateway to the sandbox
// that does not support WebSockets, and sets GATEWAY to its address. The first
// argument says what the gateway does with WebSocket handshakes:
//
//	websockets refused CODE [page]   it answers them with CODE, and with a web page or nothing
//	websockets stripped              it removes the headers that ask for the upgrade
//	websockets nameless              it removes the names of the subprotocols
//	websockets warned                it passes them on, and adds a warning to all responses
func websockets(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: websockets refused|stripped|nameless|warned")
	}
	target, err := url.Parse(sandboxOf(ts).URL())
	ts.Check(err)
	pem, err := os.ReadFile(sandboxOf(ts).CA())
	ts.Check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Set("Authorization", "Bearer "+sandboxOf(ts).Token("admin")) // as kubectl proxy does
		},
		Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true,
		},
	}
	if args[0] == "warned" {
		proxy.ModifyResponse = func(r *http.Response) error {
			r.Header.Set("Warning", `299 - "v1 Pod is deprecated"`)
			return nil
		}
	}
	g := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && !passOn(w, r, args) {
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	ts.Defer(g.Close)
	ts.Setenv("GATEWAY", g.URL)
}

// passOn changes a handshake as args demand, and reports whether the caller
// must pass it on. If not, passOn has answered the handshake.
func passOn(w http.ResponseWriter, r *http.Request, args []string) bool {
	switch args[0] {
	case "warned":
		return true
	case "stripped":
		r.Header.Del("Upgrade")
		r.Header.Del("Connection")
		return true
	case "nameless":
		r.Header.Del("Sec-WebSocket-Protocol")
		return true
	}
	code, err := strconv.Atoi(args[1])
	if err != nil {
		panic(err)
	}
	if len(args) > 2 {
		w.Header().Set("Content-Type", "text/html")
	}
	w.WriteHeader(code)
	if len(args) > 2 {
		_, _ = w.Write([]byte("<html>no</html>"))
	}
	return false
}

func TestShell_SPDY(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "-v", "exec", "--context", "create-only", "web")
	c.waitFor(`kshell: falling back to SPDY: `)
	c.waitFor(`by SPDY/3.1 v[45].channel.k8s.io\r\n`)
	c.prompt()
	c.mustBeRaw()
	waitSize(t, s, 1, sandbox.Size{Width: termColumns, Height: termRows})
	c.run("stty size", "24 80\r\n")
	c.prompt()
	size := sandbox.Size{Width: 133, Height: 44}
	c.resize(size.Width, size.Height)
	waitSize(t, s, 1, size)
	c.run("stty size", "44 133\r\n")
	c.prompt()
	c.interrupt()
	c.keys("exit 3\r")
	c.mustEnd(3)
}

func TestShellReconnect_SPDY(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "--context", "create-only", "-it", "web", "--", "sh")
	c.prompt()
	before := s.Stats().Commands
	up := s.Down()
	c.waitFor(`(?s)kshell: warning: connection lost: [^\n]*\r\n.*? trying again in [0-9]+ s \(Enter: now, Ctrl-D: quit\) `)
	up()
	c.keys("\r")
	c.waitFor("kshell: connected again after [0-9]+ s: this is a new shell\r\n")
	c.prompt()
	waitSize(t, s, 2, sandbox.Size{Width: termColumns, Height: termRows})
	c.run("stty size", "24 80\r\n")
	c.prompt()
	c.keys("exit 5\r")
	c.mustEnd(5)
	for _, x := range s.Sessions() {
		if !strings.HasPrefix(x.Subprotocol, sandbox.SPDY) {
			t.Errorf("a session uses %s", x.Subprotocol)
		}
	}
	if n := s.Stats().Commands - before; n > 2 { // the new shell, and the command that ends the old one
		t.Errorf("%d commands: WebSocket was tried again", n)
	}
}

func TestShell_SPDYRestoresTerminal(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(c *console, s *sandbox.Server)
		code int
	}{
		"Ctrl-D":              {func(c *console, _ *sandbox.Server) { c.keys("\x04") }, 0},
		"TERM":                {func(c *console, _ *sandbox.Server) { c.signal(syscall.SIGTERM) }, 143},
		"server down, Ctrl-C": {func(c *console, s *sandbox.Server) { goDown(c, s); c.keys("\x03") }, 130},
		"pod deleted": {func(c *console, s *sandbox.Server) {
			if err := s.DeletePod("default", "web", 0); err != nil {
				c.t.Error(err)
			}
		}, 137},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			shell := open(t, s, program(t), "exec", "--context", "create-only", "-it", "web", "--", "sh")
			shell.prompt()
			shell.mustBeRaw()
			c.end(shell, s)
			shell.mustEnd(c.code)
		})
	}
}

// If the server answers 101 and selects no subprotocol, it may have started a
// shell. kshell opens another shell, as after a lost connection.
func TestShell_SPDYAfterLostSubprotocol(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	f := faults["nothing-selected"]
	f.Times = 1
	s.Inject(f)
	c := open(t, s, program(t), "-v", "exec", "web")
	c.waitFor("falling back to SPDY: the server selected no subprotocol")
	c.prompt()
	c.keys("exit 3\r")
	c.mustEnd(3)
}
