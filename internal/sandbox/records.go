package sandbox

import (
	"context"
	"net/url"
	"slices"
	"sync"
)

// Session describes an exec or attach that the server has answered with HTTP
// 101 (Switching Protocols).
type Session struct {
	Path        string
	Query       url.Values
	User        string
	Offered     []string // subprotocols, in the client's order
	Subprotocol string
	Sizes       []Size // resize messages, in order
	StdinBytes  int64  // stdin received, including unread stdin
	Pid         int    // PID of the command, or 0 before its start; for an attach, PID of the main process
	Code        int    // the exit code of the command, if Exited
	Exited      bool
	NotRunning  bool // the container does not run, so the command was not started
	Closed      bool // the server has sent everything and called Close; bytes may still be in flight
	Open        bool // the socket is open
}

// Size is a terminal size, in characters.
type Size struct{ Width, Height uint16 }

// Stats are counters since Start.
type Stats struct {
	Connections int // TCP connections accepted
	Requests    int // HTTP requests
	Commands    int // requests for an exec or attach
	Sessions    int // execs and attaches that got their 101
	Watches     int // watches whose start version was accepted, so that they send every later change
	Creates     int // pods created by requests, not by AddPod
}

// records holds the counters and the sessions.
type records struct {
	mu       sync.Mutex
	requests int
	commands int
	watches  int
	creates  int
	sessions []*Session
	changed  chan struct{} // closed at the next change; nil if no call is waiting
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	rec := &s.records
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return Stats{s.ln.connections(), rec.requests, rec.commands, len(rec.sessions), rec.watches, rec.creates}
}

// WaitStats waits until want returns true. It calls want at the beginning and
// after each change, but not if only Connections has changed. If the context
// ends first, WaitStats returns the cause of the context.
func (s *Server) WaitStats(ctx context.Context, want func(Stats) bool) error {
	return s.WaitSessions(ctx, func([]Session) bool { return want(s.Stats()) })
}

// Sessions returns all sessions, oldest first.
func (s *Server) Sessions() []Session {
	list, _ := s.records.snapshot(false)
	return list
}

// WaitSessions waits until want returns true. It calls want at the beginning
// and after each change. If the context ends first, WaitSessions returns the
// cause of the context.
func (s *Server) WaitSessions(ctx context.Context, want func([]Session) bool) error {
	for {
		list, changed := s.records.snapshot(true)
		if want(list) {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (rec *records) snapshot(wait bool) ([]Session, <-chan struct{}) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	list := make([]Session, len(rec.sessions))
	for i, s := range rec.sessions {
		list[i] = *s
		list[i].Sizes = slices.Clone(s.Sizes)
	}
	if wait && rec.changed == nil {
		rec.changed = make(chan struct{})
	}
	return list, rec.changed
}

func (rec *records) request() { rec.change(func() { rec.requests++ }) }

func (rec *records) command() { rec.change(func() { rec.commands++ }) }

func (rec *records) watch() { rec.change(func() { rec.watches++ }) }

func (rec *records) create() { rec.change(func() { rec.creates++ }) }

func (rec *records) add(s *Session) { rec.change(func() { rec.sessions = append(rec.sessions, s) }) }

// change calls f, which changes the counters or a session, with the lock held.
func (rec *records) change(f func()) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	f()
	if rec.changed != nil {
		close(rec.changed)
		rec.changed = nil
	}
}
