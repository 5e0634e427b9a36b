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

// World is a server with a network before it that can fail, and what can be done to its pods.
type World struct {
	Program
	// Through puts a proxy before the server, and gives the flags that lead kshell through it.
	Through func(t *testing.T) (*faultproxy.Proxy, []string)
	// Pod makes a pod of the test's own, with a shell and nothing else in it.
	Pod func(t *testing.T) string
	// Delete deletes a pod at once.
	Delete func(t *testing.T, pod string)
	// Left waits until nothing runs in a pod but its first process, or for so long as it may, and gives what still does.
	Left func(t testing.TB, pod string, grace time.Duration) (alive, dead []string)
}

const (
	taken = `connected again after [0-9]+ s: this is a new shell`
	again = `trying again in [0-9]+ s \(Enter: now, Ctrl-D: quit\)`
)

// shell opens one in pod web, through a network that works.
func (w World) shell(t *testing.T, flags ...string) (*Terminal, *faultproxy.Proxy) {
	t.Helper()
	proxy, server := w.Through(t)
	return w.Shell(t, slices.Concat(server, []string{"-it"}, flags, []string{"web", "--", "sh"})...), proxy
}

// ended ends a shell, with a code of its own.
func (w *Terminal) ended(code int) {
	w.t.Helper()
	w.Type(fmt.Sprintf("exit %d\r", code))
	w.MustEnd(code)
}

