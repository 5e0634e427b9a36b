package remote

import (
	"io"
	"time"

	"kshell/internal/cleanup"
	"kshell/internal/notice"
)

// Env holds what the commands of a process share. It is a value: a copy may
// have other streams or another Printer.
type Env struct {
	In       io.Reader
	Out, Err io.Writer
	Notice   *notice.Printer
	Cleanup  *cleanup.Registry
	Server   *ServerState // never nil
	Limits   Limits
}

// Limits are the time limits of operations that the user waits for. A zero
// value means the default, which is at the end of each field's comment.
type Limits struct {
	Slow      time.Duration // until a message says what kshell is waiting for; 5 s
	Rights    time.Duration // of the requests for the user's rights, after a refusal; 3 s
	Terminate time.Duration // of a command that ends remote processes after a session; 2 s
	Status    time.Duration // of one request for the pod's status after a session; 500 ms
	Reason    time.Duration // until the status shows why the container has ended; 2 s
	Verify    time.Duration // of the check whether a shell has ended, after a success that may be false; 2 s
	Retry     time.Duration // between two attempts of a request, see RetryRefused; 1 s
}

// defaultTo sets *d to value if *d is 0.
func defaultTo(d *time.Duration, value time.Duration) {
	if *d == 0 {
		*d = value
	}
}

// withDefaults returns l with defaults in place of zero values.
func (l Limits) withDefaults() Limits {
	defaultTo(&l.Slow, 5*time.Second)
	defaultTo(&l.Rights, 3*time.Second)
	defaultTo(&l.Terminate, 2*time.Second)
	defaultTo(&l.Status, 500*time.Millisecond)
	defaultTo(&l.Reason, 2*time.Second)
	defaultTo(&l.Verify, 2*time.Second)
	defaultTo(&l.Retry, time.Second)
	return l
}
