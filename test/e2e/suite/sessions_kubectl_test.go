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

var interrupts = flag.Bool("interrupts", false,
	"also measure Ctrl-C during endless output on a slow link (takes minutes)")

// fault is a row of the table in docs/sessions.md: what fails, and a regular
// expression for the outcome with kshell. try causes the fault, and returns the
// outcome.
type fault struct {
	what, want string
	try        func(t *testing.T, w contract.Setup, isKshell bool) string
}

// surviveOutage types a line at the beginning of an outage of the network, and
// returns whether and when the shell has run the line.
func surviveOutage(t *testing.T, w contract.Setup, _ bool) string {
	const outage = 40 * time.Second
	term, proxy := openShell(t, w)
	must(t, proxy.DropPackets(true))
	begin := time.Now()
	term.Type("echo still''here\r")
	keepFault(outage)
	must(t, proxy.DropPackets(false))
	if !term.ShowsWithin(outage, `stillhere\r\n`) {
		return exitOutcome(term, begin)
	}
	return fmt.Sprintf("the shell continues after %s", round(time.Since(begin)))
}

// loseServerHalf cuts only the server's half of the connection.
func loseServerHalf(t *testing.T, w contract.Setup, isKshell bool) string {
	term, proxy := openShell(t, w)
	proxy.Cut(faultproxy.Server, faultproxy.RST)
	begin := time.Now()
	if !isKshell {
		return exitOutcome(term, begin)
	}
	term.WaitFor(`no reply for`)
	noticed := round(time.Since(begin))
	term.WaitFor(`connection lost`)
	return fmt.Sprintf("message after %s, lost after %s", noticed, round(time.Since(begin)))
}

var sessionFaults = []fault{
	{"the connection is reset", `^new shell after`, func(t *testing.T, w contract.Setup, isKshell bool) string {
		term, proxy := openShell(t, w)
		begin := time.Now()
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		if !isKshell {
			return exitOutcome(term, begin)
		}
		term.WaitFor(`connected again .*\r\n(?s:.*)[$#] `)
		return fmt.Sprintf("new shell after %s", round(time.Since(begin)))
	}},
	{"the network drops all packets for 40 s", `^the shell continues`, surviveOutage},
	{"the server has lost the connection", `lost after 2[0-9]`, loseServerHalf},
	{
		"idle for 30 s behind HAProxy with timeouts of 10 s",
		`^the shell is alive$`,
		func(t *testing.T, w contract.Setup, _ bool) string {
			host, _, err := net.SplitHostPort(harness.MainServer.Addr())
			must(t, err)
			begin := time.Now()
			term := w.Shell(
				t,
				"--server",
				"https://"+haproxy(t, harness.MainServer.Addr()),
				"--tls-server-name",
				host,
				"-it",
				"web",
				"--",
				"sh",
			)
			keepFault(30 * time.Second)
			term.Type("echo al''ive\r")
			if term.ShowsWithin(shortTimeout, `alive\r\n`) {
				return "the shell is alive"
			}
			return exitOutcome(term, begin)
		},
	},
	{
		"the client is ended by TERM while a command sleeps",
		`^0 processes`,
		func(t *testing.T, w contract.Setup, _ bool) string {
			pod := w.Pod(t)
			term := w.Shell(t, "-it", pod, "--", "sh")
			term.Type("sleep 1000\r")
			term.WaitFor(`sleep 1000\r\n`)
			term.Signal(syscall.SIGTERM)
			term.Exit()
			alive, _ := w.Remaining(t, pod, shortTimeout)
			return fmt.Sprintf("%d processes remain", len(alive))
		},
	},
	{
		"the pod is deleted",
		`code (137|255), and the reason is shown$`,
		func(t *testing.T, w contract.Setup, isKshell bool) string {
			pod := w.Pod(t)
			term := w.Shell(t, "-it", pod, "--", "sh")
			begin := time.Now()
			w.Delete(t, pod)
			outcome := exitOutcome(term, begin)
			if regexp.MustCompile(`pod "?` + pod + `"? (was|is being) deleted`).MatchString(term.Text()) {
				outcome += ", and the reason is shown"
			}
			return outcome
		},
	},
}

func openShell(t *testing.T, w contract.Setup) (*contract.Terminal, *faultproxy.Proxy) {
	t.Helper()
	proxy, server := w.Through(t)
	return w.Shell(t, append(slices.Clone(server), "-it", "web", "--", "sh")...), proxy
}

// exitOutcome waits up to two minutes for the exit of the program, and
// describes it.
func exitOutcome(term *contract.Terminal, begin time.Time) string {
	code, ok := term.ExitWithin(2 * time.Minute)
	if !ok {
		return "still runs after 2 min"
	}
	return fmt.Sprintf("ends after %s with code %d", round(time.Since(begin)), code)
}

func round(d time.Duration) string { return d.Round(100 * time.Millisecond).String() }

// TestSessions_KubectlTable logs the table of docs/sessions.md, and fails if
// kshell does not behave as the table says.
func TestSessions_KubectlTable(t *testing.T) {
	notInCI(t)
	rows := sessionFaults
	if *interrupts {
		rows = append(
			rows,
			fault{"Ctrl-C while yes runs, at 64 kB/s", `^prompt after`, func(t *testing.T, w contract.Setup, _ bool) string {
				return "prompt after " + round(contract.Interrupt(t, w, 64_000))
			}},
		)
	}
	cells := make([][2]string, len(rows))
	t.Run("rows", func(t *testing.T) {
		for i, row := range rows {
			for j, p := range []contract.Program{kubectl(), program(cluster.Kubeconfig())} {
				t.Run(row.what+", "+[]string{"kubectl", "kshell"}[j], func(t *testing.T) {
					t.Parallel()
					w := setup(harness.MainServer)
					w.Program = p
					cells[i][j] = row.try(t, w, j == 1)
					if j == 1 && !regexp.MustCompile(row.want).MatchString(cells[i][j]) {
						t.Errorf("%s: %s, want %s", row.what, cells[i][j], row.want)
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

// TestSessions_LargeOutput compares how long a shell takes to print a large
// output over a slow link with kubectl and with kshell. The shortest of several
// runs of each program counts, because the machine may be busy.
func TestSessions_LargeOutput(t *testing.T) {
	notInCI(t)
	const rate, runs = 300_000, 3
	w := setup(harness.MainServer)
	shortest := [2]time.Duration{time.Hour, time.Hour}
	for range runs {
		for i, p := range []contract.Program{kubectl(), program(cluster.Kubeconfig())} {
			w.Program = p
			shortest[i] = min(shortest[i], contract.LargeOutput(t, w, rate))
		}
	}
	t.Logf("kubectl %v, kshell %v", shortest[0], shortest[1])
	if shortest[1] > shortest[0]+shortest[0]/4+time.Second {
		t.Errorf("kshell takes %v, kubectl %v", shortest[1], shortest[0])
	}
}