// Sessions are the promises of a shell whose connection fails, but for those that take minutes: see Reset, BlackHole, Interrupt and Keys.
func Sessions(t *testing.T, w World) {
	for name, test := range map[string]func(*testing.T, World){
		"a silence is told, and passes":                     quiet,
		"a cut shell is taken up again at once":             cutAndBack,
		"never is never":                                    never,
		"Enter tries at once, other keys are nobody's":      enter,
		"Ctrl-D gives up":                                   giveUp("\x04"),
		"Ctrl-C gives up":                                   giveUp("\x03"),
		"a time is the end of it":                           givesUp,
		"behind Ctrl-D a cut is the end":                    cutBehindCtrlD,
		"the keys behind ~":                                 escapes,
		"~. leaves a shell that is stuck":                   leaveStuck,
		"nothing is left of a shell that is killed":         killed,
		"nothing is left of a shell that was lost":          lost,
		"a command is not run again":                        once,
		"what has not run is tried again":                   dialled,
		"a server that never comes back costs so much time": neverBack,
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

// quiet is 18 s of silence: more than a ping may be overdue, and less than what is lost.
func quiet(t *testing.T, w World) {
	term, proxy := w.shell(t, "--keepalive", "5s")
	hole(proxy, true)
	term.Await(`no reply for [0-9]+ s`)
	hole(proxy, false)
	term.Type("echo on''ce\r")
	term.Await(`(?s)once\r\n.*ready\$ `) // a line of status may come between
	if strings.Contains(term.Text(), "connection lost") {
		t.Errorf("it was lost: %q", term.Text())
	}
	term.ended(3)
}

func hole(proxy *faultproxy.Proxy, on bool) {
	proxy.BlackHole(faultproxy.ToClient, on)
	proxy.BlackHole(faultproxy.ToServer, on)
}

func cutAndBack(t *testing.T, w World) {
	term, proxy := w.shell(t)
	term.Type("mine=old; printf '\\033[?1049h\\033[?1000h'; echo $mine\r")
	term.Await(`old\r\n`)
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	term.Await(`\x1b\[\?1000l`) // what nobody is there for any more is switched off, in this order
	term.Await(`\x1b\[\?1049l`)
	term.Await(taken)
	term.Await(`[$#] `)
	term.Prompt()
	term.Type("echo \"[$mine]\"; stty size\r")
	term.Await(`\[\]\r\n24 80\r\n`)
	term.ended(4)
}

func never(t *testing.T, w World) {
	term, proxy := w.shell(t, "--reconnect=never")
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	term.Await(`kshell: connection lost: `)
	term.MustEnd(255)
}

func enter(t *testing.T, w World) {
	term, proxy := w.shell(t)
	refuse(t, proxy, true)
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	term.Await(again)
	term.Await(again)
	term.Await(again)
	term.Type("echo not for a''nyone") // without an Enter
	refuse(t, proxy, false)
	term.Type("\r")
	term.Await(taken)
	term.Await(`[$#] `)
	term.Prompt()
	if strings.Contains(term.Text(), "not for anyone") {
		t.Errorf("keys of a time without a shell came through: %q", term.Text())
	}
	term.ended(5)
}

func refuse(t *testing.T, proxy *faultproxy.Proxy, on bool) {
	t.Helper()
	if err := proxy.Refuse(on); err != nil {
		t.Error(err)
	}
}

func giveUp(key string) func(*testing.T, World) {
	return func(t *testing.T, w World) {
		term, proxy := w.shell(t)
		refuse(t, proxy, true)
		proxy.Cut(faultproxy.Both, faultproxy.FIN)
		term.Await(again)
		term.Type(key)
		term.Await(`kshell: `)
		term.MustEnd(255)
	}
}

func givesUp(t *testing.T, w World) {
	term, proxy := w.shell(t, "--reconnect-timeout", "2s")
	refuse(t, proxy, true)
	proxy.Cut(faultproxy.Both, faultproxy.FIN)
	term.MustEnd(255)
}

func cutBehindCtrlD(t *testing.T, w World) {
	term, proxy := w.shell(t)
	hole(proxy, true)
	term.Type("\x04")
	time.Sleep(time.Second) // until kshell has read it: nothing shows that
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	term.MustEnd(255)
	if strings.Contains(term.Text(), "new shell") {
		t.Errorf("it was taken up again: %q", term.Text())
	}
}

func escapes(t *testing.T, w World) {
	term, proxy := w.shell(t)
	term.Type("~?")
	for _, line := range []string{`~\. leave`, `~R reconnect now`, `~\^Z suspend kshell`, `~i about this session`, `~\? this list`, `~~ the character itself`} {
		term.Await(`kshell: ` + line)
	}
	for trip, tries := "", 0; !regexp.MustCompile(`[0-9.]+[mµ]s\r\n`).MatchString(trip); tries++ {
		if tries == 10 { // of a second each: what takes longer is not measured
			t.Fatalf("the last round trip is %q", trip)
		}
		term.Type("~i")
		term.Await(`kshell: pod web, container web, namespace default\r\n`)
		term.Await(`kshell: node \S+\r\n`)
		term.Await(`kshell: connected to https://\S+ by v5\.channel\.k8s\.io, `)
		trip = term.Await(`^round trip .*\r\n`)
		term.Await(`kshell: for [0-9ms]+: [0-9]+ bytes typed, [0-9]+ bytes shown, connections lost: 0\r\n`)
	}
	term.Type("\r")
	term.Await(`ready\$ `)
	term.Type("~~")
	term.Await(`~`)
	term.Type("\r")
	term.Await(`(?s)^\r\n.*(not found|[Pp]ermission denied|[Ii]s a directory)`) // the shell's error message for the command ~
	term.Await(`ready\$ `)
	term.Type("~R")
	term.Await(taken)
	term.Await(`[$#] `)
	refuse(t, proxy, true)
	proxy.Cut(faultproxy.Both, faultproxy.FIN)
	term.Await(again)
	term.Escape("i", `kshell: disconnected from `) // kshell's keys work without a connection
	term.Type("~.")
	term.Await(`kshell: session left`)
	term.MustEnd(255)
}

// leaveStuck: the remote reads nothing, and more is typed than anything between holds.
func leaveStuck(t *testing.T, w World) {
	term, _ := w.shell(t)
	term.Type("stty raw -echo; printf 'stu''ck'; exec sleep 1000\r")
	term.Await(`stuck`)
	for range 40 {
		term.Type(strings.Repeat("x", 1000))
	}
	term.Escape(".", `kshell: session left`)
	term.MustEnd(255)
}

// killed: 50 shells, each with a child, are ended in the ways that there are.
func killed(t *testing.T, w World) {
	pod := w.Pod(t)
	for i := range 50 {
		term := w.Shell(t, "-it", pod, "--", "sh")
		term.Type("sleep 1000 & sleep 2000\r")
		term.Await(`sleep 2000\r\n`)
		switch i % 4 {
		case 0:
			term.Signal(syscall.SIGHUP)
			term.MustEnd(129)
		case 1:
			term.Signal(syscall.SIGTERM)
			term.MustEnd(143)
		case 2:
			term.Signal(interrupt())
			term.MustEnd(128 + int(interrupt()))
		default:
			term.Type("~.")
			term.MustEnd(255)
		}
	}
	if alive, _ := w.Left(t, pod, atLast); len(alive) > 0 { // the dead are its first process's to bury
		t.Errorf("left in the container: %q", alive)
	}
}

// lost: the shell of before the cut is ended when there is another one.
func lost(t *testing.T, w World) {
	pod := w.Pod(t)
	proxy, server := w.Through(t)
	term := w.Shell(t, slices.Concat(server, []string{"-it", pod, "--", "sh"})...)
	term.Type("sleep 1000 & sleep 2000\r")
	term.Await(`sleep 2000\r\n`)
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	term.Await(taken)
	term.Await(`[$#] `)
	term.Prompt()
	term.ended(6)
	if alive, _ := w.Left(t, pod, atLast); len(alive) > 0 { // the dead are its first process's to bury
		t.Errorf("left in the container: %q", alive)
	}
}

func once(t *testing.T, w World) {
	for name, flags := range map[string][]string{"exact": nil, "plain": {"--exact=never"}} {
		pod := w.Pod(t)
		proxy, server := w.Through(t)
		args := slices.Concat([]string{"exec"}, server, flags, []string{pod, "--", "sh", "-c", "echo run >>runs; echo up; sleep 60"})
		term := w.Open(t, args...)
		term.Await("up\r\n")
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		term.Await(`kshell: connection lost: .* before the command reported a result; it (may still be running|is ended as soon as its node detects the loss)`)
		term.MustEnd(255)
		if r := w.Run(t, nil, "exec", pod, "--", "cat", "runs"); r.Out != "run\n" {
			t.Errorf("%s: it ran %q, and said %q", name, r.Out, r.Err)
		}
	}
}

// dialled: the way to the server is open, but for the handshake of the command itself.
func dialled(t *testing.T, w World) {
	proxy, server := w.Through(t)
	term := w.Open(t, slices.Concat([]string{"exec"}, server, []string{"--connect-timeout=20s", "-v", "nopod", "--", "true"})...)
	term.MustEnd(255) // what is refused by the API is not: it would be so again
	if strings.Contains(term.Text(), "trying again") {
		t.Errorf("a refusal was tried again: %q", term.Text())
	}
	proxy.CutAfter(faultproxy.ToServer, 1500, faultproxy.RST) // in the handshake of TLS or behind it: of each connection
	term = w.Open(t, slices.Concat([]string{"exec"}, server, []string{"--connect-timeout=3s", "web", "--", "true"})...)
	term.MustEnd(255)
}

// neverBack: a server that is not there is an error at once.
func neverBack(t *testing.T, w World) {
	proxy, server := w.Through(t)
	refuse(t, proxy, true)
	r := w.Run(t, nil, slices.Concat([]string{"exec"}, server, []string{"web", "--", "true"})...)
	if r.Code != 255 || r.Took > 15*time.Second || !strings.HasPrefix(r.Err, "kshell: ") {
		t.Errorf("exit code %d after %v, stderr %q", r.Code, r.Took, r.Err)
	}
}

// Reset measures how long a shell is away whose link was reset, from when the network is back, and how long a new one takes to open meanwhile: the
// medians of n.
func Reset(t *testing.T, w World, n int) (back, opening time.Duration) {
	t.Helper()
	term, proxy := w.shell(t)
	var took, opened []time.Duration
	for range n {
		refuse(t, proxy, true)
		proxy.Cut(faultproxy.Both, faultproxy.RST)
		term.Await(`connection lost`)
		time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond) //nolint:gosec // for how long the network is away
		refuse(t, proxy, false)
		back := time.Now()
		term.Await(taken)
		term.Await(`[$#] `)
		took = append(took, time.Since(back))
		term.Prompt()
		begin := time.Now()
		other, _ := w.shell(t)
		opened = append(opened, time.Since(begin))
		other.ended(0)
	}
	term.ended(7)
	t.Logf("back at a prompt after %v; a new shell opens in %v", took, opened)
	return median(took), median(opened)
}

// BlackHole measures how long it takes to notice a link that swallows everything.
func BlackHole(t *testing.T, w World) time.Duration {
	t.Helper()
	term, proxy := w.shell(t)
	hole(proxy, true)
	begin := time.Now()
	term.Await(`no reply for [0-9]+ s`)
	term.Await(`connection lost: the server does not answer any more`)
	took := time.Since(begin)
	term.Type("\x04")
	term.MustEnd(255)
	return took
}

// Interrupt measures how long Ctrl-C takes to give a prompt while a command prints without end over so slow a link, in bytes a second.
func Interrupt(t *testing.T, w World, rate int) time.Duration {
	t.Helper()
	term, proxy := w.shell(t)
	proxy.Rate(faultproxy.ToClient, rate)
	term.Type("yes\r")
	term.Await(`(?:y\r\n){1000}`)
	time.Sleep(10 * time.Second) // for what is between us to fill
	begin := time.Now()
	term.Type("\x03")
	term.AwaitFor(5*time.Minute, `ready\$ `)
	took := time.Since(begin)
	proxy.Rate(faultproxy.ToClient, 0)
	term.ended(8)
	return took
}
