package contract

import (
	"slices"
	"strings"
	"testing"

	"kshell/test/faultproxy"
)

// A server that drops the packets of new connections does not answer an attempt
// to reconnect. kshell shows that after 5 s, and ends at --reconnect-timeout.
func TestOutage_AttemptNotAnswered(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		flags []string
		shows string // a regular expression
	}{
		"status line": {nil, ` connecting: no answer for [0-9]+ s \(Ctrl-D: quit\) `},
		"messages":    {[]string{"-q"}, `kshell: warning: connecting: no answer for [0-9]+ s \(Ctrl-D: quit\)\r\n`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, through, _, proxy := onePod(t)
			flags := slices.Concat(through, c.flags, []string{"-v", "-it", "--reconnect-timeout", "8s", "web", "--", "sh"})
			shell := p.Shell(t, flags...)
			if err := proxy.DropPackets(true); err != nil {
				t.Fatal(err)
			}
			proxy.Cut(faultproxy.Both, faultproxy.RST)
			shell.WaitFor(c.shows)
			shell.CheckExit(255)
			if text := shell.Text(); strings.Contains(text, "could not be ended") {
				t.Errorf("kshell tried to end the shell before it ended: %q", text)
			}
		})
	}
}
