//go:build unix

package contract

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kshell/test/faultproxy"
)

// Setup is a server, with functions that break the connection to it and change
// its pods.
type Setup struct {
	Program
	// Through starts a proxy in front of the server, and returns the flags that
	// make kshell use it.
	Through func(t *testing.T) (*faultproxy.Proxy, []string)
	// Pod creates a pod in which no other test runs processes.
	Pod func(t *testing.T) string
	// Delete deletes a pod with grace period 0.
	Delete func(t *testing.T, pod string)
	// Remaining waits until only the first process of a pod runs, but not
	// longer than grace. It returns the other processes that are left: the
	// running ones (alive) and the zombies (dead).
	Remaining func(t testing.TB, pod string, grace time.Duration) (alive, dead []string)
}

const (
	newShell       = `connected again after [0-9]+ s: this is a new shell`
	retryCountdown = `trying again in [0-9]+ s \(Enter: now, Ctrl-D: quit\)`
)

// shell opens a shell in pod web through a proxy.
func (w Setup) shell(t *testing.T, flags ...string) (*Terminal, *faultproxy.Proxy) {
	t.Helper()
	proxy, server := w.Through(t)
	return w.Shell(t, slices.Concat(server, []string{"-it"}, flags, []string{"web", "--", "sh"})...), proxy
}

// exitShell makes the shell exit with code, and checks that the program exits
// with the same code.
func (w *Terminal) exitShell(code int) {
	w.t.Helper()
	w.Type(fmt.Sprintf("exit %d\r", code))
	w.CheckExit(code)
}

