//go:build unix

package contract

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kshell/internal/sandbox"
	"kshell/test/faultproxy"
)

// If only the client's half of the connection breaks, the server and the
// command do not notice the loss. kshell prints the message, and then ends the
// command by a second exec.
func TestHalfOpenLink_NothingLeft(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args    []string
		by      faultproxy.Ending
		refused bool // no new connection can be opened for 2 s
	}{
		"command":                        {args: []string{"web"}, by: faultproxy.RST},
		"command, FIN":                   {args: []string{"web"}, by: faultproxy.FIN},
		"command, network is out":        {args: []string{"web"}, by: faultproxy.RST, refused: true},
		"upload":                         {args: []string{"-i", "web"}, by: faultproxy.RST},
		"command in all pods":            {args: []string{"--all", "-l", "app=web"}, by: faultproxy.RST},
		"command that is run again":      {args: []string{"--reconnect=always", "web"}, by: faultproxy.RST},
		"command that is run again, FIN": {args: []string{"--reconnect=always", "web"}, by: faultproxy.FIN},
		"command that ignores TERM":      {args: []string{"ignores"}, by: faultproxy.RST},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, through, s, proxy := onePod(t)
			// The command writes "up" to stderr, because the script of exact mode
			// reports there that the command is running. This report arrives
			// before "up".
			script := "echo up >&2; sleep 1000 & cat >/dev/null; wait"
			args := test.args
			if args[0] == "ignores" {
				args, script = []string{"web"}, "trap '' TERM; echo up >&2; sleep 1000; sleep 1000"
			}
			ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
			defer cancel()
			cmd := p.Command(ctx, t, slices.Concat([]string{"exec"}, through, args, []string{"--", "sh", "-c", script})...)
			if _, err := cmd.StdinPipe(); err != nil {
				t.Fatal(err)
			}
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewReader(stderr)
			waitUp := func() {
				t.Helper()
				for line := ""; !strings.HasSuffix(line, "up\n"); {
					if line, err = lines.ReadString('\n'); err != nil {
						t.Fatalf("read %q (%v)", line, err)
					}
				}
			}
			waitUp()
			if test.refused {
				refuse(t, proxy, true)
				time.AfterFunc(2*time.Second, func() { refuse(t, proxy, false) })
			}
			proxy.Cut(faultproxy.Client, test.by)
			if args[0] == "--reconnect=always" {
				waitUp() // the second run
				waitSessionsEnded(t, s, 1)
				cancel() // kills kshell
				_ = cmd.Wait()
				return
			}
			said, err := io.ReadAll(lines)
			_ = cmd.Wait() // the result is in ProcessState
			if code := ExitCode(cmd.ProcessState); err != nil || code != 255 {
				t.Errorf("exit code %d, stderr %q (%v)", code, said, err)
			}
			if broke := regexp.MustCompile("(?m)^kshell: (web: )?the connection broke"); !broke.Match(said) {
				t.Errorf("stderr %q", said)
			}
			idle, stop := context.WithTimeout(t.Context(), terminalTimeout)
			defer stop()
			if err := s.WaitIdle(idle, "default", "web"); err != nil {
				t.Errorf("%v; stderr %q", err, said)
			}
		})
	}
}

// waitSessionsEnded waits until the processes of n sessions have ended.
func waitSessionsEnded(t *testing.T, s *sandbox.Server, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), terminalTimeout)
	defer cancel()
	err := s.WaitSessions(ctx, func(all []sandbox.Session) bool {
		ended := 0
		for _, x := range all {
			if x.Exited && strings.Contains(fmt.Sprint(x.Query), "sleep 1000") {
				ended++
			}
		}
		return ended >= n
	})
	if err != nil {
		t.Errorf("%v; sessions %+v", err, s.Sessions())
	}
}
