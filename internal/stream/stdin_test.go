package stream

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// FilterStdin is called with each piece of stdin and the number of the socket,
// and its result is sent instead.
func TestSession_FilterStdin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var arrived []string
		sockets := 0
		d := pod(t, func(r remote) {
			sockets++
			_, p, _ := r.receive()
			arrived = append(arrived, p)
			if sockets == 2 {
				r.finish(success)
			}
		})
		k := newKeyboard()
		var filtered []string
		s := &funcSession{
			funcLink: funcLink{
				Dial: d.with(V5),
				OnOpen: func(*Conn) error {
					time.AfterFunc(time.Millisecond, func() { k.press("drop"); k.press("keys") })
					return nil
				},
				OnWait: func(time.Duration) { time.AfterFunc(time.Millisecond, func() { k.press("offline") }) },
			},
			Stdin: k, CancelStdin: k.cancel, Interactive: true,
			FilterStdin: func(p []byte, socket int) []byte {
				filtered = append(filtered, fmt.Sprintf("%d %s", socket, p))
				if string(p) == "drop" {
					return nil
				}
				return []byte("more " + string(p))
			},
		}
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
