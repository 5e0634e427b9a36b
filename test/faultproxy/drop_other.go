//go:build !linux

package faultproxy

import (
	"errors"
	"net"
	"syscall"
	"time"
)

func setDrop(_ syscall.Conn, on bool) error {
	if on {
		return errors.New("packets can be dropped only on Linux")
	}
	return nil
}

func waitAcknowledged(*net.TCPConn, time.Time) {}
