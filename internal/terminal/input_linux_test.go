package terminal

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A signal, such as SIGWINCH, must not end a Read with EINTR.
func TestInput_Signal(t *testing.T) {
	_, tty := openPty(t)
	in := openInput(t, tty)
	threads, result := make(chan int, 1), make(chan readResult, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		threads <- unix.Gettid()
		_, err := in.Read(make([]byte, 1))
		result <- readResult{err: err}
	}()
	thread := <-threads
	waitForRead(t, in)
	for start := time.Now(); time.Since(start) < 50*time.Millisecond; { // most signals arrive in the system call
		if err := unix.Tgkill(unix.Getpid(), thread, unix.SIGURG); err != nil {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	mustCancel(t, in)
	if got := <-result; !errors.Is(got.err, errCanceled) {
		t.Errorf("Read = %v, want errCanceled", got.err)
	}
}
