package nodeshell

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/notice"
	"kshell/internal/pod"
)

// runProgress returns the messages that are printed during a wait that lasts
// for d and ends with err. The reason for the wait changes once, after 5 s.
func runProgress(t *testing.T, d time.Duration, terminal notice.Terminal, err error) string {
	t.Helper()
	var printed bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		n := notice.New(&printed)
		n.SetTerminal(terminal)
		p := &progress{notice: n, delay: 2 * time.Second, limit: time.Minute, onPanic: func() {}}
		p.start()
		p.update(pod.Reason{Text: "it is not scheduled"})
		if d > 5*time.Second {
			time.Sleep(5 * time.Second)
			p.update(pod.Reason{Text: "its image is being pulled"})
			d -= 5 * time.Second
		}
		time.Sleep(d)
		p.stop(err)
		time.Sleep(time.Minute) // nothing is printed after stop
	})
	return printed.String()
}

func TestProgress(t *testing.T) {
	const first = "kshell: waiting (up to 1m0s, see --pod-running-timeout): it is not scheduled\n"
	const change = "kshell: waiting: its image is being pulled\n"
	for name, test := range map[string]struct {
		d    time.Duration
		err  error
		want string
	}{
		"short": {time.Second, nil, ""},
		"runs after 4 s": {
			4 * time.Second, nil, first + "kshell: the pod runs after 4 s\n",
		},
		"runs after 13 s": {
			13 * time.Second, nil, first + change + "kshell: the pod runs after 13 s\n",
		},
		"fails after 6 s": {6 * time.Second, errors.New("it cannot start"), first + change},
	} {
		if diff := cmp.Diff(test.want, runProgress(t, test.d, nil, test.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// columns is a terminal of this width.
type columns int

func (c columns) Columns() int { return int(c) }

func TestProgress_Terminal(t *testing.T) {
	const line = "\r\x1b[Kkshell: waiting for %d s (up to 1m0s): %s"
	want := ""
	for seconds, reason := range []string{
		2: "it is not scheduled", 3: "it is not scheduled", 4: "it is not scheduled", 5: "its image is being pulled",
	} {
		if reason != "" {
			want += fmt.Sprintf(line, seconds, reason)
		}
	}
	want += "\r\x1b[Kkshell: the pod runs after 6 s\n"
	got := runProgress(t, 5500*time.Millisecond, columns(100), nil)
	if got = strings.ReplaceAll(got, fmt.Sprintf(line, 5, "it is not scheduled"), ""); dedup(got) != want {
		t.Errorf("got %q, want %q", dedup(got), want)
	}
}

// dedup removes each line that repeats the line before it.
func dedup(text string) string {
	lines := strings.Split(text, "\r\x1b[K")
	return strings.Join(slices.Compact(lines), "\r\x1b[K")
}
