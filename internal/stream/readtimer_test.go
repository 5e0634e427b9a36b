package stream

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestReadTimer_Silence(t *testing.T) {
	for _, before := range []time.Duration{0, 1, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			timer := newReadTimer()
			time.Sleep(before)
			if got := timer.silence(); got != 0 {
				t.Errorf("%v before a Read", got)
			}
			for range 2 {
				timer.begin()
				time.Sleep(time.Second)
				if got := timer.silence(); got != time.Second {
					t.Errorf("%v in a Read, want 1s", got)
				}
				timer.end()
				time.Sleep(time.Second)
				if got := timer.silence(); got != 0 {
					t.Errorf("%v after a Read", got)
				}
			}
		})
	}
}
