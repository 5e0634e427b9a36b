package faultproxy

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tcpInfo returns the kernel's state of a connection.
func tcpInfo(t *testing.T, c *net.TCPConn) *unix.TCPInfo {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	failed := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO) })
	if err := errors.Join(failed, err); err != nil {
		t.Fatal(err)
	}
	return info
}

func dropPackets(t *testing.T, p *Proxy, on bool) {
	t.Helper()
	if err := p.DropPackets(on); err != nil {
		t.Fatal(err)
	}
}

// waitForRetransmission waits until the kernel has sent unacknowledged bytes
// again.
func waitForRetransmission(t *testing.T, c *net.TCPConn) {
	t.Helper()
	for end := time.Now().Add(testTimeout); ; time.Sleep(10 * time.Millisecond) {
		if info := tcpInfo(t, c); info.Unacked > 0 && info.Total_retrans > 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nothing was sent again: %+v", tcpInfo(t, c))
		}
	}
}

func TestDropPackets_SentAgain(t *testing.T) {
	p, client, srv := pair(t)
	dropPackets(t, p, true)
	send(t, client, "to the server")
	send(t, srv, "to the client")
	waitForRetransmission(t, client)
	waitForRetransmission(t, srv)
	expectSilence(t, client)
	expectSilence(t, srv)
	dropPackets(t, p, false)
	expect(t, srv, "to the server")
	expect(t, client, "to the client")
	send(t, client, "again")
	expect(t, srv, "again")
}

func expectNoConnection(t *testing.T, p *Proxy) {
	t.Helper()
	c, err := net.DialTimeout("tcp", p.Addr(), silence)
	var failed net.Error
	if !errors.As(err, &failed) || !failed.Timeout() {
		t.Fatalf("got %v, %v; want a timeout", c, err)
	}
}

func TestDropPackets_NewClients(t *testing.T) {
	s := newServer(t)
	p := start(t, s.addr)
	dropPackets(t, p, true)
	expectNoConnection(t, p)
	dropPackets(t, p, false)
	send(t, dial(t, p), "hello")
	expect(t, s.next(t), "hello")
}

// A port that Refuse opens again while packets are dropped drops packets, too.
func TestDropPackets_AfterRefuse(t *testing.T) {
	p := start(t, newServer(t).addr)
	if err := p.Refuse(true); err != nil {
		t.Fatal(err)
	}
	dropPackets(t, p, true)
	if err := p.Refuse(false); err != nil {
		t.Fatal(err)
	}
	expectNoConnection(t, p)
	if err := p.Heal(); err != nil {
		t.Fatal(err)
	}
	_ = dial(t, p)
}

// While packets are dropped, the window probes of a sender are not
// acknowledged. This distinguishes an outage from a receiver that does not
// read: the kernel of such a receiver acknowledges window probes.
func TestDropPackets_WindowProbes(t *testing.T) {
	p, client, _ := pair(t)
	_ = client.SetWriteDeadline(time.Now().Add(testTimeout))
	written := make(chan struct{})
	go func() {
		defer close(written)
		_, _ = client.Write(make([]byte, 64<<20))
	}()
	defer func() { _ = client.Close(); <-written }()
	for end := time.Now().Add(testTimeout); tcpInfo(t, client).Notsent_bytes == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the window does not close")
		}
	}
	dropPackets(t, p, true)
	for end := time.Now().Add(testTimeout); ; time.Sleep(10 * time.Millisecond) {
		if info := tcpInfo(t, client); info.Probes > 1 || info.Unacked > 0 && info.Retransmits > 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no window probe and no repetition: %+v", tcpInfo(t, client))
		}
	}
}

func TestDropOpen(t *testing.T) {
	s := newServer(t)
	p := start(t, s.addr)
	client := dial(t, p)
	srv := s.next(t)
	send(t, client, "hello")
	expect(t, srv, "hello")
	if err := p.DropOpen(); err != nil {
		t.Fatal(err)
	}
	send(t, client, "lost")
	send(t, srv, "lost")
	waitForRetransmission(t, client)
	waitForRetransmission(t, srv)
	if err := p.Heal(); err != nil {
		t.Fatal(err)
	}
	before := tcpInfo(t, client).Total_retrans
	for end := time.Now().Add(testTimeout); ; time.Sleep(10 * time.Millisecond) {
		info := tcpInfo(t, client)
		if info.Unacked == 0 {
			t.Fatal("after Heal, the bytes were acknowledged")
		}
		if info.Total_retrans > before+1 { // the first of the two was not acknowledged
			break
		}
		if time.Now().After(end) {
			t.Fatalf("nothing was sent again: %+v", info)
		}
	}
	expectSilence(t, client)
	expectSilence(t, srv)
	send(t, dial(t, p), "again")
	expect(t, s.next(t), "again")
}
