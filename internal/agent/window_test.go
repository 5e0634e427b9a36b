package agent

import (
	"testing"
	"time"
)

// slowLink simulates a terminal's output over a link with the given rate (bytes per
// second) and round trip, of which an endless supply is available. It returns the
// window after the given time, and the greatest queueing delay of the last second.
func slowLink(rate int, roundTrip, duration time.Duration) (size int, delay time.Duration, bytes int) {
	type frame struct {
		end         uint64
		sent, acked time.Duration
	}
	w := newWindow(true)
	var sent, acked uint64
	var transit []frame
	var free time.Duration // the time at which the link is free
	for now := time.Duration(0); now < duration; now += time.Millisecond {
		for len(transit) > 0 && transit[0].acked <= now {
			f := transit[0]
			transit = transit[1:]
			n := int(f.end - acked)
			acked = f.end
			w.acked(now, now-f.sent, acked, sent, n)
			if duration-now < time.Second {
				delay = max(delay, now-f.sent-roundTrip)
			}
		}
		for int(sent-acked) < w.limit() {
			n := min(w.limit()-int(sent-acked), w.size/4, maxData)
			sent += uint64(n)
			free = max(free, now) + time.Duration(n)*time.Second/time.Duration(rate)
			transit = append(transit, frame{sent, now, free + roundTrip})
		}
	}
	return w.size, delay, int(acked)
}

func TestWindow_SlowLink(t *testing.T) {
	tests := []struct {
		name              string
		rate              int
		roundTrip         time.Duration
		minSize, maxSize  int
		maxDelay          time.Duration
		minShareInPercent int // of the rate
	}{
		{"64 kB/s", 64_000, 40 * time.Millisecond, minWindow, 32 << 10, 600 * time.Millisecond, 85},
		{"1 MB/s", 1_000_000, 40 * time.Millisecond, minWindow, 300 << 10, 400 * time.Millisecond, 75},
		{"100 MB/s, 1 ms", 100_000_000, time.Millisecond, maxWindow / 2, maxWindow, 100 * time.Millisecond, 75},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, duration := range []time.Duration{5 * time.Second, 15 * time.Second, 65 * time.Second} {
				size, delay, n := slowLink(test.rate, test.roundTrip, duration)
				share := n * 100 / int(int64(test.rate)*int64(duration)/int64(time.Second))
				t.Logf("after %v: window %d, delay %v, %d %% of the rate", duration, size, delay, share)
				if size < test.minSize || size > test.maxSize || delay > test.maxDelay || share < test.minShareInPercent {
					t.Errorf("want %+v", test)
				}
			}
		})
	}
}

func TestWindow_FixedWithoutTerminal(t *testing.T) {
	w := newWindow(false)
	w.acked(time.Second, time.Millisecond, 1, 1, 1)
	w.acked(time.Minute, 10*time.Second, 2, 2, 1)
	if w.limit() != commandWindow {
		t.Errorf("window %d", w.limit())
	}
}

func TestWindow_UnknownRoundTrip(t *testing.T) {
	w := newWindow(true)
	for i := range uint64(100) {
		w.acked(time.Second, 0, i, i, 1)
	}
	if w.size != initialWindow {
		t.Errorf("window %d", w.size)
	}
}

func TestSinceStamp(t *testing.T) {
	tests := []struct {
		stamp uint64
		now   time.Duration
		want  time.Duration
	}{
		{0, time.Second, 0},
		{stampOf(time.Second), 3 * time.Second, 2 * time.Second},
		{stampOf(3 * time.Second), time.Second, 0},
		{stampOf(time.Second), time.Second, time.Microsecond},
		{1 << 63, time.Second, 0},
	}
	for _, test := range tests {
		if got := sinceStamp(test.stamp, test.now); got != test.want {
			t.Errorf("sinceStamp(%d, %v) = %v, want %v", test.stamp, test.now, got, test.want)
		}
	}
}
