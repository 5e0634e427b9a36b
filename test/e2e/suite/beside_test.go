package suite

import (
	"flag"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kshell/test/contract"
	"kshell/test/e2e/harness"
	"kshell/test/faultproxy"
)

var interrupts = flag.Bool("interrupts", false, "measure Ctrl-C under a flood on a slow link, too: minutes")

// a row of the table: what fails, what comes of it, in words, and what these have to be for kshell.
type fault struct {
	what, want string
	try        func(t *testing.T, w contract.Setup, ours bool) string
}

var sessionFaults = []fault{
	{"the link is reset", `^a new shell after`, func(t *testing.T, w contract.Setup, ours bool) string {
		term, proxy := openShell(t, w)
		begin := time.Now()
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		if !ours {
			return ended(term, begin)
		}
		term.WaitFor(`connected again .*\r\n(?s:.*)[$#] `)
		return fmt.Sprintf("a new shell after %s", round(time.Since(begin)))
	}},
	{"the link swallows everything", `lost after 2[0-9]`, func(t *testing.T, w contract.Setup, ours bool) string {
		term, proxy := openShell(t, w)
		proxy.BlackHole(faultproxy.ToClient, true)
		proxy.BlackHole(faultproxy.ToServer, true)
		begin := time.Now()
		if !ours {
			return ended(term, begin)
		}
		term.WaitFor(`no reply for`)
		told := round(time.Since(begin))
		term.WaitFor(`connection lost`)
		return fmt.Sprintf("told after %s, lost after %s", told, round(time.Since(begin)))
	}},
	{"idle for 30 s behind HAProxy with timeouts of 10 s", `^the shell is there$`, func(t *testing.T, w contract.Setup, _ bool) string {
		host, _, err := net.SplitHostPort(harness.MainServer.Addr())
		check(t, err)
		begin := time.Now()
		term := w.Shell(t, "--server", "https://"+haproxy(t, harness.MainServer.Addr()), "--tls-server-name", host, "-it", "web", "--", "sh")
		lasts(30 * time.Second)
		term.Type("echo al''ive\r")
		if term.ShowsWithin(soon, `alive\r\n`) {
			return "the shell is there"
		}
		return ended(term, begin)
	}},
	{"the program is ended by TERM while a command sleeps", `^0 processes`, func(t *testing.T, w contract.Setup, _ bool) string {
		pod := w.Pod(t)
		term := w.Shell(t, "-it", pod, "--", "sh")
		term.Type("sleep 1000\r")
		term.WaitFor(`sleep 1000\r\n`)
		term.Signal(syscall.SIGTERM)
		term.Exit()
		alive, _ := w.Remaining(t, pod, soon)
		return fmt.Sprintf("%d processes are left", len(alive))
	}},
	{"the pod is deleted", `code (137|255), and the reason is said$`, func(t *testing.T, w contract.Setup, ours bool) string {
		pod := w.Pod(t)
		term := w.Shell(t, "-it", pod, "--", "sh")
		begin := time.Now()
		w.Delete(t, pod)
		how := ended(term, begin)
		if regexp.MustCompile(`pod "?` + pod + `"? (was|is being) deleted`).MatchString(term.Text()) {
			how += ", and the reason is said"
		}
		return how
	}},
}

func openShell(t *testing.T, w contract.Setup) (*contract.Terminal, *faultproxy.Proxy) {
	t.Helper()
	proxy, server := w.Through(t)
	return w.Shell(t, append(slices.Clone(server), "-it", "web", "--", "sh")...), proxy
}

// ended waits for the program's end, for two minutes.
func ended(term *contract.Terminal, begin time.Time) string {
	code, ok := term.ExitWithin(2 * time.Minute)
	if !ok {
		return "nothing in 2 min"
	}
	return fmt.Sprintf("ends after %s with code %d", round(time.Since(begin)), code)
}

func round(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

// TestSessionsBesideKubectl prints the table of docs/sessions.md (-v), and fails where kshell does not what that says.
func TestSessionsBesideKubectl(t *testing.T) {
	notInCI(t)
	rows := sessionFaults
	if *interrupts {
		rows = append(rows, fault{"Ctrl-C while yes runs, at 64 kB/s", `^a prompt after`, func(t *testing.T, w contract.Setup, _ bool) string {
			return "a prompt after " + round(contract.Interrupt(t, w, 64_000))
		}})
	}
	cells := make([][2]string, len(rows))
	t.Run("rows", func(t *testing.T) {
		for i, row := range rows {
			for j, p := range []contract.Program{kubectl(), program(cluster.Kubeconfig())} {
				t.Run(row.what+", "+[]string{"kubectl", "kshell"}[j], func(t *testing.T) {
					t.Parallel()
					w := world(harness.MainServer)
					w.Program = p
					cells[i][j] = row.try(t, w, j == 1)
					if j == 1 && !regexp.MustCompile(row.want).MatchString(cells[i][j]) {
						t.Errorf("%s: %s, which should be %s", row.what, cells[i][j], row.want)
					}
				})
			}
		}
	})
	var table strings.Builder
	for i, row := range rows {
		fmt.Fprintf(&table, "| %s | %s | %s |\n", row.what, cells[i][0], cells[i][1])
	}
	t.Logf("\n| | kubectl | kshell |\n|---|---|---|\n%s", table.String())
}