// Sessions checks a shell whose connection fails. The checks that take minutes
// are in Reset, HalfOpen, Outages, DroppedConnection, LargeOutput, Interrupt and
// TypeLines.
func Sessions(t *testing.T, w Setup) {
	for name, test := range map[string]func(*testing.T, Setup){
		"a silence is told, and passes":                     shortSilence,
		"a cut shell is taken up again at once":             cutAndBack,
		"never is never":                                    reconnectNever,
		"Enter tries at once, other keys are dropped":       enterRetries,
		"Ctrl-D gives up":                                   giveUp("\x04", 255),
		"Ctrl-C gives up":                                   giveUp("\x03", 128+int(syscall.SIGINT)),
		"--reconnect-timeout ends it":                       reconnectTimeout,
		"a cut after Ctrl-D ends it":                        cutAfterCtrlD,
		"the keys after ~":                                  escapes,
		"~. leaves a shell that is stuck":                   leaveBlocked,
		"nothing is left of a shell that is killed":         killed,
		"nothing is left of a shell that was lost":          lost,
		"a command is not run again":                        once,
		"an attempt before the start is repeated":           dialRetried,
		"a server that never comes back costs so much time": serverGone,
		"~R acts at once during an outage":                  reconnectInOutage,
		"~R acts at once on a half-open connection":         reconnectHalfOpen,
		"Ctrl-C ends a command during an outage":            interruptInOutage,
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

// shortSilence interrupts the network: long enough that a ping is late, but not
// so long that kshell considers the connection lost.
func shortSilence(t *testing.T, w Setup) {
	term, proxy := w.shell(t, "--keepalive", "5s")
	blackHole(proxy, true)
	term.WaitFor(`no reply for [0-9]+ s`)
	blackHole(proxy, false)
	term.Type("echo on''ce\r")
	term.WaitFor(`(?s)once\r\n.*ready\$ `) // a status line may be in between
	if strings.Contains(term.Text(), "connection lost") {
		t.Errorf("the connection was lost: %q", term.Text())
	}
	term.exitShell(3)
}

func blackHole(proxy *faultproxy.Proxy, on bool) {
	proxy.BlackHole(faultproxy.ToClient, on)
	proxy.BlackHole(faultproxy.ToServer, on)
}

func cutAndBack(t *testing.T, w Setup) {
	term, proxy := w.shell(t)
	term.Type("mine=old; printf '\\033[?1049h\\033[?1000h'; echo $mine\r")
	term.WaitFor(`old\r\n`)
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	term.WaitFor(`\x1b\[\?1000l`) // terminal modes of the lost shell are reset, in this order
	term.WaitFor(`\x1b\[\?1049l`)
	term.WaitFor(newShell)
	term.WaitFor(`[$#] `)
	term.Prompt()
	term.Type("echo \"[$mine]\"; stty size\r")
	term.WaitFor(`\[\]\r\n24 80\r\n`)
	term.exitShell(4)
}

func reconnectNever(t *testing.T, w Setup) {
	term, proxy := w.shell(t, "--reconnect=never")
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	term.WaitFor(`kshell: connection lost: `)
	term.CheckExit(255)
}

func enterRetries(t *testing.T, w Setup) {
	term, proxy := w.shell(t)
	refuse(t, proxy, true)
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	term.WaitFor(retryCountdown)
	term.WaitFor(retryCountdown)
	term.WaitFor(retryCountdown)
	term.Type("echo not for a''nyone") // without Enter
	refuse(t, proxy, false)
	term.Type("\r")
	term.WaitFor(newShell)
	term.WaitFor(`[$#] `)
	term.Prompt()
	if strings.Contains(term.Text(), "not for anyone") {
		t.Errorf("keys typed while there was no shell were sent: %q", term.Text())
	}
	term.exitShell(5)
}

func refuse(t *testing.T, proxy *faultproxy.Proxy, on bool) {
	t.Helper()
	if err := proxy.Refuse(on); err != nil {
		t.Error(err)
	}
}

// giveUp returns a check that types key while kshell waits for the next attempt
// to reconnect, and that kshell then ends with code.
func giveUp(key string, code int) func(*testing.T, Setup) {
	return func(t *testing.T, w Setup) {
		term, proxy := w.shell(t)
		refuse(t, proxy, true)
		proxy.Cut(faultproxy.Both, faultproxy.FIN)
		term.WaitFor(retryCountdown)
		term.Type(key)
		if code == 255 {
			term.WaitFor(`kshell: session given up`)
		}
		term.CheckExit(code)
	}
}

func reconnectTimeout(t *testing.T, w Setup) {
	term, proxy := w.shell(t, "--reconnect-timeout", "2s")
	refuse(t, proxy, true)
	proxy.Cut(faultproxy.Both, faultproxy.FIN)
	term.CheckExit(255)
}

func cutAfterCtrlD(t *testing.T, w Setup) {
	term, proxy := w.shell(t)
	blackHole(proxy, true)
	term.Type("\x04")
	time.Sleep(time.Second) // the test cannot observe when kshell has read Ctrl-D
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	term.CheckExit(255)
	if strings.Contains(term.Text(), "new shell") {
		t.Errorf("a new shell was opened: %q", term.Text())
	}
}

func escapes(t *testing.T, w Setup) {
	term, proxy := w.shell(t)
	term.Type("~?")
	for _, line := range []string{
		`~\. leave`, `~R reconnect now`, `~\^Z suspend kshell`, `~i about this session`,
		`~\? this list`, `~~ the character itself`,
	} {
		term.WaitFor(`kshell: ` + line)
	}
	for trip, tries := "", 0; !regexp.MustCompile(`[0-9.]+[mµu]s\r\n`).MatchString(trip); tries++ {
		if tries == 10 { // kshell does not measure round trips of more than a second
			t.Fatalf("the last round trip is %q", trip)
		}
		term.Type("~i")
		term.WaitFor(`kshell: pod web, container web, namespace default\r\n`)
		term.WaitFor(`kshell: node \S+\r\n`)
		term.WaitFor(`kshell: connected to https://\S+ by v5\.channel\.k8s\.io, `)
		trip = term.WaitFor(`^round trip .*\r\n`)
		term.WaitFor(`kshell: session open for [0-9ms]+: [0-9]+ bytes typed, [0-9]+ bytes shown, connections lost: 0\r\n`)
	}
	term.Type("\r")
	term.WaitFor(`ready\$ `)
	term.Type("~~")
	term.WaitFor(`~`)
	term.Type("\r")
	// The shell's error message for the command ~.
	term.WaitFor(`(?s)^\r\n.*(not found|[Pp]ermission denied|[Ii]s a directory)`)
	term.WaitFor(`ready\$ `)
	term.Type("~R")
	term.WaitFor(newShell)
	term.WaitFor(`[$#] `)
	refuse(t, proxy, true)
	proxy.Cut(faultproxy.Both, faultproxy.FIN)
	term.WaitFor(retryCountdown)
	term.TypeEscape("i", `kshell: disconnected from `) // escape sequences work without a connection
	term.Type("~.")
	term.WaitFor(`kshell: session left`)
	term.CheckExit(255)
}

// leaveBlocked types more than all buffers hold, while the remote command reads
// nothing, and then leaves with the escape sequence "~.".
func leaveBlocked(t *testing.T, w Setup) {
	term, _ := w.shell(t)
	term.Type("stty raw -echo; printf 'stu''ck'; exec sleep 1000\r")
	term.WaitFor(`stuck`)
	for range 40 {
		term.Type(strings.Repeat("x", 1000))
	}
	term.TypeEscape(".", `kshell: session left`)
	term.CheckExit(255)
}

// killed ends 50 shells, each with a child process, by signals or the escape
// sequence "~.", and checks that no process is left.
func killed(t *testing.T, w Setup) {
	pod := w.Pod(t)
	for i := range 50 {
		term := w.Shell(t, "-it", pod, "--", "sh")
		term.Type("sleep 1000 & sleep 2000\r")
		term.WaitFor(`sleep 2000\r\n`)
		switch i % 4 {
		case 0:
			term.Signal(syscall.SIGHUP)
			term.CheckExit(129)
		case 1:
			term.Signal(syscall.SIGTERM)
			term.CheckExit(143)
		case 2:
			term.Signal(interrupt())
			term.CheckExit(128 + int(interrupt()))
		default:
			term.Type("~.")
			term.CheckExit(255)
		}
	}
	if alive, _ := w.Remaining(t, pod, terminalTimeout); len(alive) > 0 { // not zombies: the first process reaps them
		t.Errorf("left in the container: %q", alive)
	}
}

// lost checks that kshell ends the old shell when it opens a new one after a
// lost connection.
func lost(t *testing.T, w Setup) {
	pod := w.Pod(t)
	proxy, server := w.Through(t)
	term := w.Shell(t, slices.Concat(server, []string{"-it", pod, "--", "sh"})...)
	term.Type("sleep 1000 & sleep 2000\r")
	term.WaitFor(`sleep 2000\r\n`)
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	term.WaitFor(newShell)
	term.WaitFor(`[$#] `)
	term.Prompt()
	term.exitShell(6)
	if alive, _ := w.Remaining(t, pod, terminalTimeout); len(alive) > 0 { // not zombies: the first process reaps them
		t.Errorf("left in the container: %q", alive)
	}
}

func once(t *testing.T, w Setup) {
	for name, flags := range map[string][]string{"exact": nil, "plain": {"--exact=never"}} {
		pod := w.Pod(t)
		proxy, server := w.Through(t)
		args := slices.Concat([]string{"exec"}, server, flags,
			[]string{pod, "--", "sh", "-c", "echo run >>runs; echo up; sleep 60"})
		term := w.Open(t, args...)
		term.WaitFor("up\r\n")
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		term.WaitFor(
			`kshell: the connection broke before the command ended, so its result is unknown; ` +
				`it (may still be running|is stopped as soon as the node detects the loss) \(connection lost: `,
		)
		term.CheckExit(255)
		if r := w.Run(t, nil, "exec", pod, "--", "cat", "runs"); r.Out != "run\n" {
			t.Errorf("%s: the command ran %q, stderr %q", name, r.Out, r.Err)
		}
	}
}

// dialRetried checks that kshell tries again if the connection breaks before
// the command has started, but not if the API refuses the request.
func dialRetried(t *testing.T, w Setup) {
	proxy, server := w.Through(t)
	term := w.Open(
		t,
		slices.Concat([]string{"exec"}, server, []string{"--connect-timeout=20s", "-v", "nopod", "--", "true"})...)
	term.CheckExit(255) // kshell does not try again if the pod is not found
	if strings.Contains(term.Text(), "trying again") {
		t.Errorf("a refusal was tried again: %q", term.Text())
	}
	proxy.CutAfter(faultproxy.ToServer, 1500, faultproxy.RST) // in or after the TLS handshake of each connection
	term = w.Open(t, slices.Concat([]string{"exec"}, server, []string{"--connect-timeout=3s", "web", "--", "true"})...)
	term.CheckExit(255)
}

// serverGone checks that kshell fails at once if the server cannot be reached.
func serverGone(t *testing.T, w Setup) {
	proxy, server := w.Through(t)
	refuse(t, proxy, true)
	r := w.Run(t, nil, slices.Concat([]string{"exec"}, server, []string{"web", "--", "true"})...)
	if r.Code != 255 || r.Took > 15*time.Second || !strings.HasPrefix(r.Err, "kshell: ") {
		t.Errorf("exit code %d after %v, stderr %q", r.Code, r.Took, r.Err)
	}
}

// Reset measures how long a shell takes to reconnect after a reset, from the
// moment when the network works again, and how long a new shell takes to open.
// It returns the medians of n measurements.
func Reset(t *testing.T, w Setup, n int) (back, opening time.Duration) {
	t.Helper()
	term, proxy := w.shell(t)
	var took, opened []time.Duration
	for range n {
		refuse(t, proxy, true)
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		term.WaitFor(`connection lost`)
		time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond) //nolint:gosec // not a secret
		refuse(t, proxy, false)
		back := time.Now()
		term.WaitFor(newShell)
		term.WaitFor(`[$#] `)
		took = append(took, time.Since(back))
		term.Prompt()
		begin := time.Now()
		other, _ := w.shell(t)
		opened = append(opened, time.Since(begin))
		other.exitShell(0)
	}
	term.exitShell(7)
	t.Logf("reconnected after %v; a new shell opened in %v", took, opened)
	return median(took), median(opened)
}

// reconnectInOutage types ~R while the network is out. kshell closes the
// connection at once, and opens a new shell when the network works again.
func reconnectInOutage(t *testing.T, w Setup) {
	term, proxy := w.shell(t, "--keepalive", "1s")
	blackHole(proxy, true)
	term.WaitFor(`no reply for [0-9]+ s`)
	term.TypeEscape("R", `connection lost: closed to open a new connection`)
	blackHole(proxy, false)
	term.WaitFor(newShell)
	term.WaitFor(`[$#] `)
	term.Prompt()
	term.exitShell(4)
}

// reconnectHalfOpen types ~R after the server's half of each connection was
// cut, including the connections for requests about the pod.
func reconnectHalfOpen(t *testing.T, w Setup) {
	term, proxy := w.shell(t)
	proxy.Cut(faultproxy.Server, faultproxy.RST)
	term.TypeEscape("R", `connection lost: closed to open a new connection`)
	begin := time.Now()
	term.WaitFor(newShell)
	if took := time.Since(begin); took > 5*time.Second { // 8 s is the time limit of the request for the pod
		t.Errorf("the new shell came after %v", took)
	}
	term.WaitFor(`[$#] `)
	term.Prompt()
	term.exitShell(5)
}

// interruptInOutage runs a command without a tty, and types Ctrl-C while the
// network is out.
func interruptInOutage(t *testing.T, w Setup) {
	proxy, server := w.Through(t)
	command := []string{"--keepalive=1s", "web", "--", "sh", "-c", "echo up; sleep 60"}
	term := w.Open(t, slices.Concat([]string{"exec"}, server, command)...)
	term.WaitFor("up\r\n")
	blackHole(proxy, true)
	term.WaitFor(`network out: no reply for [0-9]+ s`)
	begin := time.Now()
	term.Type("\x03")
	term.CheckExit(130)
	if took := time.Since(begin); took > 15*time.Second {
		t.Errorf("it took %v", took)
	}
}

// HalfOpen measures how long kshell needs to detect a connection on which
// nothing arrives, while the server answers on new connections.
func HalfOpen(t *testing.T, w Setup) time.Duration {
	t.Helper()
	term, proxy := w.shell(t)
	proxy.Cut(faultproxy.Server, faultproxy.RST)
	begin := time.Now()
	term.WaitFor(`no reply for [0-9]+ s`)
	term.WaitFor(`connection lost: the server does not answer any more`)
	took := time.Since(begin)
	term.WaitFor(`this is a new shell`)
	term.exitShell(3)
	return took
}

// Interrupt measures how long it takes from Ctrl-C to a prompt, while a command
// prints without end over a slow link. rate is in bytes per second.
func Interrupt(t *testing.T, w Setup, rate int) time.Duration {
	t.Helper()
	term, proxy := w.shell(t)
	return term.interruptYes(proxy, rate)
}

// interruptYes measures how long it takes from Ctrl-C to a prompt, while yes
// prints over a link with the rate, in bytes per second. Then the shell exits.
func (w *Terminal) interruptYes(proxy *faultproxy.Proxy, rate int) time.Duration {
	w.t.Helper()
	proxy.Rate(faultproxy.ToClient, rate)
	w.Type("yes\r")
	w.WaitFor(`(?:y\r\n){1000}`)
	time.Sleep(10 * time.Second) // until the buffers are full
	begin := time.Now()
	w.Type("\x03")
	w.WaitForWithin(5*time.Minute, `ready\$ `)
	took := time.Since(begin)
	proxy.Rate(faultproxy.ToClient, 0)
	w.exitShell(8)
	return took
}

// LargeOutput measures how long a shell takes to print 1.9 MB over a slow link.
// rate is in bytes per second.
func LargeOutput(t *testing.T, w Setup, rate int) time.Duration {
	t.Helper()
	term, proxy := w.shell(t)
	proxy.Rate(faultproxy.ToClient, rate)
	begin := time.Now()
	term.Type("seq 1 250000; echo al''l\r")
	term.WaitForWithin(5*time.Minute, `all\r\n`)
	took := time.Since(begin)
	proxy.Rate(faultproxy.ToClient, 0)
	if text := term.Text(); !strings.Contains(text, "\r\n249999\r\n250000\r\nall\r\n") {
		t.Errorf("the output ends in %q", last(text, 100))
	}
	term.exitShell(8)
	return took
}
