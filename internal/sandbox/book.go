package sandbox

import (
	"context"
	"net/url"
	"slices"
	"sync"
)

// Session is what the sandbox saw of one exec or attach that got its 101.
type Session struct {
	Path        string
	Query       url.Values
	User        string
	Offered     []string // subprotocols, in the client's order
	Subprotocol string
	Sizes       []Size // resize messages, in order
	StdinBytes  int64  // stdin received, also if nobody read it
	Pid         int    // of the command; 0 until it runs, and for an attach the main process's
	Code        int    // the command's exit code once Exited
	Exited      bool
	Closed      bool // the server has said everything and closed; it may still be on its way
	Open        bool // the socket is
}

// Size is a terminal size, in characters.
type Size struct{ Width, Height uint16 }

// Stats are totals since Start.
type Stats struct {
	Connections int // TCP connections accepted
	Requests    int // HTTP requests
	Commands    int // those of them that ask for an exec or an attach
	Sessions    int // execs and attaches that got their 101
	Watches     int // watches opened: answered, and from then on told of every change
	Creates     int // pods created by request, not those of AddPod
}

// book keeps the counters.
type book struct {
	mu       sync.Mutex
	requests int
	commands int
	watches  int
	creates  int
	sessions []*Session
	changed  chan struct{} // closed at the next change; nil while nobody waits
}

// Stats returns the totals.
func (s *Server) Stats() Stats {
	b := &s.book
	b.mu.Lock()
	defer b.mu.Unlock()
	return Stats{s.ln.connections(), b.requests, b.commands, len(b.sessions), b.watches, b.creates}
}

// WaitStats waits until the totals are as wanted; it asks after each change but those of Connections alone. Its error is the context's.
func (s *Server) WaitStats(ctx context.Context, want func(Stats) bool) error {
	return s.WaitSessions(ctx, func([]Session) bool { return want(s.Stats()) })
}

// Sessions returns what is known of each session, oldest first.
func (s *Server) Sessions() []Session {
	list, _ := s.book.snapshot(false)
	return list
}

// WaitSessions waits until the sessions are as wanted; it asks after each change. Its error is the context's.
func (s *Server) WaitSessions(ctx context.Context, want func([]Session) bool) error {
	for {
		list, changed := s.book.snapshot(true)
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

func (b *book) snapshot(wait bool) ([]Session, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]Session, len(b.sessions))
	for i, s := range b.sessions {
		list[i] = *s
		list[i].Sizes = slices.Clone(s.Sizes)
	}
	if wait && b.changed == nil {
		b.changed = make(chan struct{})
	}
	return list, b.changed
}

func (b *book) request() { b.change(func() { b.requests++ }) }

func (b *book) command() { b.change(func() { b.commands++ }) }

func (b *book) watch() { b.change(func() { b.watches++ }) }

func (b *book) create() { b.change(func() { b.creates++ }) }

func (b *book) add(s *Session) { b.change(func() { b.sessions = append(b.sessions, s) }) }

// change changes a session, or the book, under its lock.
func (b *book) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
}
