//go:build unix

package sandbox_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"kshell/internal/sandbox"
)

const (
	v5       = "v5.channel.k8s.io"
	v4       = "v4.channel.k8s.io"
	v4base64 = "v4.base64.channel.k8s.io"
	v1       = "channel.k8s.io"
	v1base64 = "base64.channel.k8s.io"
)

var allProtocols = []string{v5, v4, v4base64, v1base64, v1}

// testTimeout is the time limit of everything that a test waits for.
const testTimeout = 60 * time.Second

func start(t testing.TB, cfg sandbox.Config) *sandbox.Server {
	t.Helper()
	cfg.Dir = t.TempDir()
	s, err := sandbox.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func restConfig(t testing.TB, s *sandbox.Server, contextName string) *rest.Config {
	t.Helper()
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: s.Kubeconfig()},
		&clientcmd.ConfigOverrides{CurrentContext: contextName}).ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// httpClient returns a client with its own connections, which are closed at the
// end of the test.
func httpClient(t testing.TB, s *sandbox.Server, contextName string) *http.Client {
	t.Helper()
	return clientOf(t, withOwnTransport(t, rest.CopyConfig(restConfig(t, s, contextName))))
}

func clientOf(t testing.TB, cfg *rest.Config) *http.Client {
	t.Helper()
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Transport: transport}
}

// smallBufferClient returns an admin's client whose kernel buffers about size
// bytes of unread data. By default, the buffer would grow to megabytes.
func smallBufferClient(t testing.TB, s *sandbox.Server, size int) *http.Client {
	t.Helper()
	cfg := withOwnTransport(t, restConfig(t, s, "sandbox"))
	tr, ok := cfg.Transport.(*http.Transport)
	if !ok {
		t.Fatal("no transport")
	}
	tr.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		if tcp, ok := conn.(*net.TCPConn); ok {
			err = tcp.SetReadBuffer(size)
		}
		return conn, err
	}
	return clientOf(t, cfg)
}

func withOwnTransport(t testing.TB, cfg *rest.Config) *rest.Config {
	t.Helper()
	tlsConfig, err := rest.TLSConfigFor(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tr := &http.Transport{TLSClientConfig: tlsConfig, ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	cfg.TLSClientConfig = rest.TLSClientConfig{}
	cfg.Transport = tr
	return cfg
}

// client is a WebSocket client for the remote-command protocols.
type client struct {
	t        testing.TB
	ws       *websocket.Conn
	protocol string
	ctx      context.Context
}

func execPath(pod string, query url.Values) string {
	return "/api/v1/namespaces/default/pods/" + pod + "/exec?" + query.Encode()
}

// execQuery returns the query of an exec. streams contains any of the letters i
// (stdin), o (stdout), e (stderr) and t (tty).
func execQuery(streams string, command ...string) url.Values {
	q := url.Values{"command": command}
	for letter, name := range map[rune]string{'i': "stdin", 'o': "stdout", 'e': "stderr", 't': "tty"} {
		if strings.ContainsRune(streams, letter) {
			q.Set(name, "true")
		}
	}
	return q
}

// tryDial opens a WebSocket. If the server refuses, tryDial returns the error,
// the response and the body of the response.
func tryDial(t testing.TB, s *sandbox.Server, contextName, path string,
	protocols ...string,
) (*client, *http.Response, []byte, error) {
	t.Helper()
	return tryDialWith(t, httpClient(t, s, contextName), s.URL()+path, protocols...)
}

func tryDialWith(t testing.TB, by *http.Client, address string,
	protocols ...string,
) (*client, *http.Response, []byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	ws, resp, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPClient: by, Subprotocols: protocols})
	if err != nil {
		var body []byte
		if resp != nil {
			body, _ = io.ReadAll(resp.Body)
		}
		return nil, resp, body, err
	}
	ws.SetReadLimit(-1)
	t.Cleanup(func() { _ = ws.CloseNow() })
	return &client{t, ws, ws.Subprotocol(), ctx}, resp, nil, nil
}

func dial(t testing.TB, s *sandbox.Server, path string, protocols ...string) *client {
	t.Helper()
	c, resp, body, err := tryDial(t, s, "sandbox", path, protocols...)
	if err != nil {
		t.Fatalf("dial: %v (%v) %s", err, resp, body)
	}
	return c
}

