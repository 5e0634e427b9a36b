//go:build unix

package terminal

import (
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// suspendTimeout limits how long Suspend waits for SIGCONT if the kernel has
// not stopped the process. The kernel does not stop a process of an orphaned
// process group, because no shell could continue it. While the process is
// stopped, the limit has no effect.
const suspendTimeout = time.Second

// Suspend stops this process as Ctrl-Z does, and returns when it is continued.
// The caller must restore the terminal first. If the process cannot be stopped,
// because no shell could continue it, Suspend returns nil after 1 s.
func Suspend() error {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	if err := unix.Kill(unix.Getpid(), unix.SIGTSTP); err != nil {
		return err
	}
	select {
	case <-continued:
	case <-time.After(suspendTimeout):
	}
	return nil
}

// OnContinue calls f, in a goroutine, each time the process is continued after
// it was stopped, because another program may have changed the terminal
// meanwhile. stop ends the calls of f and waits for a call in progress. stop
// may be called more than once.
func (t *Terminal) OnContinue(f func()) (stop func()) {
	signals := make(chan os.Signal, 1)
	quit, done := make(chan struct{}), make(chan struct{})
	signal.Notify(signals, unix.SIGCONT)
	go func() {
		defer t.RestoreOnPanic()
		defer close(done)
		defer signal.Stop(signals)
		for {
			select {
			case <-signals:
				f()
			case <-quit:
				return
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(quit)
		<-done
	})
}
