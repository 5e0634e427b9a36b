//go:build !unix

package contract

import (
	"os"
	"time"
)

// freeze only sleeps: processes cannot be stopped on this system.
func freeze(_ *os.Process, d time.Duration) error {
	time.Sleep(d)
	return nil
}
