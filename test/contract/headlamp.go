//go:build unix

package contract

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// HeadlampSetup is a Setup whose program connects through a Headlamp server:
// its kubeconfig or environment, and the flags that Through returns, select a
// cluster of the Headlamp server.
type HeadlampSetup struct {
	Setup
	Nodes Nodes
	// ClusterPath is the path of the cluster on the server, such as
	// /headlamp/clusters/main.
	ClusterPath string
	// Kill ends the Headlamp server as SIGTERM does. The function that it
	// returns starts the server again, at the same address.
	Kill func(t *testing.T) (start func())
}

// Headlamp checks kshell through a Headlamp server. It kills the server during
// a shell and commands, and kills times during a node shell.
func Headlamp(t *testing.T, w HeadlampSetup, kills int) {
	t.Run("commands", func(t *testing.T) { protocolCases(t, w.Program) })
	t.Run("transfers", func(t *testing.T) { Transfers(t, w.Program, 6_500_000, 1) }) // 50 MB
	t.Run("terminal", func(t *testing.T) { headlampTerminal(t, w) })
	t.Run("node shell left running", func(t *testing.T) { NodeShellDetached(t, w.Program, w.Nodes) })
	t.Run("killed during a shell and commands", func(t *testing.T) { headlampKilled(t, w) })
	t.Run("killed during a node shell", func(t *testing.T) {
		NodeShellResumes(t, w.Program, w.Nodes, kills, func() { w.Kill(t)() })
	})
}

// protocolCases runs the cases that have EachProtocol set.
func protocolCases(t *testing.T, p Program) {
	for _, c := range Cases() {
		if c.EachProtocol {
			t.Run(strings.ReplaceAll(c.Name, " ", "_"), func(t *testing.T) {
				t.Parallel()
				c.Run(t, p)
			})
		}
	}
}

// headlampTerminal checks that the terminal of a shell is resized, and that ~i
// shows the address of the cluster.
func headlampTerminal(t *testing.T, w HeadlampSetup) {
	proxy, server := w.Through(t)
	term := w.Shell(t, slices.Concat(server, []string{"-it", "web", "--", "sh"})...)
	term.Type(`until [ "$(stty size)" = "40 133" ]; do sleep 0.1; done; echo re''sized` + "\r")
	term.WaitFor(`sleep 0\.1; done`)
	term.Resize(40, 133)
	term.WaitFor(`resized\r\n`)
	term.WaitFor(`ready\$ `)
	address := regexp.QuoteMeta(proxy.Addr() + w.ClusterPath)
	term.TypeEscape("i", `kshell: connected to https?://`+address+` by v5\.channel\.k8s\.io, `)
	term.exitShell(4)
}

// execInPods are the arguments that run a command in each pod of the deployment
// web and of the stateful set db. The command must be appended.
var execInPods = []string{"exec", "-l", "app in (web, db)", "--all", "--"}

// headlampKilled kills the server during a shell, a command, and a command in
// several pods, and starts it again. kshell must then open a new shell. The
// commands must exit with 255, because their results are unknown, and kshell
// must not run them again.
func headlampKilled(t *testing.T, w HeadlampSetup) {
	pods := strings.Count(w.Run(t, nil, append(execInPods, "echo", "hi")...).Out, ": hi\n")
	if pods < 3 {
		t.Fatalf("the command ran in %d pods", pods)
	}
	own := w.Pod(t)
	shell := w.Shell(t, "-it", "web", "--", "sh")
	shell.Type("mine=old; echo $mine\r")
	shell.WaitFor(`old\r\n`)
	command := w.Open(t, "exec", own, "--", "sh", "-c", "echo run >>runs; echo up; sleep 600")
	command.WaitFor(`up\r\n`)
	all := openWindow(t, w.Program, append(execInPods, "sh", "-c", "echo up; sleep 600")...)
	all.waitUntil("the output of each pod", func(text string) bool { return strings.Count(text, " up\r\n") == pods })

	start := w.Kill(t)
	shell.WaitFor(`connection lost`)
	command.WaitFor(`kshell: the connection broke before the command ended, so its result is unknown`)
	start()

	shell.WaitFor(newShell)
	shell.WaitFor(`[$#] `)
	shell.Prompt()
	shell.Type("echo \"[$mine]\"\r")
	shell.WaitFor(`\[\]\r\n`)
	shell.exitShell(5)
	command.CheckExit(255)
	all.CheckExit(255)
	if rows := strings.Count(all.errs.String(), "  255  "); rows != pods {
		t.Errorf("%d pods of %d have the code 255: %s", rows, pods, all.errs)
	}
	if r := w.Run(t, nil, "exec", own, "--", "cat", "runs"); r.Out != "run\n" {
		t.Errorf("the command ran %q, stderr %q", r.Out, r.Err)
	}
}

// LongCommands checks commands whose request line is longer than many gateways
// allow (often 8,192 bytes), and shorter ones.
func LongCommands(t *testing.T, p Program, n Nodes) {
	node := n.Names[0]
	for _, size := range []int{700, 2000, 7000} {
		script := longScript(size)
		for name, args := range map[string][]string{
			"exec":       {"exec", "web"},
			"input":      {"exec", "-i", "web"},
			"plain":      {"exec", "--exact=never", "web"},
			"node shell": n.args("-q", node),
		} {
			t.Run(fmt.Sprintf("%s, %d bytes", name, size), func(t *testing.T) {
				t.Parallel()
				checkLong(t, p.Run(t, nil, append(args, "--", "sh", "-c", script)...), size)
			})
		}
	}
	t.Run("exact mode, 20000 bytes", func(t *testing.T) {
		t.Parallel()
		r := p.Run(t, nil, "exec", "--exact=always", "web", "--", "sh", "-c", longScript(20_000))
		checkLong(t, r, 20_000)
	})
}

// longScript returns a shell script of size bytes. It prints the number of
// bytes in its variable x, and exits with 7.
func longScript(size int) string {
	const begin, end = "x=", "; echo ${#x}; exit 7"
	return begin + strings.Repeat("a", size-len(begin)-len(end)) + end
}

// checkLong checks the result of a script of longScript.
func checkLong(t *testing.T, r Result, size int) {
	t.Helper()
	if want := strconv.Itoa(size-22) + "\n"; r.Out != want || r.Code != 7 || r.Err != "" {
		t.Errorf("exit code %d, stdout %q, want %q; stderr %q", r.Code, r.Out, want, r.Err)
	}
}

// AnsweredQueries checks kshell's escape sequences in a shell that asks the
// terminal for the cursor position at each prompt, as the ash of BusyBox does.
// kshell reads the answer of the terminal as input, between Enter and the next
// key. ash is the command that starts such a shell in the pod web.
func AnsweredQueries(t *testing.T, p Program, ash ...string) {
	term := p.Open(t, append([]string{"exec", "-it", "web", "--"}, ash...)...)
	term.AnswerQueries()
	term.WaitFor(`\x1b\[6n`)
	for _, escape := range []struct{ key, shows string }{
		{"?", `kshell: ~i about this session`},
		{"i", `kshell: connected to `},
	} {
		term.TypeEscape(escape.key, escape.shows)
		term.Type("\r")
		term.WaitFor(`\x1b\[6n`)
	}
	term.TypeEscape(".", `kshell: session left`)
	term.CheckExit(255)
}
