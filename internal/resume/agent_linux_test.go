package resume

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"kshell/internal/sandbox"
	"kshell/internal/stream"
	"kshell/test/faultproxy"
)

// testTimeout is the time limit of each wait. It is only reached by a failing
// test.
const testTimeout = 3 * time.Minute

// container is a container of a sandbox, with a proxy in front of it that breaks
// connections.
type container struct {
	t         testing.TB
	proxy     *faultproxy.Proxy
	transport *stream.Transport
	dialer    *stream.Dialer
	protocols []string           // the subprotocols to offer
	observe   func(stream.Event) // may be nil
}

func newContainer(t testing.TB) *container {
	t.Helper()
	if testing.Short() {
		t.Skip("it runs the agent in other processes")
	}
	server, err := sandbox.Start(sandbox.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: server.Kubeconfig()}, nil).ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	c := &container{t: t, protocols: []string{stream.V4}}
	c.useProxy(server, config)
	return c
}

func (c *container) useProxy(server *sandbox.Server, config *rest.Config) {
	address, err := url.Parse(server.URL())
	if err != nil {
		c.t.Fatal(err)
	}
	if c.proxy, err = faultproxy.Start(faultproxy.Config{Target: address.Host}); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = c.proxy.Close() })
	address.Host = c.proxy.Addr()
	config.Host = address.String()
	config.ServerName = "127.0.0.1"
	if c.dialer, err = stream.NewDialer(config); err != nil {
		c.t.Fatal(err)
	}
	if c.transport, err = stream.NewTransport(config, false, c.t.Logf); err != nil {
		c.t.Fatal(err)
	}
}

// containerDriver opens relays in the container.
type containerDriver struct {
	*container
	session *Session
}

func (d *containerDriver) Dial(ctx context.Context) (*stream.Conn, error) {
	return d.dial(ctx, d.session.Argv())
}

func (d *containerDriver) dial(ctx context.Context, argv []string) (*stream.Conn, error) {
	request := stream.Request{
		Path: "/api/v1/namespaces/default/pods/web/exec",
		Query: url.Values{
			"command": argv, "stdin": {"true"}, "stdout": {"true"}, "stderr": {"true"},
		},
		Protocols: d.protocols,
	}
	if d.protocols[0] == stream.SPDY {
		return d.dialer.DialSPDY(ctx, request)
	}
	return d.transport.Dial(ctx, request)
}

func (d *containerDriver) Opened(context.Context, *stream.Conn) error { return nil }
func (d *containerDriver) Ended(_ context.Context, err error) error   { return err }

// newSession returns a session of a command in the container.
func (c *container) newSession(set stream.Settings, start *Start) *Session {
	set.Reconnect, set.Keepalive = stream.ReconnectAlways, 10*time.Second
	d := &containerDriver{container: c}
	observe := func(e stream.Event) {
		c.t.Logf("%T %v", e, e)
		if c.observe != nil {
			c.observe(e)
		}
	}
	s := New(d, observe, set, Config{Start: start, Name: "test", Term: "xterm"})
	d.session = s
	return s
}

func (c *container) run(s *Session) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), testTimeout)
	defer cancel()
	return s.Run(ctx)
}

func TestAgent_Command(t *testing.T) {
	c := newContainer(t)
	var stdout, stderr bytes.Buffer
	input := strings.Repeat("0123456789abcde\n", 100_000)
	start := newStart(t, "sh", "-c", "cat; echo error >&2; exit 7")
	start.Stdin = true
	s := c.newSession(stream.Settings{Stdin: strings.NewReader(input), Stdout: &stdout, Stderr: &stderr}, start)
	err := c.run(s)
	var exit *stream.ExitError
	if !errors.As(err, &exit) || exit.Code != 7 {
		t.Errorf("got %v, want exit code 7", err)
	}
	if stdout.String() != input || stderr.String() != "error\n" {
		t.Errorf("stdout has %d bytes, want %d; stderr %q", stdout.Len(), len(input), &stderr)
	}
}

