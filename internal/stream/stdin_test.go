package stream

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

type filterFunc func(p []byte, connection int) []byte

func (f filterFunc) Filter(p []byte, connection int) []byte { return f(p, connection) }

// The filter gets each piece of stdin and the number of the connection. What
// the filter returns is sent instead of the piece.
func TestSession_StdinFilter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var arrived []string
		connections := 0
		d := serveExec(t, func(r serverConn) {
			connections++
			_, p, _ := r.receive()
			arrived = append(arrived, p)
			if connections == 2 {
				r.closeWithStatus(success)
			}
		})
		k := newKeyboard()
		var filtered []string
		driver := &testDriver{dial: d.dialFunc(V5), opened: func(*Conn) error {
			time.AfterFunc(time.Millisecond, func() { k.press("drop"); k.press("keys") })
			return nil
		}}
		observe := on(func(Waiting) { time.AfterFunc(time.Millisecond, func() { k.press("offline") }) })
		s := NewSession(driver, observe, Settings{
			LinkSettings: alwaysReconnect, Stdin: k, Interactive: true,
			StdinFilter: filterFunc(func(p []byte, connection int) []byte {
				filtered = append(filtered, fmt.Sprintf("%d %s", connection, p))
				if string(p) == "drop" {
					return nil
				}
				return []byte("more " + string(p))
			}),
		})
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"1 drop", "1 keys", "0 offline", "2 drop", "2 keys"}, filtered); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"more keys", "more keys"}, arrived); diff != "" {
			t.Error(diff)
		}
	})
}
