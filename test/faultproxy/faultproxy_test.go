package faultproxy

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// silence is how long a test waits before it concludes that nothing arrives.
const silence = 80 * time.Millisecond

// testTimeout is how long a test waits for what must happen.
const testTimeout = 30 * time.Second

// server accepts connections, which the test uses directly.
type server struct {
	addr  string
	conns chan *net.TCPConn
}

func newServer(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String(), conns: make(chan *net.TCPConn, 16)}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.conns <- c.(*net.TCPConn)
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-ended
		close(s.conns)
		for c := range s.conns {
			_ = c.Close()
		}
	})
	return s
}

func (s *server) next(t *testing.T) *net.TCPConn {
	t.Helper()
	select {
	case c := <-s.conns:
		t.Cleanup(func() { _ = c.Close() })
		return c
	case <-time.After(testTimeout):
		t.Fatal("the proxy does not connect")
		return nil
	}
}

func start(t *testing.T, target string) *Proxy {
	t.Helper()
	p, err := Start(Config{Target: target})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func dial(t *testing.T, p *Proxy) *net.TCPConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", p.Addr(), testTimeout)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.TCPConn)
}

// pair returns a client and the server's end of its connection, with a proxy
// between them.
func pair(t *testing.T) (p *Proxy, client, srv *net.TCPConn) {
	t.Helper()
	s := newServer(t)
	p = start(t, s.addr)
	client = dial(t, p)
	srv = s.next(t)
	send(t, client, "hello") // so that client, proxy and server are connected
	expect(t, srv, "hello")
	return p, client, srv
}

func send(t *testing.T, c *net.TCPConn, text string) {
	t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c *net.TCPConn, text string) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(testTimeout))
	got := make([]byte, len(text))
	if n, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v; want %q", got[:n], err, text)
	}
}

func expectSilence(t *testing.T, c *net.TCPConn) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(silence))
	n, err := c.Read(make([]byte, 1))
	if n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %d bytes and %v, want silence", n, err)
	}
}

// readAll reads to the end, and returns the bytes and how the connection ended:
// io.EOF, ECONNRESET or another error.
func readAll(t *testing.T, c *net.TCPConn) ([]byte, error) {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(testTimeout))
	var got bytes.Buffer
	_, err := io.Copy(&got, c)
	switch {
	case err == nil:
		err = io.EOF
	case errors.Is(err, syscall.ECONNRESET):
		err = syscall.ECONNRESET
	}
	return got.Bytes(), err
}

func expectEnding(t *testing.T, c *net.TCPConn, want error) {
	t.Helper()
	if got, err := readAll(t, c); len(got) != 0 || !errors.Is(err, want) {
		t.Fatalf("got %d bytes and %v, want %v", len(got), err, want)
	}
}

func (e Ending) error() error {
	if e == FIN {
		return io.EOF
	}
	return syscall.ECONNRESET
}

func forEachEnding(t *testing.T, f func(t *testing.T, by Ending)) {
	t.Run("RST", func(t *testing.T) { f(t, RST) })
	t.Run("FIN", func(t *testing.T) { f(t, FIN) })
}

func TestProxy_NoFaults(t *testing.T) {
	p, client, srv := pair(t)
	data := make([]byte, 3<<20)
	if _, err := rand.Read(data); err != nil {
		t.Fatal(err)
	}
	echoed := make(chan error, 1)
	go func() {
		_, err := io.Copy(srv, srv)
		echoed <- errors.Join(err, srv.CloseWrite())
	}()
	sent := make(chan error, 1)
	go func() {
		_, err := client.Write(data)
		sent <- errors.Join(err, client.CloseWrite()) // half-closed: the answer must still arrive
	}()
	got, err := readAll(t, client)
	if !errors.Is(err, io.EOF) || !bytes.Equal(got, data) {
		t.Fatalf("received %d of %d bytes, then %v", len(got), len(data), err)
	}
	if err := errors.Join(<-sent, <-echoed); err != nil {
		t.Fatal(err)
	}
	n := int64(len(data))
	if s := p.Stats(); s.Accepted != 1 || s.Bytes != [2]int64{n + int64(len("hello")), n} {
		t.Errorf("the stats are %+v", s)
	}
}

func TestStats_EndedConnection(t *testing.T) {
	p, client, srv := pair(t)
	_ = client.Close()
	expectEnding(t, srv, io.EOF)
	_ = srv.Close()
	for deadline := time.Now().Add(testTimeout); p.Stats().Open != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is still counted as open")
		}
	}
}

func TestProxy_PassesReset(t *testing.T) {
	_, client, srv := pair(t)
	_ = srv.SetLinger(0)
	_ = srv.Close()
	expectEnding(t, client, syscall.ECONNRESET)
}

func TestProxy_NoServer(t *testing.T) {
	p := start(t, "127.0.0.1:1") // no server listens there
	client, err := net.Dial("tcp", p.Addr())
	if errors.Is(err, syscall.ECONNRESET) {
		return // the reset came before dial returned
	}
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	expectEnding(t, client.(*net.TCPConn), syscall.ECONNRESET)
}

