package remote

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/stream"
)

func TestAttemptObserver(t *testing.T) {
	env, printed := recordedEnv()
	o := &attemptObserver{notice: env.Notice}
	for _, e := range []stream.Event{
		stream.Connecting{Attempt: 1},
		stream.Unanswered{For: 5 * time.Second}, // Session itself prints a message
		stream.Failed{Err: &stream.DialError{Server: "https://server", Err: errors.New("refused")}},
		stream.Waiting{Delay: 500 * time.Millisecond},
		stream.Started{},
		stream.Overdue{For: 5 * time.Second},
		stream.Overdue{For: 6 * time.Second},
		stream.Overdue{},
		stream.Overdue{For: 8 * time.Second, NetworkOut: true},
		stream.Overdue{For: 9 * time.Second, NetworkOut: true},
		stream.Overdue{For: 10 * time.Second},
		stream.Overdue{For: 0},
		stream.Failed{Err: &stream.LostError{Err: errors.New("reset")}},
		stream.Waiting{Delay: 2 * time.Second},
		stream.Connecting{Attempt: 3},
		stream.Unanswered{For: 5 * time.Second},
		stream.Unanswered{For: 6 * time.Second},
		stream.Failed{Err: &stream.LostError{Err: errors.New("reset")}},
		stream.Waiting{Delay: 2 * time.Second},
		stream.Connecting{Attempt: 4},
		stream.Unanswered{For: 5 * time.Second},
		stream.Unanswered{For: 6 * time.Second},
	} {
		o.observe(e)
	}
	want := `kshell: warning: cannot connect to https://server: refused; trying again in 1 s
kshell: no reply for 5 s
kshell: the server answers again
kshell: network out: no reply for 8 s (the connection is kept for up to 120 s)
kshell: the server answers again
kshell: warning: connection lost: reset; the command is run again in 2 s
kshell: connecting: no answer for 5 s
kshell: warning: connection lost: reset; the command is run again in 2 s
kshell: connecting: no answer for 5 s
`
	if diff := cmp.Diff(want, printed.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
}
