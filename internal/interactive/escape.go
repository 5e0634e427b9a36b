package interactive

import (
	"context"
	"fmt"
	"time"

	"kshell/internal/outcome"
)

// The keys after the escape character.
const (
	keyLeave     = '.'
	keyReconnect = 'R'
	keySuspend   = 0x1a // Ctrl-Z
	keyInfo      = 'i'
	keyHelp      = '?'
	keyDetach    = 'd' // see Session.detaches
)

// escapeKeys returns the keys that have a meaning after the escape character.
func (s *Session) escapeKeys() string {
	keys := string([]byte{keyLeave, keyReconnect, keySuspend, keyInfo, keyHelp})
	if s.detaches() {
		keys += string(rune(keyDetach))
	}
	return keys
}

// detaches reports whether a key leaves the shell running.
func (s *Session) detaches() bool { return s.resumes || s.console.options.Detacher != nil }

// detach ends the session, and leaves the shell running.
func (s *Session) detach() {
	if s.resumes {
		s.remote.Detach()
		return
	}
	s.console.options.Detacher.Detach()
}

// press performs the action of a key typed after the escape character. The
// goroutine that reads the terminal calls it.
func (s *Session) press(key byte) {
	switch key {
	case keyLeave:
		s.leave(outcome.ErrLeft)
	case keyReconnect:
		s.remote.Again()
	case keySuspend:
		s.suspend()
	case keyDetach:
		s.detach()
	case keyInfo:
		for _, line := range s.info() {
			s.env.Notice.NoteAlways("%s", line)
		}
	case keyHelp:
		s.help()
	}
}

// help lists the keys.
func (s *Session) help() {
	n, escape := s.env.Notice, string(rune(s.console.options.Escape))
	leave := ". leave"
	if s.detaches() {
		n.NoteAlways("%sd leave it running", escape)
		leave = ". end the shell and delete its pod, unless other clients are attached"
		if s.resumes {
			leave = ". end it"
		}
	}
	for _, line := range []string{
		leave, "R reconnect now", "^Z suspend kshell", "i about this session", "? this list",
		escape + " the character itself",
	} {
		n.NoteAlways("%s", escape+line)
	}
}

// info describes the session, in lines.
func (s *Session) info() []string {
	report := s.console.cmd.Report()
	t, server := report.Target, s.console.cmd.Cluster().Transport().Server()
	lines := []string{fmt.Sprintf("pod %s, container %s, namespace %s", t.Pod, t.Container, t.Namespace)}
	if node := t.Node(); node != "" {
		lines = append(lines, "node "+node)
	}
	if s.resumes {
		lines = append(lines, "session "+s.remote.ID())
	}
	state := "disconnected from " + server
	if conn := s.remote.Conn(); conn != nil {
		state = fmt.Sprintf("connected to %s by %s, %s %s", server, conn.Protocol(), s.roundTripName(), s.roundTrip())
	}
	return append(lines, state, fmt.Sprintf("session open for %v: %d bytes typed, %d bytes shown, connections lost: %d",
		time.Since(s.begin).Round(time.Second), report.StdinBytes, report.StdoutBytes, s.lost.Load()))
}

// roundTripName describes what roundTrip measures.
func (s *Session) roundTripName() string {
	if s.resumes {
		return "round trip to the container"
	}
	return "round trip"
}

func (s *Session) roundTrip() string {
	ctx, cancel := context.WithTimeout(s.ctx, s.console.options.Limits.RoundTrip)
	defer cancel()
	took, ok := s.remote.RoundTrip(ctx)
	if !ok {
		return "unknown (no answer)"
	}
	return took.Round(10 * time.Microsecond).String()
}
