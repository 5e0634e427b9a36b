package interactive

import (
	"fmt"
	"time"

	"kshell/internal/outcome"
	"kshell/internal/remote"
	"kshell/internal/stream"
	"kshell/internal/terminal"
)

// outage tells the user about a lost connection and the attempts to reconnect.
// The goroutine of the session calls its methods.
type outage struct {
	console   *Console
	sameShell bool      // a new connection continues the shell of the previous one
	keys      string    // the keys that the user can type during an outage, except while connecting; in brackets
	quit      string    // the key that ends the session during an outage; in brackets
	connected bool      // at least one connection was opened; it may be lost now
	begin     time.Time // when the connection was lost; zero if connected or not yet connected
	cause     string    // the last failure
	noted     string    // the last failure that the user was told about
	slow      bool      // the user was told in this outage that the server does not answer an attempt to reconnect
	countdown chan struct{}
	done      chan struct{} // closed when the countdown has ended
}

// newOutage returns an outage of a session on c. keysKept means that keys that are
// typed during an outage reach the command after it, so only the keys after the
// escape character have an effect on kshell.
func newOutage(c *Console, keysKept bool) *outage {
	o := &outage{
		console: c, sameShell: c.options.SameShell || keysKept,
		keys: " (Enter: now, Ctrl-D: quit)", quit: " (Ctrl-D: quit)",
	}
	if keysKept {
		o.keys, o.quit = "", ""
		if c.options.Escape != terminal.NoEscape {
			escape := string(rune(c.options.Escape))
			o.quit = fmt.Sprintf(" (%[1]s%[2]c: leave it running, %[1]s%[3]c: end it)", escape, keyDetach, keyLeave)
			o.keys = fmt.Sprintf(" (%[1]s%[2]c: now, %[1]s%[3]c: leave it running, %[1]s%[4]c: end it)",
				escape, keyReconnect, keyDetach, keyLeave)
		}
	}
	return o
}

// failed is called with each failure.
func (o *outage) failed(err error) {
	if o.connected && o.begin.IsZero() {
		o.begin = time.Now()
		if !o.sameShell {
			o.console.Tidy() // a full-screen program is lost with its shell
		}
	}
	o.cause = err.Error()
	if reason, ok := remote.ContainerEnded(err); ok {
		o.cause = reason
	}
}

// noteCause tells the user about the last failure, unless the user was already
// told about it. An error that ends the session is reported by the caller of
// Run.
func (o *outage) noteCause() {
	if o.cause != o.noted {
		o.console.env.Notice.WarnAlways("%s", o.cause)
	}
	o.noted = o.cause
}

// waiting is called before each wait for the next attempt. It counts down the
// seconds in the status line if there is one.
func (o *outage) waiting(delay time.Duration) {
	c := o.console
	switch {
	case !o.connected: // the terminal is not raw yet
		c.env.Notice.WarnAlways("%s; trying again in %s", o.cause, remote.Seconds(delay))
		return
	case c.screen.HasStatus():
		o.noteCause()
		o.startCountdown(time.Now().Add(delay), o.keys)
		return
	case o.cause == o.noted:
		c.env.Notice.WarnAlways("trying again in %s%s", remote.Seconds(delay), o.keys)
		return
	}
	o.noted = o.cause
	c.env.Notice.WarnAlways("%s; trying again in %s%s", o.cause, remote.Seconds(delay), o.keys)
}

// startCountdown shows the seconds until end in the status line, followed by
// suffix, until stopCountdown is called.
func (o *outage) startCountdown(end time.Time, suffix string) {
	countdown, done := make(chan struct{}), make(chan struct{})
	o.countdown, o.done = countdown, done
	go func() {
		defer o.console.env.Cleanup.OnPanic()
		defer close(done)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			in := "again in " + remote.Seconds(time.Until(end))
			o.console.screen.SetStatus("trying "+in+suffix, "trying "+in, in)
			select {
			case <-countdown:
				return
			case <-ticker.C:
			}
		}
	}()
}

// stopCountdown ends a countdown and waits for its goroutine.
func (o *outage) stopCountdown() {
	if o.countdown != nil {
		close(o.countdown)
		<-o.done
		o.countdown = nil
	}
}

