package agent

import (
	"math/rand/v2"
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

// busyLink is slowLink with ends on overloaded machines: each end is scheduled only
// after a random time of up to noise, so that all that has arrived until then is
// processed at once.
type busyLink struct {
	rate      int
	roundTrip time.Duration
	noise     time.Duration
}

// run returns the bytes that were acknowledged in the second half of the duration, the
// longest time in that half in which sent output waited in the link, and the size.
func (l busyLink) run(seed uint64, duration time.Duration) (bytes int, wait time.Duration, size int) {
	type frame struct {
		end           uint64
		sent, arrived time.Duration
	}
	random := rand.New(rand.NewPCG(seed, 1))
	w := newWindow(true)
	var sent, acked uint64
	var transit, atClient []frame
	type ack struct {
		frame
		at time.Duration
	}
	var acks []ack
	var free, clientRuns, agentRuns time.Duration // free: the time at which the link is free
	later := func(now time.Duration) time.Duration {
		return now + time.Duration(random.Int64N(int64(l.noise)+1))
	}
	for now := time.Duration(0); now < duration; now += time.Millisecond {
		for len(transit) > 0 && transit[0].arrived <= now {
			if len(atClient) == 0 {
				clientRuns = later(now)
			}
			atClient, transit = append(atClient, transit[0]), transit[1:]
		}
		if len(atClient) > 0 && now >= clientRuns {
			for _, f := range atClient {
				acks = append(acks, ack{f, now + l.roundTrip/2})
			}
			atClient = nil
			agentRuns = later(now + l.roundTrip/2)
		}
		if now < agentRuns {
			continue
		}
		for len(acks) > 0 && acks[0].at <= now {
			a := acks[0]
			acks = acks[1:]
			n := int(a.end - acked)
			acked = a.end
			w.acked(now, now-a.sent, acked, sent, n)
			if now > duration/2 {
				bytes += n
			}
		}
		for int(sent-acked) < w.limit() {
			n := min(w.limit()-int(sent-acked), w.size/4, maxData)
			sent += uint64(n)
			free = max(free, now) + time.Duration(n)*time.Second/time.Duration(l.rate)
			if now > duration/2 {
				wait = max(wait, free-now)
			}
			transit = append(transit, frame{sent, now, free + l.roundTrip/2})
		}
	}
	return bytes, wait, w.size
}

// On an overloaded machine, the window grows although each round trip is long. If the
// connection is slow, too, the window stays small.
func TestWindow_BusyMachine(t *testing.T) {
	tests := []struct {
		link    busyLink
		minRate int // kB/s
		maxWait time.Duration
	}{
		{busyLink{100_000_000, time.Millisecond, 50 * time.Millisecond}, 15000, 50 * time.Millisecond},
		{busyLink{100_000_000, time.Millisecond, 100 * time.Millisecond}, 5000, 50 * time.Millisecond},
		{busyLink{100_000_000, time.Millisecond, 200 * time.Millisecond}, 2000, 50 * time.Millisecond},
		{busyLink{100_000_000, time.Millisecond, 400 * time.Millisecond}, 80, 50 * time.Millisecond},
		{busyLink{1_000_000, 40 * time.Millisecond, 0}, 900, 400 * time.Millisecond},
		{busyLink{1_000_000, 40 * time.Millisecond, 50 * time.Millisecond}, 800, 500 * time.Millisecond},
		{busyLink{1_000_000, 40 * time.Millisecond, 200 * time.Millisecond}, 150, 500 * time.Millisecond},
		{busyLink{64_000, 40 * time.Millisecond, 0}, 60, 700 * time.Millisecond},
		{busyLink{64_000, 40 * time.Millisecond, 50 * time.Millisecond}, 60, 700 * time.Millisecond},
		{busyLink{64_000, 40 * time.Millisecond, 200 * time.Millisecond}, 50, time.Second},
		{busyLink{16_000, 40 * time.Millisecond, 0}, 14, 1500 * time.Millisecond},
		{busyLink{16_000, 40 * time.Millisecond, 200 * time.Millisecond}, 12, 1500 * time.Millisecond},
	}
	for _, test := range tests {
		for seed := range uint64(5) {
			n, wait, size := test.link.run(seed, time.Minute)
			rate := n / 30_000
			t.Logf("%+v: %d kB/s, at most %v in the link, window %d", test.link, rate, wait, size)
			if rate < test.minRate || wait > test.maxWait {
				t.Errorf("%+v: %d kB/s, at most %v in the link; want %d, %v",
					test.link, rate, wait, test.minRate, test.maxWait)
			}
		}
	}
}
