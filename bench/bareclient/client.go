// Package bareclient runs one command in a container over a WebSocket, and does
// nothing else: one TLS connection, one request, one frame for each message.
// There is no kubeconfig, no request for the pod, no terminal, no keepalive and
// no retry. Benchmarks use it as the limit of what a client can reach on the
// same connection.
//
// It trusts the server: it is not a client for other purposes.
package bareclient

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// Server is the address of an API server, and how to log in.
type Server struct {
	Host  string // host:port
	Name  string // the name in the server's certificate; "": the host of Host
	CA    []byte // PEM
	Token string // a bearer token
}

// Exec is the command to run.
type Exec struct {
	Namespace, Pod, Container string
	Command                   []string
	Stdin, TTY                bool
	Protocol                  string // V4 or V5
}

// The subprotocols. With V4, stdin cannot be closed.
const (
	V4 = "v4.channel.k8s.io"
	V5 = "v5.channel.k8s.io"
)

// The channels of the subprotocols.
const (
	chStdin  = 0
	chStdout = 1
	chStderr = 2
	chStatus = 3
	chClose  = 255
)

// Conn is the connection of a running command. Copy may be called by one
// goroutine, and Write and CloseStdin by another one.
type Conn struct {
	tls *tls.Conn
	in  *bufio.Reader
	out []byte // the frame that Write sends
}

// Dial starts a command.
func Dial(ctx context.Context, s Server, e Exec) (*Conn, error) {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CA) {
		return nil, errors.New("the CA is not PEM")
	}
	name := s.Name
	if name == "" {
		host, _, err := net.SplitHostPort(s.Host)
		if err != nil {
			return nil, err
		}
		name = host
	}
	d := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name, NextProtos: []string{"http/1.1"}}}
	conn, err := d.DialContext(ctx, "tcp", s.Host)
	if err != nil {
		return nil, err
	}
	c := &Conn{tls: conn.(*tls.Conn), in: bufio.NewReaderSize(conn, 64<<10)}
	if err := c.upgrade(s, e); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return c, nil
}

// upgrade makes the handshake of the WebSocket.
func (c *Conn) upgrade(s Server, e Exec) error {
	key := make([]byte, 16)
	_, _ = rand.Read(key) // never fails
	request := fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bare\r\nAuthorization: Bearer %s\r\n"+
		"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n",
		e.path(), s.Host, s.Token, base64.StdEncoding.EncodeToString(key), e.Protocol)
	if _, err := io.WriteString(c.tls, request); err != nil {
		return err
	}
	// The answer is parsed by hand: http.ReadResponse would link net/http's client.
	status, err := c.in.ReadString('\n')
	if err != nil {
		return err
	}
	for line := ""; strings.TrimSpace(line) != "" || line == ""; {
		if line, err = c.in.ReadString('\n'); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(status, fmt.Sprintf("HTTP/1.1 %d ", http.StatusSwitchingProtocols)) {
		return fmt.Errorf("the server answered %q", strings.TrimSpace(status))
	}
	return nil
}

// path returns the path and the query of the request.
func (e Exec) path() string {
	query := url.Values{"command": e.Command, "container": {e.Container}, "stdout": {"true"}}
	if e.Stdin {
		query.Set("stdin", "true")
	}
	if e.TTY {
		query.Set("tty", "true")
	} else {
		query.Set("stderr", "true")
	}
	return "/api/v1/namespaces/" + e.Namespace + "/pods/" + e.Pod + "/exec?" + query.Encode()
}

// header is the size of the header of a client's frame: two bytes, the length
// in eight, and the mask.
const header = 14

// MaxPayload is the largest payload of Write with which the frame fills two TLS
// records.
const MaxPayload = 32<<10 - header - 1

// Write sends p as one message of stdin.
func (c *Conn) Write(p []byte) (int, error) {
	if err := c.send(chStdin, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseStdin closes the stdin of the command. With V4, it has no effect.
func (c *Conn) CloseStdin() error { return c.send(chClose, []byte{chStdin}) }

// send sends one binary message in one frame. The mask is zero, which leaves
// the payload unchanged.
func (c *Conn) send(channel byte, p []byte) error {
	size := len(p) + 1
	c.out = append(c.out[:0], 0x82)
	if size < 126 {
		c.out = append(c.out, 0x80|byte(size))
	} else {
		c.out = binary.BigEndian.AppendUint64(append(c.out, 0x80|127), uint64(size))
	}
	c.out = append(c.out, 0, 0, 0, 0, channel)
	c.out = append(c.out, p...)
	_, err := c.tls.Write(c.out)
	return err
}

// Copy copies the output of the command until its end. It returns nil if the
// command has succeeded.
func (c *Conn) Copy(stdout, stderr io.Writer) error {
	var status []byte
	buf := make([]byte, 64<<10)
	channel := -1 // of the current message; -1: the next byte is the channel
	for {
		fin, opcode, size, err := c.frame()
		if err != nil {
			return err
		}
		if opcode >= 0x8 { // a control frame: close, ping or pong
			if opcode == 0x8 {
				return outcome(status)
			}
			if _, err := io.CopyN(io.Discard, c.in, size); err != nil {
				return err
			}
			continue
		}
		for size > 0 {
			n, err := c.in.Read(buf[:min(size, int64(len(buf)))])
			if err != nil {
				return err
			}
			size -= int64(n)
			p := buf[:n]
			if channel < 0 {
				channel, p = int(p[0]), p[1:]
			}
			switch channel {
			case chStdout:
				_, err = stdout.Write(p)
			case chStderr:
				_, err = stderr.Write(p)
			case chStatus:
				status = append(status, p...)
			}
			if err != nil {
				return err
			}
		}
		if fin {
			channel = -1
		}
		if fin && len(status) > 0 {
			return outcome(status)
		}
	}
}

// frame reads the header of a frame.
func (c *Conn) frame() (fin bool, opcode byte, size int64, err error) {
	var head [8]byte
	if _, err := io.ReadFull(c.in, head[:2]); err != nil {
		return false, 0, 0, err
	}
	fin, opcode, size = head[0]&0x80 != 0, head[0]&0xf, int64(head[1]&0x7f)
	switch size {
	case 126:
		_, err = io.ReadFull(c.in, head[:2])
		size = int64(binary.BigEndian.Uint16(head[:2]))
	case 127:
		_, err = io.ReadFull(c.in, head[:8])
		size = int64(binary.BigEndian.Uint64(head[:8]))
	}
	return fin, opcode, size, err
}

// outcome returns nil if the Status reports success.
func outcome(status []byte) error {
	var s struct{ Status, Message string }
	if err := json.Unmarshal(status, &s); err != nil {
		return fmt.Errorf("no status: %w", err)
	}
	if s.Status != "Success" {
		return errors.New(s.Message)
	}
	return nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.tls.NetConn().Close() }
