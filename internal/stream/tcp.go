package stream

import (
	"context"
	"net"
	"net/http/httptrace"
	"reflect"
	"sync/atomic"
	"syscall"
	"time"
)

// tcpState is what the kernel knows about the packets that it has sent on a
// connection.
type tcpState struct {
	known    bool          // the kernel reports the following fields
	unacked  bool          // data or a window probe was sent repeatedly and is not acknowledged
	sinceAck time.Duration // the time since the last acknowledgement
	resends  uint32        // the number of retransmitted packets
}

// tcpConn gives access to the kernel's state of a connection. The zero value
// has no connection, so nothing is known.
type tcpConn struct {
	raw atomic.Pointer[syscall.RawConn]
}

// traced returns a context for an HTTP request. The request sets c to the
// connection that it uses.
func (c *tcpConn) traced(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) { c.set(info.Conn) },
	})
}

// set sets c to a connection, which may be wrapped.
func (c *tcpConn) set(conn net.Conn) {
	if tcp, ok := unwrapConn(conn).(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			c.raw.Store(&raw)
		}
	}
}

// unwrapConn returns the connection without the wrappers of TLS and of
// client-go. If there is a credential plugin, client-go wraps each connection,
// to be able to close all of them. The type of that wrapper is not exported,
// but it embeds a net.Conn.
func unwrapConn(conn net.Conn) net.Conn {
	for {
		if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
			conn = t.NetConn()
			continue
		}
		v := reflect.Indirect(reflect.ValueOf(conn))
		if v.Kind() != reflect.Struct {
			return conn
		}
		field := v.FieldByName("Conn")
		if !field.IsValid() || !field.CanInterface() {
			return conn
		}
		inner, ok := field.Interface().(net.Conn)
		if !ok {
			return conn
		}
		conn = inner
	}
}