// connecting is called before each attempt.
func (o *outage) connecting() {
	o.stopCountdown()
	if o.begin.IsZero() {
		return
	}
	o.noteCause()
	switch c := o.console; {
	case !c.screen.HasStatus():
	case c.cmd.Cluster().Prompts(): // a credential plugin may write to the line of the status
		c.screen.SetStatus("")
	default:
		c.screen.SetStatus("connecting"+o.quit, "connecting")
	}
}

// unanswered is called every second while an attempt to connect is not
// answered, with the time since the attempt began. It updates the status line.
// Without a status line, it prints one message per outage. unanswered is called
// from another goroutine than the other methods, but not while connecting or
// failed runs.
func (o *outage) unanswered(d time.Duration) {
	c := o.console
	if o.begin.IsZero() || c.cmd.Cluster().Prompts() { // a plugin may be waiting for the user
		return
	}
	text := "connecting: no answer for " + remote.Seconds(d) + o.quit
	switch {
	case c.screen.HasStatus():
		c.screen.SetStatus(text, "connecting: no answer for "+remote.Seconds(d), "no answer: "+remote.Seconds(d))
	case !o.slow:
		o.slow = true
		c.env.Notice.WarnAlways("%s", text)
	}
}

// gaveUp returns err. If the failure that ended the session was already
// printed, it wraps err in a GaveUpError, which has a short message.
func (o *outage) gaveUp(err error) error {
	if err == nil || o.noted == "" || o.noted != o.cause {
		return err
	}
	return &outcome.GaveUpError{Err: err}
}

// ended is called when a connection was opened. It returns the duration of the
// outage; 0 for the first connection.
func (o *outage) ended() time.Duration {
	o.connected = true
	if o.begin.IsZero() {
		return 0
	}
	took := time.Since(o.begin)
	o.begin, o.noted, o.slow = time.Time{}, "", false
	return max(took, 1)
}

// noteConnected tells the user that the connection is restored.
func (s *Session) noteConnected() {
	c, took := s.console, s.outage.ended()
	t := c.cmd.Target()
	same := t == s.target
	s.target = t
	if !s.outage.sameShell {
		c.Tidy()
		if took == 0 {
			return
		}
		c.env.Notice.Note("connected again after %s: this is a new shell", remote.Seconds(took))
		if hint := c.options.LossHint; hint != "" && same && !c.env.Notice.Quiet {
			c.options.LossHint = "" // it is printed once
			c.env.Notice.Hint("%s", hint)
		}
		if s.lines.Connected() {
			c.env.Notice.NoteAlways("the line being typed was lost: press Enter, and type it again")
		}
		return
	}
	if took == 0 {
		return
	}
	c.screen.SetStatus("")
	if !c.screen.FullScreen() {
		c.env.Notice.Note("connected again after %s: the same shell", remote.Seconds(took))
	}
	s.lines.Connected()
}

// noteOverdue tells the user that the server does not answer, that the network
// is out or, if e.For is 0, that the server answers again. In a status line, it
// shows how long the server has not answered, and clears the line when the
// server answers. Without a status line, it prints one message for each of
// these events, but the first two not while a full-screen program is running.
func (s *Session) noteOverdue(e stream.Overdue) {
	screen, n := s.console.screen, s.env.Notice
	switch {
	case screen.HasStatus() && e.For == 0:
		screen.SetStatus("")
	case screen.HasStatus() && e.NetworkOut:
		silence := remote.Seconds(e.For)
		screen.SetStatus("network out: no reply for "+silence, "network out: "+silence)
	case screen.HasStatus():
		screen.SetStatus("no reply for "+remote.Seconds(e.For), "no reply: "+remote.Seconds(e.For))
	case e.For == 0 && s.notedOverdue:
		s.notedOverdue, s.notedOutage = false, false
		n.Note("the server answers again")
	case screen.FullScreen():
	case e.NetworkOut && !s.notedOutage:
		s.notedOverdue, s.notedOutage = true, true
		n.Note("%s", remote.DescribeOutage(e))
	case e.For > 0 && !s.notedOverdue:
		s.notedOverdue = true
		n.Note("no reply for %s", remote.Seconds(e.For))
	}
}
