package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"kshell/internal/stream"
	"kshell/internal/terminal"
)

// quiet tells of a server that does not answer, and of its return: in the line of status, where there is one, which then goes away by itself;
// else once each, but not in the midst of an editor.
func (j *job) quiet() func(time.Duration) {
	said := false
	return func(overdue time.Duration) {
		switch {
		case j.screen.Over != nil && overdue == 0:
			j.screen.SetStatus("")
		case j.screen.Over != nil:
			j.screen.SetStatus("no reply for " + seconds(overdue))
		case overdue == 0 && said:
			said = false
			j.notice.say("the connection is alive again")
		case overdue > 0 && !said && !j.screen.FullScreen():
			said = true
			j.notice.say("no reply for %s", seconds(overdue))
		}
	}
}

// seconds are at least one, so that nothing is to come "in 0 s".
func seconds(d time.Duration) string {
	return fmt.Sprintf("%d s", max(1, int(d.Round(time.Second)/time.Second)))
}

// alert says what threatens the session: in the line of status, in the midst of an editor.
func (j *job) alert(sentence string) {
	if j.screen.FullScreen() && j.screen.SetStatus(asciiOnly(clean(sentence))) {
		return
	}
	j.notice.warn("%s", sentence)
}

// withheld tells that an Enter was not sent, since the line may lack keys.
func (k *keys) withheld() {
	const words = "keys may be missing: check the line, press Enter again to run it"
	j := k.job
	if terminal.IsTerminal(j.Err) {
		_, _ = io.WriteString(j.Err, "\a") // the words are what counts
	}
	if !j.screen.SetStatus(words) {
		j.notice.insist(words)
	}
}

// tee is a writer whose output is also given to heard.
type tee struct {
	io.Writer
	heard func([]byte)
}

// Write implements io.Writer.
func (t tee) Write(p []byte) (int, error) {
	t.heard(p)
	return t.Writer.Write(p)
}

// asciiOnly makes each character one column wide.
func asciiOnly(words string) string {
	return strings.Map(func(r rune) rune {
		if r > '~' {
			return '?'
		}
		return r
	}, words)
}

// gap tells of a lost connection and of the attempts to get another. Its methods are called by the link, but for stop.
type gap struct {
	job   *job
	same  bool      // it is the same shell again: what it has switched on stays
	begun bool      // there has been a connection
	lost  time.Time // zero: connected, or never was
	cause string    // of the last failure
	told  string    // to the user
	count chan struct{}
	done  chan struct{} // closed when nobody counts down any more
}

// fail is told of each failure.
func (g *gap) fail(err error) {
	if g.begun && g.lost.IsZero() {
		g.lost = time.Now()
		if !g.same {
			g.job.tidy() // an editor is not there any more
		}
	}
	g.cause = err.Error()
	var fate *fateError
	if errors.As(err, &fate) {
		g.cause = fate.sentence
	}
}

// tell says why, once: an error that ends everything is said elsewhere.
func (g *gap) tell() {
	if g.cause != g.told {
		g.job.notice.warn("%s", g.cause)
	}
	g.told = g.cause
}

// wait is told how long the link waits: the seconds are counted down in the line of status, where there is one.
func (g *gap) wait(delay time.Duration) {
	const keys = " (Enter: now, Ctrl-D: quit)"
	if !g.begun { // the terminal is its user's yet
		g.job.notice.warn("%s; trying again in %s", g.cause, seconds(delay))
		return
	}
	if g.job.screen.Over == nil {
		g.waitPlainly(seconds(delay) + keys)
		return
	}
	g.tell()
	until := time.Now().Add(delay)
	g.count, g.done = make(chan struct{}), make(chan struct{})
	go func() {
		defer g.job.lastResort.onPanic()
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

// waitPlainly says in a line what cannot be counted down in place.
func (g *gap) waitPlainly(long string) {
	if g.cause == g.told {
		g.job.notice.warn("trying again in %s", long)
		return
	}
	g.told = g.cause
	g.job.notice.warn("%s; trying again in %s", g.cause, long)
}

// stop ends a countdown.
func (g *gap) stop() {
	if g.count != nil {
		close(g.count)
		<-g.done
		g.count = nil
	}
}

// try is told of each attempt.
func (g *gap) try() {
	g.stop()
	if g.lost.IsZero() {
		return
	}
	g.tell()
	if g.job.screen.Over == nil {
		return
	}
	if g.job.prompts() { // and may want the line
		g.job.screen.SetStatus("")
		return
	}
	g.job.screen.SetStatus("connecting (Ctrl-D: quit)")
}

// givenUp is err, said in few words where the failure that the session ends with has been told.
func (g *gap) givenUp(err error) error {
	if err == nil || g.told == "" || g.told != g.cause {
		return err
	}
	return &givenUpError{err}
}

// givenUpError is the end of a session that was not taken up again, whose user knows why.
type givenUpError struct{ err error }

func (e *givenUpError) Error() string { return "session given up" }
func (e *givenUpError) Unwrap() error { return e.err }

// over is told that there is a connection again, and tells for how long there was none; 0 for the first one.
func (g *gap) over() time.Duration {
	g.begun = true
	if g.lost.IsZero() {
		return 0
	}
	long := time.Since(g.lost)
	g.lost, g.told = time.Time{}, ""
	return max(long, 1)
}

// statusOn gives the screen a line of status, where one can be drawn: on a terminal that knows how, and that is ours to write to.
func (j *job) statusOn(t *terminal.Terminal, s *stream.Session) {
	if j.notice.quiet || !terminal.IsTerminal(j.Err) || !terminal.IsTerminal(j.Out) || plainTerminal(os.Getenv("TERM")) {
		return
	}
	j.screen.Over, j.screen.Redraw = j.Err, s.Redraw
	j.screen.Columns = func() int {
		size, err := t.Size()
		if err != nil {
			return 0
		}
		return int(size.Width)
	}
}

// plainTerminal says whether a terminal of this kind can write nothing but lines.
func plainTerminal(kind string) bool { return kind == "" || kind == "dumb" }
