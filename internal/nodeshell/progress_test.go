package nodeshell

import (
	"bytes"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/notice"
)

// runProgress returns the messages that are printed during a wait that lasts
// for d and ends with err. The reason for the wait changes once, after 5 s.
func runProgress(t *testing.T, d time.Duration, err error) string {
	t.Helper()
	var printed bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		p := &progress{notice: notice.New(&printed), delay: 2 * time.Second, limit: time.Minute, onPanic: func() {}}
		p.start()
		p.update("it is not scheduled")
		if d > 5*time.Second {
			time.Sleep(5 * time.Second)
			p.update("its image is being pulled")
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
			13 * time.Second, nil, first + change +
				"kshell: still waiting after 12 s: its image is being pulled\nkshell: the pod runs after 13 s\n",
		},
		"fails after 6 s": {6 * time.Second, errors.New("it cannot start"), first + change},
	} {
		if diff := cmp.Diff(test.want, runProgress(t, test.d, test.err)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