func TestDelay_NoRateLimit(t *testing.T) {
	p, client, srv := pair(t)
	const delay = 300 * time.Millisecond // large, so that a pause of the machine is not mistaken for 50 delays
	p.Delay(ToServer, delay)
	began := time.Now()
	for range 50 {
		send(t, client, "x")
		time.Sleep(time.Millisecond) // so that each byte is sent separately
	}
	expect(t, srv, "x")
	if took := time.Since(began); took < delay {
		t.Errorf("the first byte took %s, less than the delay", took)
	}
	for range 49 {
		expect(t, srv, "x")
	}
	if took := time.Since(began); took > 49*delay {
		t.Errorf("the delays add up: %s", took)
	}
	send(t, srv, "y") // the other direction is not delayed
	expect(t, client, "y")
}

func TestRate(t *testing.T) {
	p, client, srv := pair(t)
	p.Rate(ToClient, 100_000)
	began := time.Now()
	want := string(bytes.Repeat([]byte("a"), 30_000))
	send(t, srv, want)
	expect(t, client, want)
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("30 kB at 100 kB/s took %s", took)
	}
	p.Rate(ToClient, 1) // the rest would take hours
	send(t, srv, want)
	expect(t, client, "a")
	p.Rate(ToClient, 0)
	expect(t, client, want[1:])
}

func TestBlackHole_HoldsBytesAndEnds(t *testing.T) {
	p, client, srv := pair(t)
	p.BlackHole(ToClient, true)
	send(t, srv, "held")
	_ = srv.CloseWrite()
	expectSilence(t, client)
	send(t, client, "the other way")
	expect(t, srv, "the other way")
	p.BlackHole(ToClient, false)
	expect(t, client, "held")
	expectEnding(t, client, io.EOF)
}

func TestBlackHole_HidesReset(t *testing.T) {
	p, client, srv := pair(t)
	p.BlackHole(ToClient, true)
	_ = srv.SetLinger(0)
	_ = srv.Close()
	expectSilence(t, client)
	send(t, client, "to nobody") // the server answers with a reset, which is held as well
	expectSilence(t, client)
	p.BlackHole(ToClient, false)
	expectEnding(t, client, syscall.ECONNRESET)
}

func TestBlackHole_NewClients(t *testing.T) {
	s := newServer(t)
	p := start(t, s.addr)
	p.BlackHole(ToServer, true)
	client := dial(t, p)
	send(t, client, "hello")
	expectSilence(t, client)
	select {
	case <-s.conns:
		t.Fatal("the server has been connected to")
	default:
	}
	p.BlackHole(ToServer, false)
	expect(t, s.next(t), "hello")
}

func TestCut_BothSides(t *testing.T) {
	forEachEnding(t, func(t *testing.T, by Ending) {
		p, client, srv := pair(t)
		if n := p.Cut(Both, by); n != 1 {
			t.Errorf("%d connections were cut", n)
		}
		expectEnding(t, client, by.error())
		expectEnding(t, srv, by.error())
	})
}

func TestCut_OneSide(t *testing.T) {
	forEachEnding(t, func(t *testing.T, by Ending) {
		for _, who := range []Side{Client, Server} {
			p, told, silent := pair(t)
			other := Server
			if who == Server {
				told, silent, other = silent, told, Client
			}
			p.Cut(who, by)
			expectEnding(t, told, by.error())
			expectSilence(t, silent)
			send(t, silent, "are you there?")
			expectSilence(t, silent)
			p.Cut(other, RST)
			expectEnding(t, silent, syscall.ECONNRESET)
		}
	})
}

func TestCut_FINWhileSending(t *testing.T) {
	p, client, _ := pair(t)
	p.Cut(Both, FIN)
	for range 100 {
		send(t, client, "still talking")
	}
	expectEnding(t, client, io.EOF)
	send(t, client, "and again")
}

func TestCutAfter_Exact(t *testing.T) {
	forEachEnding(t, func(t *testing.T, by Ending) {
		p, client, srv := pair(t)
		send(t, srv, "before")
		expect(t, client, "before")
		p.CutAfter(ToClient, 40_000, by)
		_, _ = srv.Write(make([]byte, 100_000))
		got, err := readAll(t, client)
		if len(got) != 40_000 || !errors.Is(err, by.error()) {
			t.Errorf("received %d bytes, then %v", len(got), err)
		}
	})
}

func TestCutAfter_NewConnections(t *testing.T) {
	s := newServer(t)
	p := start(t, s.addr)
	p.CutAfter(ToServer, 5, FIN)
	for range 2 {
		client := dial(t, p)
		send(t, client, "0123456789")
		srv := s.next(t)
		expect(t, srv, "01234")
		expectEnding(t, srv, io.EOF)
	}
	p.CutAfter(ToServer, -1, FIN)
	send(t, dial(t, p), "0123456789")
	expect(t, s.next(t), "0123456789")
}

func TestCutAfter_Zero(t *testing.T) {
	p, client, srv := pair(t)
	p.CutAfter(ToServer, 0, RST)
	expectEnding(t, client, syscall.ECONNRESET)
	expectEnding(t, srv, syscall.ECONNRESET)
}

