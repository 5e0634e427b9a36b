package stream

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestInbound_Silence(t *testing.T) {
	for _, before := range []time.Duration{0, 1, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			in := newInbound()
			time.Sleep(before)
			if got := in.silence(); got != 0 {
				t.Errorf("%v before a Read", got)
			}
			for range 2 {
				in.wait()
				time.Sleep(time.Second)
				if got := in.silence(); got != time.Second {
					t.Errorf("%v in a Read, want 1s", got)
				}
				in.done()
				time.Sleep(time.Second)
				if got := in.silence(); got != 0 {
					t.Errorf("%v after a Read", got)
				}
			}
		})
	}
}
