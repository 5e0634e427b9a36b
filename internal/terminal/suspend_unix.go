//go:build unix

package terminal

import (
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// suspendGrace is how long Suspend waits to be stopped and continued: the kernel does not stop a process that nobody could continue. Time
// does not pass for it while it is stopped.
const suspendGrace = time.Second

// Suspend stops this process as Ctrl-Z does, and returns when it is continued. The terminal must have been restored.
func Suspend() error {
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	if err := unix.Kill(unix.Getpid(), unix.SIGTSTP); err != nil {
		return err
	}
	select {
	case <-continued:
	case <-time.After(suspendGrace):
	}
	return nil
}

// OnContinue calls again each time when this process is continued after it was stopped: another program has had the terminal meanwhile. Stop
// ends that, and waits for a call that is under way.
func (t *Terminal) OnContinue(again func()) (stop func()) {
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
				again()
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
