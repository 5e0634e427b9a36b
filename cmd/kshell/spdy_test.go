//go:build unix

package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/internal/sandbox"
	"kshell/internal/stream"
)

// websockets is a command of the scripts. It sets GATEWAY to a gateway before the sandbox that passes on all but WebSockets:
//
//	websockets refused CODE [page]   it answers them with CODE, and a web page or nothing
//	websockets stripped              it takes the header out that asks for one, as gateways do that do not know them
//	websockets nameless              it passes them, but for the names of the subprotocols
func websockets(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: websockets HOW…")
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
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true},
	}
	if args[0] == "warned" {
		proxy.ModifyResponse = func(r *http.Response) error {
			r.Header.Set("Warning", `299 - "v1 Pod is deprecated"`)
			return nil
		}
	}
	g := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && !spoilt(w, r, args) {
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	ts.Defer(g.Close)
	ts.Setenv("GATEWAY", g.URL)
}

// spoilt does to a handshake what args say, and says whether it goes on.
func spoilt(w http.ResponseWriter, r *http.Request, args []string) bool {
	switch args[0] {
	case "warned": // not these: the other answers carry a warning
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

func TestSPDYIsTriedWhereItMayDoAndNothingHasRun(t *testing.T) {
	t.Parallel()
	status := func(code int, message string) error {
		return &stream.HandshakeError{StatusCode: code, Status: &metav1.Status{Message: message}}
	}
	for _, c := range []struct {
		name        string
		err         error
		once, again bool
	}{
		{"no right to get", status(403, `pods "web" is forbidden: User "dev" cannot get resource "pods/exec" in API group ""`), true, true},
		{"no right to create", status(403, `pods "web" is forbidden: `), false, false},
		{"a policy", status(403, `pods "web" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no shells`), false, false},
		{"no subprotocol in common", &stream.HandshakeError{StatusCode: 403}, true, true},
		{"a gateway's 403", &stream.HandshakeError{StatusCode: 403, Page: true}, true, true},
		{"upgrade ignored", &stream.HandshakeError{StatusCode: 200}, true, true},
		{"upgrade not understood", &stream.HandshakeError{StatusCode: 400, Text: "Bad Request"}, true, true},
		{"upgrade stripped", status(400, "Upgrade request required"), true, true},
		{"another path", &stream.HandshakeError{StatusCode: 404, Text: "404 page not found"}, true, true},
		{"another upgrade wanted", &stream.HandshakeError{StatusCode: 426}, true, true},
		{"a gateway's page", &stream.HandshakeError{StatusCode: 502, Page: true}, true, true},
		{"a gateway's words", &stream.HandshakeError{StatusCode: 503, Text: "upstream connect error"}, true, true},
		{"no such pod", status(404, `pods "x" not found`), false, false},
		{"no such container", status(400, "container x is not valid for pod y"), false, false},
		{"a dead container", &stream.HandshakeError{StatusCode: 500, Text: `container not found ("c")`}, false, false},
		{"a dead node", status(500, "error dialing backend: EOF"), false, false},
		{"not logged in", status(401, "Unauthorized"), false, false},
		{"login page", &stream.HandshakeError{StatusCode: 302, Location: "https://login"}, false, false},
		{"too busy", &stream.HandshakeError{StatusCode: 429, Text: "slow down"}, false, false},
		{"not reached", &stream.DialError{Server: "https://x", Err: errors.New("connection refused")}, false, false},
		{"lost", &stream.LostError{Err: errors.New("reset")}, false, false},
		{"101 without a subprotocol", &stream.ProtocolError{}, false, true},
		{"101 and no WebSocket", &stream.HandshakeError{StatusCode: 101}, false, true},
	} {
		if once, repeatable := spdyMayDo(c.err, false), spdyMayDo(c.err, true); once != c.once || repeatable != c.again {
			t.Errorf("%s: %v, and %v for what may run again", c.name, once, repeatable)
		}
	}
}

func TestOfTwoRefusalsTheOneIsToldThatHelps(t *testing.T) {
	t.Parallel()
	noRight := &stream.HandshakeError{StatusCode: 403, Status: &metav1.Status{Message: `User "dev" cannot get resource "pods/exec"`}}
	for _, c := range []struct {
		name string
		spdy error
		want bool // SPDY's
	}{
		{"no right to create either", &stream.HandshakeError{StatusCode: 403, Status: &metav1.Status{Message: "cannot create"}}, false},
		{"no such pod", &stream.HandshakeError{StatusCode: 404, Status: &metav1.Status{Message: `pods "x" not found`}}, true},
		{"no such container", &stream.HandshakeError{StatusCode: 400, Status: &metav1.Status{Message: "choose one of: [a b]"}}, true},
		{"a dead container", &stream.HandshakeError{StatusCode: 500, Text: `container not found ("c")`}, true},
		{"stripped as well", &stream.HandshakeError{StatusCode: 400, Status: &metav1.Status{Message: "Upgrade request required"}}, false},
		{"a gateway", &stream.HandshakeError{StatusCode: 404, Text: "404 page not found"}, false},
		{"cut", &stream.DialError{Err: errors.New("reset")}, false},
	} {
		want := error(noRight)
		if c.want {
			want = c.spdy
		}
		if got := betterExplained(noRight, c.spdy); got != want { //nolint:errorlint // which of the two it is
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

func TestAShellBySPDYIsLikeAnyOther(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "-v", "exec", "--context", "create-only", "web")
	c.await(`kshell: falling back to SPDY: `)
	c.await(`by SPDY/3.1 v[45].channel.k8s.io\r\n`)
	c.prompt()
	c.mustBeRaw()
	awaitSize(t, s, 1, sandbox.Size{Width: columns0, Height: rows0})
	c.run("stty size", "24 80\r\n")
	c.prompt()
	size := sandbox.Size{Width: 133, Height: 44}
	c.resize(size.Width, size.Height)
	awaitSize(t, s, 1, size)
	c.run("stty size", "44 133\r\n")
	c.prompt()
	c.interrupt()
	c.keys("exit 3\r")
	c.mustEnd(3)
}

func TestAShellBySPDYIsTakenUpAgainBySPDY(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	c := open(t, s, program(t), "exec", "--context", "create-only", "-it", "web", "--", "sh")
	c.prompt()
	before := s.Stats().Commands
	up := s.Down()
	c.await(`(?s)kshell: warning: connection lost: [^\n]*\r\n.*? trying again in [0-9]+ s \(Enter: now, Ctrl-D: quit\) `)
	up()
	c.keys("\r")
	c.await("kshell: connected again after [0-9]+ s: this is a new shell\r\n")
	c.prompt()
	awaitSize(t, s, 2, sandbox.Size{Width: columns0, Height: rows0})
	c.run("stty size", "24 80\r\n")
	c.prompt()
	c.keys("exit 5\r")
	c.mustEnd(5)
	for _, x := range s.Sessions() {
		if !strings.HasPrefix(x.Subprotocol, sandbox.SPDY) {
			t.Errorf("a session by %s", x.Subprotocol)
		}
	}
	if n := s.Stats().Commands - before; n > 2 { // the new shell, and what ends the old one
		t.Errorf("%d commands: WebSocket was tried again", n)
	}
}

func TestTheTerminalIsAsBeforeHoweverAShellBySPDYEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		end  func(c *console, s *sandbox.Server)
		code int
	}{
		"Ctrl-D":                         {func(c *console, _ *sandbox.Server) { c.keys("\x04") }, 0},
		"TERM":                           {func(c *console, _ *sandbox.Server) { c.signal(syscall.SIGTERM) }, 143},
		"the server is gone, and Ctrl-C": {func(c *console, s *sandbox.Server) { gone(c, s); c.keys("\x03") }, 255},
		"the pod is deleted": {func(c *console, s *sandbox.Server) {
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

// A shell that may have been opened is opened again, as after a lost link: 101 was answered, but the subprotocol is missing.
func TestAShellIsOpenedBySPDYWhereSubprotocolsAreLost(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	f := faults["nothing-selected"]
	f.Times = 1
	s.Inject(f)
	c := open(t, s, program(t), "-v", "exec", "web")
	c.await("falling back to SPDY: the server selected no subprotocol")
	c.prompt()
	c.keys("exit 3\r")
	c.mustEnd(3)
}