func (c *client) binary() bool { return !strings.Contains(c.protocol, "base64") }

func (c *client) write(channel byte, data []byte) error {
	if c.binary() {
		return c.ws.Write(c.ctx, websocket.MessageBinary, append([]byte{channel}, data...))
	}
	return c.ws.Write(c.ctx, websocket.MessageText,
		[]byte(string('0'+rune(channel))+base64.StdEncoding.EncodeToString(data)))
}

func (c *client) send(channel byte, data string) {
	c.t.Helper()
	if err := c.write(channel, []byte(data)); err != nil {
		c.t.Fatalf("write: %v", err)
	}
}

func (c *client) halfClose() {
	c.t.Helper()
	if err := c.ws.Write(c.ctx, websocket.MessageBinary, []byte{255, 0}); err != nil {
		c.t.Fatalf("half-close: %v", err)
	}
}

// read returns the channel and the data of the next message.
func (c *client) read() (byte, []byte, error) {
	kind, msg, err := c.ws.Read(c.ctx)
	if err != nil {
		return 0, nil, err
	}
	if len(msg) == 0 {
		return 0, nil, errors.New("a message without a channel")
	}
	if c.binary() {
		if kind != websocket.MessageBinary {
			return 0, nil, errors.New("a text message in a binary protocol")
		}
		return msg[0], msg[1:], nil
	}
	if kind != websocket.MessageText {
		return 0, nil, errors.New("a binary message in a text protocol")
	}
	data, err := base64.StdEncoding.DecodeString(string(msg[1:]))
	return msg[0] - '0', data, err
}

// result is what was received in a session.
type result struct {
	first    byte // channel of the first message
	out, err string
	status   string // channel 3
	last     byte   // channel of the last message
	largest  int
	end      error // the error that ended the session
}

func (c *client) finish() result {
	var out, errOut, status bytes.Buffer
	r := result{first: 255}
	for {
		ch, data, err := c.read()
		if err != nil {
			r.end = err
			break
		}
		if r.first == 255 {
			r.first = ch
			if len(data) != 0 {
				c.t.Errorf("the first message is not empty: %q", data)
			}
		}
		r.last = ch
		r.largest = max(r.largest, len(data))
		switch ch {
		case 1:
			out.Write(data)
		case 2:
			errOut.Write(data)
		case 3:
			status.Write(data)
		default:
			c.t.Errorf("message on channel %d", ch)
		}
	}
	r.out, r.err, r.status = out.String(), errOut.String(), status.String()
	return r
}

// code returns the exit code in the Status. It returns 0 if the Status is
// Success, and -1 if the Status is missing or contains no exit code.
func (r result) code() int {
	var st metav1.Status
	if json.Unmarshal([]byte(r.status), &st) != nil {
		return -1
	}
	if st.Status == metav1.StatusSuccess {
		return 0
	}
	if st.Details != nil {
		for _, c := range st.Details.Causes {
			if c.Type == "ExitCode" {
				n := -1
				_, _ = fmt.Sscan(c.Message, &n)
				return n
			}
		}
	}
	return -1
}

// checkClosed checks that the session ended with a close frame.
func (r result) checkClosed(t testing.TB) {
	t.Helper()
	if websocket.CloseStatus(r.end) != websocket.StatusNormalClosure {
		t.Errorf("the session ended with %v, want close 1000", r.end)
	}
}

// waitSession waits until want returns true for the newest session.
func waitSession(ctx context.Context, t testing.TB, s *sandbox.Server, want func(sandbox.Session) bool) {
	t.Helper()
	err := s.WaitSessions(ctx, func(list []sandbox.Session) bool { return len(list) > 0 && want(list[len(list)-1]) })
	if err != nil {
		t.Fatalf("%v: the sessions are %+v", err, s.Sessions())
	}
}

// waitForGo is the beginning of a script in pod web. It waits for a file named
// "go", which writeGo creates.
const waitForGo = "until [ -e go ]; do sleep 0.01; done; "

func writeGo(t testing.TB, s *sandbox.Server) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir("default", "web", "web"), "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}
