//go:build unix

package interactive

import (
	"bufio"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"testing"

	"github.com/creack/pty"
	"k8s.io/client-go/rest"

	"kshell/internal/cleanup"
	"kshell/internal/notice"
	"kshell/internal/remote"
	"kshell/internal/stream"
)

// echoServer is an API server whose remote terminal echoes what is typed. It
// does not allocate for a key.
func echoServer(tb testing.TB) *httptest.Server {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			tb.Error(err)
			return
		}
		defer conn.Close()
		sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Protocol: "+stream.V5+"\r\n"+
			"Sec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n\x82\x03\x01$ ")
		for echoFrame(buffered.Reader, conn) == nil {
		}
	}))
	tb.Cleanup(server.Close)
	return server
}

// echoFrame reads a frame of at most 125 bytes. If it is a message with stdin,
// echoFrame sends the payload as stdout.
func echoFrame(r *bufio.Reader, w io.Writer) error {
	head, err := r.Peek(6)
	if err != nil {
		return err
	}
	size := int(head[1] & 0x7f)
	frame, err := r.Peek(len(head) + size)
	if err != nil {
		return err
	}
	opcode, key, payload := frame[0]&0xf, frame[2:6], frame[6:]
	for i := range payload {
		payload[i] ^= key[i%4]
	}
	if opcode == 2 && payload[0] == 0 {
		answer := frame[4:]
		answer[0], answer[1], answer[2] = 0x82, byte(size), 1
		_, err = w.Write(answer)
	}
	_, _ = r.Discard(len(frame)) // they are in the buffer
	return err
}

// echoDriver opens connections to an echoServer.
type echoDriver struct{ transport *stream.Transport }

func (d echoDriver) Dial(ctx context.Context) (*stream.Conn, error) {
	return d.transport.Dial(ctx, stream.Request{Path: "/exec", Protocols: []string{stream.V5}})
}
func (d echoDriver) Opened(context.Context, *stream.Conn) error { return nil }
func (d echoDriver) Ended(_ context.Context, err error) error   { return err }

// openEcho runs a session with an echoServer, and returns the user's side of its
// terminal after the prompt was shown.
func openEcho(tb testing.TB) (user *os.File) {
	tb.Helper()
	user, tty, err := pty.Open()
	if err != nil {
		tb.Fatal(err)
	}
	env := remote.Env{
		In: tty, Out: tty, Err: io.Discard,
		Notice: notice.New(io.Discard), Cleanup: &cleanup.Registry{}, Server: &remote.ServerState{},
	}
	cfg := &rest.Config{Host: echoServer(tb).URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	cluster, err := remote.NewCluster(env, cfg, true)
	if err != nil {
		tb.Fatal(err)
	}
	cmd, err := remote.New(env, cluster, remote.Target{Namespace: "default", Pod: "web"},
		remote.Options{TTY: true, Stdin: true})
	if err != nil {
		tb.Fatal(err)
	}
	console := New(cmd, Options{Escape: '~'})
	ctx, leave := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() {
		set := stream.Settings{Stdout: console.Output(), WithOutput: true}
		ended <- console.Run(ctx, echoDriver{cluster.Transport()}, set)
	}()
	left := errors.New("left")
	tb.Cleanup(func() {
		leave(left)
		if err := <-ended; !errors.Is(err, left) {
			tb.Errorf("the session ended with %v", err)
		}
		_, _ = user.Close(), tty.Close()
	})
	if _, err := io.ReadFull(user, make([]byte, len("$ "))); err != nil {
		tb.Fatal(err)
	}
	return user
}

// BenchmarkKey measures the time from a key to its echo, on a terminal and over
// TLS on loopback.
func BenchmarkKey(b *testing.B) {
	user := openEcho(b)
	key, echo := []byte("x"), make([]byte, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := user.Write(key); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(user, echo); err != nil || echo[0] != key[0] {
			b.Fatalf("echo %q, %v", echo, err)
		}
	}
}

func TestSession_OneProcessor(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	t.Run("session", func(t *testing.T) {
		openEcho(t)
		if n := runtime.GOMAXPROCS(0); runtime.GOOS == "linux" && n != 1 {
			t.Errorf("GOMAXPROCS is %d during a session", n)
		}
	})
	if n := runtime.GOMAXPROCS(0); n != before {
		t.Errorf("GOMAXPROCS is %d after the session, and was %d before", n, before)
	}
}

// The keys of a paste are echoed in their order.
func TestSession_KeyOrder(t *testing.T) {
	user := openEcho(t)
	var pasted []byte
	for i := range 2000 {
		pasted = append(pasted, "0123456789abcdef"[i%16])
	}
	for rest := pasted; len(rest) > 0; {
		n := min(len(rest), 1+len(rest)%100) // the frames of echoServer have at most 125 bytes
		if _, err := user.Write(rest[:n]); err != nil {
			t.Fatal(err)
		}
		echo := make([]byte, n)
		if _, err := io.ReadFull(user, echo); err != nil || string(echo) != string(rest[:n]) {
			t.Fatalf("echo %q, %v; want %q", echo, err, rest[:n])
		}
		rest = rest[n:]
	}
}
