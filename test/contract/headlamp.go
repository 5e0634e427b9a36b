//go:build unix

package contract

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/creack/pty"

	"kshell/test/faultproxy"
)

// HeadlampSetup is a Setup whose program and proxies reach the API server
// through a Headlamp server.
type HeadlampSetup struct {
	Setup
	// URL is the URL of the cluster at the Headlamp server:
	// BASE/clusters/NAME.
	URL    string
	Server HeadlampServer
	// Nodes describes the nodes, for node shells in a namespace that has no
	// other node shells.
	Nodes func(t *testing.T) Nodes
	// Cuts is how often the connection of a node shell is cut.
	Cuts int
}

// HeadlampServer is a Headlamp server that a test can restart.
type HeadlampServer interface {
	// Kill ends the server. Its connections end without a close frame.
	Kill()
	// Start starts the server again, at the same address.
	Start() error
}

// Headlamp checks that kshell works through a Headlamp server as it does with
// the API server itself. The last check restarts the server.
func Headlamp(t *testing.T, w HeadlampSetup) {
	t.Run("exec", func(t *testing.T) {
		Case{
			Args: sh("echo out; echo err >&2; exit 7"), Out: "out\n", Err: []string{"err\n"}, Code: 7, Quiet: true,
			EachProtocol: true,
		}.Run(t, w.Program)
	})
	t.Run("transfers of 50 MB", func(t *testing.T) { Transfers(t, w.Program, 6_500_000, 1) })
	t.Run("terminal", func(t *testing.T) { headlampTerminal(t, w) })
	t.Run("node shell, cut", func(t *testing.T) {
		proxy, flags := w.Through(t)
		cut := func() { proxy.Cut(faultproxy.Both, faultproxy.RST) }
		NodeShellResumes(t, w.Program, w.Nodes(t), w.Cuts, cut, flags...)
	})
	t.Run("node shell, detached", func(t *testing.T) { NodeShellDetached(t, w.Program, w.Nodes(t)) })
	t.Run("long commands", func(t *testing.T) { LongCommands(t, w.Program, w.Nodes(t)) })
	t.Run("restart", func(t *testing.T) { headlampRestart(t, w) })
}

// headlampTerminal checks that the shell gets the size of the terminal, and
// that the information about the session contains the URL of the cluster.
func headlampTerminal(t *testing.T, w HeadlampSetup) {
	term := w.Shell(t, "-it", "web", "--", "sh")
	if err := pty.Setsize(term.user, &pty.Winsize{Rows: 44, Cols: 133}); err != nil {
		t.Fatal(err)
	}
	term.Type("until [ \"$(stty size)\" = '44 133' ]; do sleep 0.1; done; echo resi''zed\r")
	term.WaitFor(`resized\r\n`)
	term.WaitFor(`ready\$ `)
	term.TypeEscape("i", `kshell: connected to `+regexp.QuoteMeta(w.URL)+` by v5\.channel\.k8s\.io, `)
	term.exitShell(4)
}

// headlampRestart kills the Headlamp server during a shell, a command, and a
// command in several pods, and starts it again.
func headlampRestart(t *testing.T, w HeadlampSetup) {
	shell := w.Shell(t, "-it", "web", "--", "sh")
	command := w.Open(t, append([]string{"exec"}, sh("echo up; sleep 60")...)...)
	command.WaitFor(`up\r\n`)
	many := w.Open(t, "exec", "--all", "-l", "app in (web, db)", "--", "sh", "-c", "echo up; sleep 60")
	many.WaitFor(`(?s)(up\r\n.*){3}`)
	w.Server.Kill()
	shell.WaitFor(`connection lost`)
	shell.WaitFor(retryCountdown)
	if err := w.Server.Start(); err != nil {
		t.Fatal(err)
	}
	shell.Type("\r")
	shell.WaitFor(newShell)
	shell.WaitFor(`[$#] `)
	shell.Prompt()
	shell.exitShell(3)
	command.CheckExit(255)
	if text := command.Text(); !strings.Contains(text, "the connection broke before the command ended") {
		t.Errorf("a command: %q", text)
	}
	many.CheckExit(255)
	if lost := strings.Count(many.Text(), "  255  lost\r\n"); lost < 3 {
		t.Errorf("a command in several pods: %d lost connections: %q", lost, many.Text())
	}
}

// LongCommands runs commands of 700 to 20,000 bytes. Proxies limit the length
// of a request line, often to 8,192 or 4,096 bytes.
func LongCommands(t *testing.T, p Program, n Nodes) {
	script := func(size int) string {
		const end = "\necho ran; exit 5"
		return "#" + strings.Repeat("x", size-len("#"+end)) + end
	}
	check := func(t *testing.T, args ...string) {
		t.Parallel()
		if r := p.Run(t, nil, args...); r.Code != 5 || r.Out != "ran\n" || r.Err != "" {
			t.Errorf("exit code %d, stdout %q, stderr %q", r.Code, r.Out, r.Err)
		}
	}
	for _, size := range []int{700, 2000, 7000} {
		t.Run(fmt.Sprint(size, " bytes"), func(t *testing.T) {
			check(t, append([]string{"exec"}, sh(script(size))...)...)
		})
		t.Run(fmt.Sprint(size, " bytes on a node"), func(t *testing.T) {
			check(t, n.args("-q", n.Names[0], "--", "sh", "-c", script(size))...)
		})
	}
	t.Run("20000 bytes in exact mode", func(t *testing.T) {
		check(t, append([]string{"exec", "--exact=always"}, sh(script(20_000))...)...)
	})
}
