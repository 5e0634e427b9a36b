package stream

import (
	"time"

	"golang.org/x/sys/unix"
)

// unanswered is the number of retransmissions or window probes without an
// acknowledgement after which tcpState.unacked is set. One is not enough,
// because a receiver whose buffer is full may drop a packet.
const unanswered = 2

// state reads the state from the kernel.
func (c *tcpConn) state() (s tcpState) {
	raw := c.raw.Load()
	if raw == nil {
		return s
	}
	_ = (*raw).Control(func(fd uintptr) { // an error means that the connection is closed
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		s = tcpState{
			known: true, unacked: info.Unacked > 0 && info.Retransmits >= unanswered || info.Probes >= unanswered,
			sinceAck: time.Duration(info.Last_ack_recv) * time.Millisecond, resends: info.Total_retrans,
		}
	})
	return s
}
