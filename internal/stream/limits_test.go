package stream

import (
	"testing"
	"testing/synctest"
	"time"
)

// A redraw sends a size that is one column wider, and then the real size.
func TestSession_Redraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *Session
		d := serveExec(t, func(r serverConn) {
			for i, want := range []string{`{"Width":80,"Height":24}`, `{"Width":81,"Height":24}`, `{"Width":80,"Height":24}`} {
				if ch, p, _ := r.receive(); ch != chResize || p != want {
					t.Errorf("message on channel %d: %s, want the size %s", ch, p, want)
				}
				if i == 0 {
					s.Redraw()
				}
			}
			r.closeWithStatus(success)
		})
		s = newTestSession(d.dialFunc(V5), Settings{Stdin: newKeyboard(), Window: testWindow{}})
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Bytes that arrive at the moment of a ping are not an answer to that ping.
func TestLiveness_ArrivedWithPing(t *testing.T) {
	start := time.Now()
	l := newLiveness(10*time.Second, start)
	var pinged time.Duration
	for d := time.Second; d < 20*time.Second; d += time.Second {
		silence := d
		if pinged > 0 {
			silence = d - pinged
		}
		l.check(start.Add(d), linkState{silence: silence})
		if l.pingDue {
			pinged, l.pingDue = d, false
		}
	}
	if pinged == 0 || len(l.reports) == 0 || l.reports[0] != quietAfter {
		t.Errorf("pinged after %v, reports %v; want the first one after %v", pinged, l.reports, quietAfter)
	}
}
