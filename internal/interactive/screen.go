package interactive

import (
	"io"
	"strings"

	"kshell/internal/notice"
	"kshell/internal/terminal"
)

// Alert implements remote.Display: it warns of a problem of the session, in the
// status line while a full-screen program is running, otherwise in a message.
func (c *Console) Alert(message string) {
	if c.screen.FullScreen() && c.screen.SetStatus(asciiOnly(notice.Clean(message))) {
		return
	}
	c.env.Notice.WarnAlways("%s", message)
}

// Note implements remote.Display: it shows a message in the same place as an
// alert.
func (c *Console) Note(message string) {
	if c.screen.FullScreen() && c.screen.SetStatus(asciiOnly(notice.Clean(message))) {
		return
	}
	c.env.Notice.Note("%s", message)
}

// ClearAlert implements remote.Display. It removes an alert from the status
// line. An alert that was written as a message cannot be removed.
func (c *Console) ClearAlert() bool {
	if !c.screen.FullScreen() {
		return false
	}
	c.screen.SetStatus("")
	return true
}

// Tidy implements remote.Display.
func (c *Console) Tidy() {
	if reset := c.screen.Reset(); len(reset) > 0 && terminal.IsTerminal(c.env.Out) {
		_, _ = c.env.Out.Write(reset) // an error means that there is no terminal to reset
	}
}

// noteWithheld tells the user that an Enter was not sent because the line may
// lack keys.
func (s *Session) noteWithheld() {
	const message = "Enter was not sent: the line may be incomplete; check it, press Enter again"
	if terminal.IsTerminal(s.env.Err) {
		_, _ = io.WriteString(s.env.Err, "\a") // an error does not matter: the message follows
	}
	if !s.console.screen.SetStatus(message) {
		s.env.Notice.NoteAlways(message)
	}
}

// asciiOnly replaces each character that is not ASCII by "?", so that each is
// one column wide.
func asciiOnly(text string) string {
	return strings.Map(func(r rune) rune {
		if r > '~' {
			return '?'
		}
		return r
	}, text)
}
