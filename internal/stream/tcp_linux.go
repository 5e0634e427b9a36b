package stream

import (
	"time"

	"golang.org/x/sys/unix"
)

// unanswered is the number of packets without an acknowledgement after which
// packets count as not acknowledged. A single one may be dropped by a receiver
// whose buffer is full.
const unanswered = 2

// state requests the state from the kernel.
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