// cutter breaks the connections of a session again and again, in all ways, until
// stop is called. Between two cuts, a relay gets an answer.
func (c *container) cutter(s *Session, times int) (stop func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	var cutting sync.WaitGroup
	cutting.Go(func() {
		for i := 0; i < times && ctx.Err() == nil; i++ {
			answered, end := context.WithTimeout(ctx, testTimeout)
			for {
				if _, ok := s.RoundTrip(answered); ok || answered.Err() != nil {
					break
				}
				time.Sleep(10 * time.Millisecond) // no relay is open
			}
			end()
			switch i % 5 {
			case 0:
				c.proxy.Cut(faultproxy.Both, faultproxy.RST)
			case 1:
				c.proxy.Cut(faultproxy.Both, faultproxy.FIN)
			case 2:
				c.proxy.Cut(faultproxy.Client, faultproxy.RST) // the server does not notice it
			case 3:
				c.proxy.Cut(faultproxy.Client, faultproxy.FIN)
			case 4:
				s.Again()
			}
		}
	})
	return func() { cancel(); cutting.Wait() }
}

func TestAgent_CommandWithCuts(t *testing.T) {
	const cuts = 10
	c := newContainer(t)
	var stdout, stderr bytes.Buffer
	input := strings.Repeat("0123456789abcde\n", 1_000_000)
	c.proxy.Rate(faultproxy.ToServer, 4<<20) // so that the transfer lasts longer than the cuts
	start := newStart(t, "sh", "-c", "echo $$ >&2; cat; exit 7")
	start.Stdin = true
	s := c.newSession(stream.Settings{Stdin: strings.NewReader(input), Stdout: &stdout, Stderr: &stderr}, start)
	stop := c.cutter(s, cuts)
	err := c.run(s)
	stop()
	var exit *stream.ExitError
	if !errors.As(err, &exit) || exit.Code != 7 {
		t.Errorf("got %v, want exit code 7", err)
	}
	if stdout.String() != input || strings.Count(stderr.String(), "\n") != 1 {
		t.Errorf("stdout has %d bytes, want %d; stderr %q", stdout.Len(), len(input), &stderr)
	}
}

// A shell counts while keys are typed, and the connections are cut.
func TestAgent_TerminalWithCuts(t *testing.T) {
	const cuts, keys = 10, 200
	c := newContainer(t)
	stdin, typed := io.Pipe()
	var output output
	start := newStart(t, "sh", "-c", "stty raw -echo; i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo n$i.; done & "+
		"head -c 200 | od -An -v -tu1 -w1; wait")
	start.TTY = true
	s := c.newSession(stream.Settings{Stdin: stdin, Stdout: &output, Interactive: true}, start)
	stop := c.cutter(s, cuts)
	var typing sync.WaitGroup
	typing.Go(func() {
		defer typed.Close()
		waitFor(t, "the first number", func() bool { return strings.Contains(output.String(), "n1.") }) // after stty
		for i := range keys {
			_, _ = typed.Write([]byte{byte(i)})
			time.Sleep(10 * time.Millisecond)
		}
	})
	err := c.run(s)
	stop()
	stdin.Close()
	typing.Wait()
	if err != nil {
		t.Error(err)
	}
	numbers, codes := 0, 0
	for _, word := range strings.Fields(output.String()) {
		switch {
		case word == fmt.Sprintf("n%d.", numbers+1):
			numbers++
		case word == fmt.Sprint(codes):
			codes++
		default:
			t.Fatalf("after %d numbers and %d keys: %q", numbers, codes, word)
		}
	}
	if numbers != 2000 || codes != keys {
		t.Errorf("%d numbers and %d keys", numbers, codes)
	}
}

// The agent ends a command that has reached the time limit of the session.
func TestAgent_TotalLimit(t *testing.T) {
	c := newContainer(t)
	var stdout bytes.Buffer
	start := newStart(t, "sh", "-c", "echo begun; exec sleep 1000")
	start.Total = time.Second
	err := c.run(c.newSession(stream.Settings{Stdout: &stdout}, start))
	var limit *LimitError
	if !errors.As(err, &limit) || limit.Exit.Code != signaled+1 || stdout.String() != "begun\n" {
		t.Errorf("got %v and %q, want the end by SIGHUP at the time limit", err, &stdout)
	}
}