func TestIdleTimeout(t *testing.T) {
	forEachEnding(t, func(t *testing.T, by Ending) {
		const idle = 400 * time.Millisecond
		client, srv, last := keepBusy(t, idle, by)
		for client == nil {
			client, srv, last = keepBusy(t, idle, by)
		}
		expectEnding(t, client, by.error())
		if after := time.Since(last); after < idle {
			t.Errorf("it was cut after %s of silence", after)
		}
		expectEnding(t, srv, by.error())
	})
}

// keepBusy keeps a connection busy for twice the idle timeout. It returns the
// connection, and when it was last busy. If the machine was suspended for
// longer than the timeout, the proxy may cut the connection; client is then
// nil.
func keepBusy(t *testing.T, idle time.Duration, by Ending) (client, srv *net.TCPConn, last time.Time) {
	t.Helper()
	last = time.Now()
	p, client, srv := pair(t)
	p.IdleTimeout(idle, by)
	got := make([]byte, 1)
	for began := time.Now(); time.Since(began) < 2*idle; time.Sleep(idle / 20) {
		now := time.Now()
		_, sent := client.Write([]byte("x"))
		_ = srv.SetReadDeadline(now.Add(testTimeout))
		if _, err := srv.Read(got); errors.Join(sent, err) != nil {
			if after := time.Since(last); after < idle {
				t.Fatalf("%v after %s", errors.Join(sent, err), after)
			}
			return nil, nil, last
		}
		last = now
	}
	return client, srv, last
}

func TestStopAccepting(t *testing.T) {
	s := newServer(t)
	p := start(t, s.addr)
	before := dial(t, p)
	beforeSrv := s.next(t)
	p.StopAccepting(true)
	client := dial(t, p)
	send(t, client, "anyone?")
	expectSilence(t, client)
	send(t, before, "I go on")
	expect(t, beforeSrv, "I go on")
	p.StopAccepting(false)
	expect(t, s.next(t), "anyone?")
}

func TestRefuse_SameAddress(t *testing.T) {
	s := newServer(t)
	p := start(t, s.addr)
	before := dial(t, p)
	beforeSrv := s.next(t)
	if err := p.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if c, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("got %v, %v", c, err)
	}
	send(t, before, "I go on")
	expect(t, beforeSrv, "I go on")
	if err := p.Refuse(false); err != nil {
		t.Fatal(err)
	}
	send(t, dial(t, p), "hello again")
	expect(t, s.next(t), "hello again")
}

func TestHeal(t *testing.T) {
	s := newServer(t)
	p := start(t, s.addr)
	p.Delay(ToServer, time.Hour)
	p.Rate(ToClient, 1)
	p.BlackHole(ToServer, true)
	p.IdleTimeout(time.Hour, RST)
	p.CutAfter(ToClient, 3, RST)
	p.StopAccepting(true)
	if err := p.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if err := p.Heal(); err != nil {
		t.Fatal(err)
	}
	client := dial(t, p)
	srv := s.next(t)
	send(t, client, "to the server")
	expect(t, srv, "to the server")
	send(t, srv, "to the client")
	expect(t, client, "to the client")
}

func TestStart_OnlyLoopback(t *testing.T) {
	for _, cfg := range []Config{
		{Target: "192.0.2.1:80"},
		{Target: "example.com:80"},
		{Target: "127.0.0.1:80", Listen: ":0"},
		{Target: "127.0.0.1:80", Listen: "0.0.0.0:0"},
	} {
		if p, err := Start(cfg); err == nil {
			t.Errorf("%+v was allowed", cfg)
			_ = p.Close()
		}
	}
	p, err := Start(Config{Target: "192.0.2.1:80", Remote: true})
	if err != nil {
		t.Fatal(err)
	}
	_ = p.Close()
}

func TestClose_EveryState(t *testing.T) {
	s := newServer(t)
	for name, spoil := range map[string]func(p *Proxy){
		"healthy":    func(*Proxy) {},
		"delayed":    func(p *Proxy) { p.Delay(ToServer, time.Hour) },
		"slow":       func(p *Proxy) { p.Rate(ToServer, 1) },
		"black hole": func(p *Proxy) { p.BlackHole(ToServer, true) },
		"half cut":   func(p *Proxy) { p.Cut(Client, RST) },
		"cut by FIN": func(p *Proxy) { p.Cut(Both, FIN) },
		"deaf":       func(p *Proxy) { p.StopAccepting(true) },
		"closed":     func(p *Proxy) { _ = p.Refuse(true) },
		"dropping":   func(p *Proxy) { _ = p.DropPackets(true) },
		"drop open":  func(p *Proxy) { _ = p.DropOpen() },
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, s.addr)
			client := dial(t, p)
			s.next(t)
			send(t, client, "12345")
			spoil(p)
			_, _ = io.WriteString(client, "12345")
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if n := p.Stats().Open; n != 0 {
				t.Errorf("%d connections are open", n)
			}
			if err := p.Close(); err != nil {
				t.Errorf("closing again: %v", err)
			}
		})
	}
}
