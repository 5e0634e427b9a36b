//go:build unix

package terminal

import (
	"errors"
	"os"
	"os/signal"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// suspendTimeout limits how long Suspend waits for SIGCONT if the kernel has
// not stopped the process. The kernel does not stop the processes of an
// orphaned process group, because no shell could continue them. The limit does
// not apply while the process is stopped.
const suspendTimeout = time.Second

// errNoJobControl means that no shell would continue the process.
var errNoJobControl = errors.New("not suspended: kshell was not started by a shell with job control")

// Suspend stops the process group of this process, as Ctrl-Z in a terminal
// does, and returns when the group is continued. It stops the whole group,
// which may include a script that has started this process, because the user's
// shell shows its prompt only when all processes of the job are stopped. The
// caller must restore the terminal first.
//
// Suspend returns an error if no shell would continue the group: at once if
// this process or an ancestor in the group ignores SIGTSTP, and after 1 s if
// the group is orphaned.
func Suspend() error {
	if signal.Ignored(unix.SIGTSTP) || parentsIgnore(unix.SIGTSTP) {
		return errNoJobControl
	}
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	if err := unix.Kill(0, unix.SIGTSTP); err != nil {
		return err
	}
	for range 2 { // after a stop, the first timer may expire shortly before SIGCONT is received
		select {
		case <-continued:
			return nil
		case <-time.After(suspendTimeout / 2):
		}
	}
	return errNoJobControl
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
