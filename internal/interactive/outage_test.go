package interactive

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"kshell/internal/cleanup"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/remote"
	"kshell/internal/stream"
	"kshell/internal/terminal"
)

// testConsole returns a Console without a terminal, and the buffer that
// receives the messages of that Console.
func testConsole(t *testing.T, o Options) (*Console, *bytes.Buffer) {
	t.Helper()
	var printed bytes.Buffer
	env := remote.Env{
		Out: io.Discard, Err: io.Discard,
		Notice: notice.New(&printed), Cleanup: &cleanup.Registry{}, Server: &remote.ServerState{},
	}
	cluster, err := remote.NewCluster(env, &rest.Config{Host: "https://server"}, false)
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := remote.New(env, cluster, remote.Target{Namespace: "default", Pod: "web"}, remote.Options{TTY: true})
	if err != nil {
		t.Fatal(err)
	}
	return New(cmd, o), &printed
}

var errReset = &stream.LostError{Err: errors.New("reset")}

func TestOutage_WithoutStatusLine(t *testing.T) {
	refused := &stream.DialError{Server: "https://server", Err: errors.New("refused")}
	for _, tt := range []struct {
		name   string
		events func(o *outage)
		want   string
	}{
		{
			"first connection fails",
			func(o *outage) { o.connecting(); o.failed(refused); o.waiting(2 * time.Second) },
			"kshell: warning: cannot connect to https://server: refused; trying again in 2 s\n",
		},
		{
			"lost, and restored at once",
			func(o *outage) { o.connecting(); o.ended(); o.failed(errReset); o.connecting(); o.ended() },
			"kshell: warning: connection lost: reset\n",
		},
		{
			"each failure is printed once",
			func(o *outage) {
				o.ended()
				o.failed(errReset)
				for range 2 {
					o.waiting(time.Second)
					o.connecting()
					o.failed(refused)
				}
				o.waiting(2 * time.Second)
			},
			"kshell: warning: connection lost: reset; trying again in 1 s (Enter: now, Ctrl-D: quit)\n" +
				"kshell: warning: cannot connect to https://server: refused; trying again in 1 s (Enter: now, Ctrl-D: quit)\n" +
				"kshell: warning: trying again in 2 s (Enter: now, Ctrl-D: quit)\n",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, printed := testConsole(t, Options{})
			tt.events(newOutage(c, false))
			if diff := cmp.Diff(tt.want, printed.String()); diff != "" {
				t.Errorf("printed (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOutage_Duration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := testConsole(t, Options{})
		o := newOutage(c, false)
		if took := o.ended(); took != 0 {
			t.Errorf("%v before the first connection, want 0", took)
		}
		o.failed(errReset)
		time.Sleep(3 * time.Second)
		o.failed(errReset) // a failed attempt to reconnect
		time.Sleep(2 * time.Second)
		if took := o.ended(); took != 5*time.Second {
			t.Errorf("%v, want 5 s", took)
		}
	})
}

// gaveUp wraps an error whose message was already printed in a GaveUpError, so
// that the message is not printed again.
func TestOutage_GaveUp(t *testing.T) {
	c, _ := testConsole(t, Options{})
	o := newOutage(c, false)
	o.ended()
	o.failed(errReset)
	var gaveUp *outcome.GaveUpError
	if err := o.gaveUp(errReset); errors.As(err, &gaveUp) {
		t.Error("the failure counts as printed before it was printed")
	}
	o.waiting(time.Second)
	if err := o.gaveUp(errReset); !errors.As(err, &gaveUp) || !errors.Is(err, errReset) {
		t.Errorf("%v, want a GaveUpError that wraps the failure", err)
	}
	if err := o.gaveUp(nil); err != nil {
		t.Errorf("%v, want success", err)
	}
}

func TestConsole_AlertWithoutStatusLine(t *testing.T) {
	c, printed := testConsole(t, Options{})
	c.cmd.Alert("the node is lost")
	if c.cmd.ClearAlert() {
		t.Error("a message counts as removed")
	}
	if got, want := printed.String(), "kshell: warning: the node is lost\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
}

// Over a full-screen program, an alert is shown in the status line, in ASCII.
func TestConsole_AlertInStatusLine(t *testing.T) {
	c, printed := testConsole(t, Options{})
	var status bytes.Buffer
	c.screen.EnableStatus(&status, func() int { return 80 }, func() {})
	if _, err := c.Output().Write([]byte("\x1b[?1049h")); err != nil {
		t.Fatal(err)
	}
	c.cmd.Alert("no answer…")
	if !bytes.Contains(status.Bytes(), []byte("no answer?")) || printed.Len() > 0 {
		t.Errorf("status %q, printed %q", &status, printed)
	}
	if !c.cmd.ClearAlert() {
		t.Error("the status line counts as a message")
	}
}

// An attempt that is not answered is shown in the status line, or once per
// outage in a message.
func TestOutage_Unanswered(t *testing.T) {
	c, printed := testConsole(t, Options{})
	o := newOutage(c, false)
	o.connecting()
	o.unanswered(6 * time.Second) // the first attempt: remote.Session prints a message
	o.ended()
	for range 2 {
		o.failed(errReset)
		o.connecting()
		for i := range 3 {
			o.unanswered(time.Duration(5+i) * time.Second)
		}
		o.ended()
	}
	once := "kshell: warning: connection lost: reset\n" +
		"kshell: warning: connecting: no answer for 5 s (Ctrl-D: quit)\n"
	if diff := cmp.Diff(once+once, printed.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}

	c, printed = testConsole(t, Options{})
	var status bytes.Buffer
	c.screen.EnableStatus(&status, func() int { return 80 }, func() {})
	o = newOutage(c, false)
	o.ended()
	o.failed(errReset)
	o.connecting()
	printed.Reset()
	o.unanswered(7 * time.Second)
	if !bytes.Contains(status.Bytes(), []byte("connecting: no answer for 7 s (Ctrl-D: quit)")) || printed.Len() > 0 {
		t.Errorf("status %q, printed %q", &status, printed)
	}
}

// If keys are kept during an outage, only kshell's own keys have an effect on it.
func TestOutage_KeysKept(t *testing.T) {
	for escape, keys := range map[byte][2]string{
		'~':               {" (~R: now, ~d: leave it running, ~.: end it)", " (~d: leave it running, ~.: end it)"},
		terminal.NoEscape: {},
	} {
		c, printed := testConsole(t, Options{Escape: escape})
		if _, err := c.Output().Write([]byte("\x1b[?2004h")); err != nil {
			t.Fatal(err)
		}
		o := newOutage(c, true)
		o.connecting()
		o.ended()
		o.failed(errReset)
		o.waiting(2 * time.Second)
		o.connecting()
		o.unanswered(5 * time.Second)
		want := "kshell: warning: connection lost: reset; trying again in 2 s" + keys[0] + "\n" +
			"kshell: warning: connecting: no answer for 5 s" + keys[1] + "\n"
		if diff := cmp.Diff(want, printed.String()); diff != "" {
			t.Errorf("printed (-want +got):\n%s", diff)
		}
		if len(c.screen.Reset()) == 0 {
			t.Error("the modes of a program that still runs were reset")
		}
	}
}

// A message is shown in the status line over a full-screen program.
func TestConsole_Note(t *testing.T) {
	c, printed := testConsole(t, Options{})
	c.Note("anna@laptop attached")
	if got, want := printed.String(), "kshell: anna@laptop attached\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	printed.Reset()
	var status bytes.Buffer
	c.screen.EnableStatus(&status, func() int { return 80 }, func() {})
	if _, err := c.Output().Write([]byte("\x1b[?1049h")); err != nil {
		t.Fatal(err)
	}
	c.Note("anna@laptop left")
	if !bytes.Contains(status.Bytes(), []byte("anna@laptop left")) || printed.Len() > 0 {
		t.Errorf("status %q, printed %q", &status, printed)
	}
}
