package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"kshell/internal/notice"
	"kshell/internal/remote"
	"kshell/internal/stream"
)

// watchStatus shows the state of the connections of watches. On a terminal, it
// is a line that is updated in place. Otherwise, there is one message when a
// connection is lost, and one when it works again. The methods change, observe,
// failed and end are safe for concurrent use.
type watchStatus struct {
	notice  *notice.Printer
	several bool // clusters
	enter   bool // Enter starts the next attempt; see retryKey

	mu       sync.Mutex
	clusters map[string]*connectionStatus // by name
	progress *notice.Progress             // nil if no connection is lost
}

// connectionStatus is the state of the connection to one cluster.
type connectionStatus struct {
	worked bool      // Synced was delivered at least once
	lost   time.Time // when the connection was lost; zero if it works
	cause  string    // the last failure
	noted  string    // the last failure that was printed before the first Synced
	doing  string    // the current step of the reconnection
}

func newWatchStatus(n *notice.Printer, several bool) *watchStatus {
	return &watchStatus{notice: n, several: several, clusters: map[string]*connectionStatus{}}
}

// of returns the state of a cluster. The mutex must be locked.
func (s *watchStatus) of(cluster string) *connectionStatus {
	if s.clusters[cluster] == nil {
		s.clusters[cluster] = &connectionStatus{}
	}
	return s.clusters[cluster]
}

// printer returns the Printer for messages about one cluster.
func (s *watchStatus) printer(cluster string) *notice.Printer {
	if s.several {
		return s.notice.WithPrefix(notice.Clean(cluster))
	}
	return s.notice
}

// change is called with each change of a cluster.
func (s *watchStatus) change(cluster string, c stream.Change[stream.Object]) {
	if c.Type != stream.Synced && c.Type != stream.Stale {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.of(cluster)
	switch {
	case c.Type == stream.Stale:
		state.lost, state.cause, state.doing = time.Now(), c.Err.Error(), "connecting again"
		s.show()
		if !s.progress.InPlace() {
			s.printer(cluster).Warn("%s; connecting again, and changes may be missing until then", state.cause)
		}
	case !state.lost.IsZero():
		took := time.Since(state.lost)
		state.lost = time.Time{}
		s.show()
		s.printer(cluster).Note("connected again after %s", remote.Seconds(took))
	}
	state.worked = state.worked || c.Type == stream.Synced
}

// observe is called with each event of the connection to a cluster.
func (s *watchStatus) observe(cluster string, e stream.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.of(cluster)
	switch e := e.(type) {
	case stream.Failed:
		state.cause = e.Err.Error()
	case stream.Waiting:
		state.doing = "trying again in " + remote.Seconds(e.Delay)
		if s.enter {
			state.doing += " (Enter: now)"
		}
		if !state.worked && state.noted != state.cause {
			state.noted = state.cause
			s.printer(cluster).Warn("%s; trying again", state.cause)
		}
	case stream.Connecting:
		state.doing = "connecting again"
	case stream.Unanswered:
		state.doing = "connecting again: no answer for " + remote.Seconds(e.For)
	default:
		return
	}
	if !state.lost.IsZero() {
		s.show()
	}
}

// failed is called when the watch of one of several clusters has ended with
// err.
func (s *watchStatus) failed(cluster string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of(cluster).lost = time.Time{}
	s.show()
	s.printer(cluster).Error(err)
}

// show updates or removes the line on the terminal. The mutex must be locked.
func (s *watchStatus) show() {
	text := s.text()
	switch {
	case text == "" && s.progress != nil:
		s.progress.End()
		s.progress = nil
	case text != "" && s.progress == nil:
		s.progress = s.notice.Progress()
		fallthrough
	case text != "":
		if s.progress.InPlace() {
			s.progress.Update(text)
		}
	}
}

// text returns the text of the line, or "" if no connection is lost.
func (s *watchStatus) text() string {
	var lost []string
	for _, name := range slices.Sorted(maps.Keys(s.clusters)) {
		if !s.clusters[name].lost.IsZero() {
			lost = append(lost, name)
		}
	}
	switch {
	case len(lost) == 0:
		return ""
	case len(lost) > 1:
		return fmt.Sprintf("the connections to %d clusters are lost: %s", len(lost), strings.Join(lost, ", "))
	}
	state := s.clusters[lost[0]]
	text := state.doing + ": " + state.cause
	if s.several {
		text = lost[0] + ": " + text
	}
	return text
}

// end removes the line.
func (s *watchStatus) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, state := range s.clusters {
		state.lost = time.Time{}
	}
	s.show()
}