// While the network is out, an attempt to connect ends soon, and another one begins:
// TCP would send the packets of the first one at growing intervals.
func TestAgent_NetworkOut(t *testing.T) {
	c := newContainer(t)
	start := newStart(t, "sh", "-c", "read line; exit 7")
	start.TTY = true
	stdin, typed := io.Pipe()
	var events output
	s := c.newSession(stream.Settings{Stdin: stdin, Interactive: true}, start)
	c.observe = func(e stream.Event) { fmt.Fprintf(&events, "%T %v\n", e, e) }
	var out sync.WaitGroup
	out.Go(func() {
		defer stdin.Close()
		waitFor(t, "the session begins", s.Begun)
		if err := c.proxy.DropPackets(true); err != nil {
			t.Error(err)
		}
		s.Again()
		waitFor(t, "two attempts end", func() bool { return strings.Count(events.String(), "no connection within 4 s") >= 2 })
		if err := c.proxy.DropPackets(false); err != nil {
			t.Error(err)
		}
		_, _ = typed.Write([]byte("\n"))
		<-s.exited
	})
	err := c.run(s)
	out.Wait()
	var exit *stream.ExitError
	if !errors.As(err, &exit) || exit.Code != 7 {
		t.Errorf("got %v, want exit code 7", err)
	}
}

// The relays work with each subprotocol, and over SPDY.
func TestAgent_Protocols(t *testing.T) {
	for _, protocol := range append(stream.Protocols(), stream.SPDY) {
		t.Run(protocol, func(t *testing.T) {
			c := newContainer(t)
			var stdout, stderr bytes.Buffer
			input := strings.Repeat("0123456789abcde\n", 100_000)
			start := newStart(t, "sh", "-c", "cat; echo error >&2; exit 7")
			start.Stdin = true
			c.protocols = []string{protocol}
			s := c.newSession(stream.Settings{Stdin: strings.NewReader(input), Stdout: &stdout, Stderr: &stderr}, start)
			stop := c.cutter(s, 2)
			err := c.run(s)
			stop()
			var exit *stream.ExitError
			if !errors.As(err, &exit) || exit.Code != 7 {
				t.Errorf("got %v, want exit code 7", err)
			}
			if stdout.String() != input || stderr.String() != "error\n" {
				t.Errorf("stdout has %d bytes, want %d; stderr %q", stdout.Len(), len(input), &stderr)
			}
		})
	}
}

// The output of a command, with the agent and without it.
func BenchmarkOutput(b *testing.B) {
	const size = 200 << 20
	command := []string{"head", "-c", fmt.Sprint(size), "/dev/zero"}
	run := func(b *testing.B, session func(c *container, set stream.Settings) interface{ Run(context.Context) error }) {
		c := newContainer(b)
		b.SetBytes(size)
		for b.Loop() {
			var n counter
			if err := session(c, stream.Settings{Stdout: &n}).Run(b.Context()); err != nil || n != size {
				b.Fatalf("%v after %d bytes", err, n)
			}
		}
	}
	b.Run("plain", func(b *testing.B) {
		run(b, func(c *container, set stream.Settings) interface{ Run(context.Context) error } {
			d := &containerDriver{container: c}
			return stream.NewSession(plainDriver{d, command}, nil, set)
		})
	})
	b.Run("agent", func(b *testing.B) {
		dirs := []string{b.TempDir()} // the agent is uploaded once
		run(b, func(c *container, set stream.Settings) interface{ Run(context.Context) error } {
			start := newStart(b, command...)
			start.Dirs = dirs
			return c.newSession(set, start)
		})
	})
}

// counter counts the bytes that are written to it.
type counter int

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// plainDriver runs a command without an agent.
type plainDriver struct {
	*containerDriver
	command []string
}

func (d plainDriver) Dial(ctx context.Context) (*stream.Conn, error) { return d.dial(ctx, d.command) }
