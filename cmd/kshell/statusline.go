package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/terminal"
)

// overdue tells the user when the server does not answer and when it answers again: in
// the status line if there is one, otherwise in one message each. A message is not
// written while a full-screen program is running.
func (k *keys) overdue(overdue time.Duration) {
	j := k.job
	switch {
	case j.screen.StatusWriter != nil && overdue == 0:
		j.screen.SetStatus("")
	case j.screen.StatusWriter != nil:
		j.screen.SetStatus("no reply for " + seconds(overdue))
	case overdue == 0 && k.quiet:
		k.quiet = false
		j.notice.Note("the connection is alive again")
	case overdue > 0 && !k.quiet && !j.screen.FullScreen():
		k.quiet = true
		j.notice.Note("no reply for %s", seconds(overdue))
	}
}

// seconds formats d in seconds, at least "1 s".
func seconds(d time.Duration) string {
	return fmt.Sprintf("%d s", max(1, int(d.Round(time.Second)/time.Second)))
}

// alert warns of a problem of the session: in the status line while a full-screen
// program is running, otherwise in a message.
func (j *job) alert(sentence string) {
	if j.screen.FullScreen() && j.screen.SetStatus(asciiOnly(notice.Clean(sentence))) {
		return
	}
	j.notice.WarnAlways("%s", sentence)
}

// withheld tells the user that an Enter was not sent because the line may lack keys.
func (k *keys) withheld() {
	const words = "keys may be missing: check the line, press Enter again to run it"
	j := k.job
	if terminal.IsTerminal(j.Err) {
		_, _ = io.WriteString(j.Err, "\a") // an error does not matter: the message follows
	}
	if !j.screen.SetStatus(words) {
		j.notice.NoteAlways(words)
	}
}

// tee is a writer that also passes what is written to heard.
type tee struct {
	io.Writer
	heard func([]byte)
}

// Write implements io.Writer.
func (t tee) Write(p []byte) (int, error) {
	t.heard(p)
	return t.Writer.Write(p)
}

// asciiOnly replaces each character that is not ASCII by "?", so that each is one
// column wide.
func asciiOnly(words string) string {
	return strings.Map(func(r rune) rune {
		if r > '~' {
			return '?'
		}
		return r
	}, words)
}

// gap tells the user about a lost connection and the attempts to reconnect. The link
// calls its methods, except for stop.
type gap struct {
	job   *job
	same  bool      // a new connection has the same shell: terminal modes that it has set remain
	begun bool      // there was a connection
	lost  time.Time // when the connection was lost; zero if connected or not yet connected
	cause string    // the last failure
	told  string    // the last failure that the user was told
	count chan struct{}
	done  chan struct{} // closed when the countdown has ended
}

// fail is called with each failure.
func (g *gap) fail(err error) {
	if g.begun && g.lost.IsZero() {
		g.lost = time.Now()
		if !g.same {
			g.job.tidy() // a full-screen program is lost with its shell
		}
	}
	g.cause = err.Error()
	var fate *fateError
	if errors.As(err, &fate) {
		g.cause = fate.sentence
	}
}

// tell tells the user the last failure, once. An error that ends the session is
// reported by the caller of Run.
func (g *gap) tell() {
	if g.cause != g.told {
		g.job.notice.WarnAlways("%s", g.cause)
	}
	g.told = g.cause
}

// wait is called before the link waits for delay. It counts down the seconds in the
// status line if there is one.
func (g *gap) wait(delay time.Duration) {
	const keys = " (Enter: now, Ctrl-D: quit)"
	if !g.begun { // the terminal is not raw yet
		g.job.notice.WarnAlways("%s; trying again in %s", g.cause, seconds(delay))
		return
	}
	if g.job.screen.StatusWriter == nil {
		g.waitPlainly(seconds(delay) + keys)
		return
	}
	g.tell()
	until := time.Now().Add(delay)
	g.count, g.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer g.job.cleanup.OnPanic()
		defer close(g.done)
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		for {
			g.job.screen.SetStatus("trying again in " + seconds(time.Until(until)) + keys)
			select {
			case <-g.count:
				return
			case <-ticker.C:
			}
		}
	}()
}

// waitPlainly writes one message instead of the countdown.
func (g *gap) waitPlainly(long string) {
	if g.cause == g.told {
		g.job.notice.WarnAlways("trying again in %s", long)
		return
	}
	g.told = g.cause
	g.job.notice.WarnAlways("%s; trying again in %s", g.cause, long)
}

// stop ends a countdown.
func (g *gap) stop() {
	if g.count != nil {
		close(g.count)
		<-g.done
		g.count = nil
	}
}

// try is called before each attempt.
func (g *gap) try() {
	g.stop()
	if g.lost.IsZero() {
		return
	}
	g.tell()
	if g.job.screen.StatusWriter == nil {
		return
	}
	if g.job.prompts() { // the plugin may write to the status line
		g.job.screen.SetStatus("")
		return
	}
	g.job.screen.SetStatus("connecting (Ctrl-D: quit)")
}

// givenUp returns err, with a short message if the user was already told the failure
// that ended the session.
func (g *gap) givenUp(err error) error {
	if err == nil || g.told == "" || g.told != g.cause {
		return err
	}
	return &outcome.GaveUpError{Err: err}
}

// over is called when a connection was opened. It returns how long there was none; 0
// for the first connection.
func (g *gap) over() time.Duration {
	g.begun = true
	if g.lost.IsZero() {
		return 0
	}
	long := time.Since(g.lost)
	g.lost, g.told = time.Time{}, ""
	return max(long, 1)
}

// statusOn sets up the screen's status line, unless messages are switched off, or
// stdout or stderr is not a terminal that can draw one.
func (j *job) statusOn(t *terminal.Terminal) {
	if j.notice.Quiet || !terminal.IsTerminal(j.Err) || !terminal.IsTerminal(j.Out) || plainTerminal(os.Getenv("TERM")) {
		return
	}
	j.screen.StatusWriter = j.Err
	j.screen.Columns = func() int {
		size, err := t.Size()
		if err != nil {
			return 0
		}
		return int(size.Width)
	}
}

// plainTerminal reports whether a terminal of this kind (TERM) can only write lines.
func plainTerminal(kind string) bool { return kind == "" || kind == "dumb" }
