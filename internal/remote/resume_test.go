package remote

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/agent"
	"kshell/internal/cleanup"
	"kshell/internal/outcome"
	"kshell/internal/resume"
	"kshell/internal/stream"
)

func TestNotify(t *testing.T) {
	env, printed := recordedEnv()
	c := &Command{env: env}
	for _, n := range []resume.Notice{
		resume.Joined{Others: 1},
		resume.Joined{Others: 2},
		resume.Presence{Name: "anna\x1b[31m@laptop", Attached: true},
		resume.Presence{Name: "anna@laptop"},
		resume.Dropped{Bytes: 1234},
		resume.OtherTerm{Term: "xterm-\x07ghostty"},
	} {
		c.notify(n)
	}
	want := `kshell: 1 other client is attached
kshell: 2 other clients are attached
kshell: anna\x1b[31m@laptop attached (the name is not verified)
kshell: anna@laptop left (the name is not verified)
kshell: warning: 1234 bytes of older output are missing here: the session agent did not keep them
kshell: warning: the session was started with TERM=xterm-\aghostty: programs may be displayed incorrectly here
`
	if diff := cmp.Diff(want, printed.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
}

// A command of the agent is not run again.
func TestAttemptObserver_Resumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		env, printed := recordedEnv()
		o := &attemptObserver{notice: env.Notice, resumes: true}
		o.connected()
		o.observe(stream.Failed{Err: &stream.LostError{Err: errors.New("reset")}})
		o.observe(stream.Connecting{Attempt: 2})
		time.Sleep(3 * time.Second)
		o.observe(stream.Failed{Err: &stream.LostError{Err: errors.New("reset again")}})
		o.observe(stream.Waiting{Delay: 2 * time.Second})
		time.Sleep(2 * time.Second)
		o.connected()
		o.connected()
		want := `kshell: warning: connection lost: reset again; trying again in 2 s
kshell: connected again after 5 s: the command continues
`
		if diff := cmp.Diff(want, printed.String()); diff != "" {
			t.Errorf("printed (-want +got):\n%s", diff)
		}
	})
}

func TestSignalFor(t *testing.T) {
	interrupted := cleanup.SignalError{Signal: syscall.SIGINT}
	for _, tt := range []struct {
		name    string
		cause   error
		options Options
		want    uint8
	}{
		{"interrupted", interrupted, Options{}, 2},
		{"terminated", cleanup.SignalError{Signal: syscall.SIGTERM}, Options{}, 15},
		{"terminal closed", cleanup.SignalError{Signal: syscall.SIGHUP}, Options{}, 1},
		{"timeout", outcome.TimeoutError{After: time.Second}, Options{}, 15},
		{"other cause", errors.New("x"), Options{}, 0},
		{"kept running", interrupted, Options{KeepRunning: true}, 0},
		{"attached only", interrupted, Options{Attach: &resume.Info{}}, 0},
	} {
		c := &Command{options: tt.options}
		if got := c.signalFor(tt.cause); got != tt.want {
			t.Errorf("%s: signal %d, want %d", tt.name, got, tt.want)
		}
	}
}

// A client that was never accepted ends the session that it has started, but not
// a session to which it could not attach.
func TestEnds_NeverAccepted(t *testing.T) {
	for _, err := range []error{
		&agent.RefusedError{Refused: agent.Refused{Reason: agent.ReasonTooMany}},
		&stream.LostError{Err: errors.New("reset")},
		cleanup.SignalError{Signal: syscall.SIGINT},
	} {
		for _, tty := range []bool{false, true} {
			starts := &Command{options: Options{TTY: tty}}
			attaches := &Command{options: Options{TTY: tty, Attach: &resume.Info{}}}
			if !starts.ends(t.Context(), err) {
				t.Errorf("%v, TTY %v: the session that was started continues", err, tty)
			}
			if attaches.ends(t.Context(), err) {
				t.Errorf("%v, TTY %v: a failed --attach ends the session", err, tty)
			}
		}
	}
	leaves := &Command{options: Options{TTY: true, Attach: &resume.Info{}}}
	if !leaves.ends(t.Context(), outcome.ErrLeft) {
		t.Error("~. does not end the session")
	}
}

// A command that the agent has ended at a time limit has the exit code of the signal.
func TestExplainEnd_TimeLimit(t *testing.T) {
	env, printed := recordedEnv()
	c := &Command{env: env, resumption: &resumption{
		session: resume.New(nil, nil, stream.Settings{}, resume.Config{ID: "a1", Dir: "/tmp"}),
	}}
	err := c.explainEnd(t.Context(), &resume.LimitError{
		Exit: &stream.ExitError{Code: 129}, Text: "the session is 24 hours old",
	})
	if code := outcome.Classify(err).ExitCode; code != 129 {
		t.Errorf("%v has exit code %d, want 129", err, code)
	}
	want := "kshell: warning: the session agent has ended the command: the session is 24 hours old\n"
	if printed.String() != want {
		t.Errorf("printed %q, want %q", printed, want)
	}
}

// An upload of more than a second is shown once, if the messages are not on a
// terminal.
func TestUploadProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for wait, want := range map[time.Duration]string{
			100 * time.Millisecond: "",
			time.Second:            "kshell: uploading the session agent (press Ctrl-C to cancel)\n",
		} {
			env, printed := recordedEnv()
			c := &Command{env: env}
			u := &uploadProgress{cmd: c, begin: time.Now()}
			for sent := int64(0); sent < 3<<10; sent += 1 << 10 {
				u.update(sent, 3<<10)
				if !c.uploading.Load() {
					t.Error("the upload counts as ended")
				}
				time.Sleep(wait)
			}
			u.update(3<<10, 3<<10)
			if printed.String() != want || c.uploading.Load() {
				t.Errorf("%v: printed %q, want %q", wait, printed, want)
			}
		}
	})
}
