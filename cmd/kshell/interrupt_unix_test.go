//go:build unix

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/cleanup"
	"kshell/internal/sandbox"
)

// waitInPod is a command for a container: it prints up and waits.
const waitInPod = `sh -c 'echo u""p; exec sleep 1000'`

// openBash opens an interactive bash, which has job control, in a terminal.
func openBash(t *testing.T, s *sandbox.Server) *console {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip(err)
	}
	c := open(t, s, "bash", "--norc", "--noprofile", "-i")
	c.prompt()
	return c
}

// Ctrl-C ends the whole loop of a shell, and not only the kshell that the loop
// is running: the shell must see that SIGINT has ended kshell.
func TestCtrlC_EndsLoopOfShell(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		line  string // the body of the loop
		shown string // a regular expression for what the terminal shows before Ctrl-C
		down  bool   // stop the server before Ctrl-C
	}{
		"command":          {line: "kshell exec web -- " + waitInPod, shown: "up\r\n"},
		"command in pods":  {line: "kshell exec --all -l app=web -- " + waitInPod, shown: "up\r\n"},
		"wait for the pod": {line: "kshell exec --pod-running-timeout=10m pending -- true", shown: "is not scheduled"},
		"list":             {line: "kshell exec", shown: "> "},
		"numbered list":    {line: "TERM=dumb kshell exec", shown: `cancel\): `},
		"diagnosis":        {line: "kshell doctor --slow", shown: `idle for [0-9]+s of up to 5m0s`},
		"lost connection":  {line: "kshell exec -it web -- sh", shown: `web\$ `, down: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := runSandbox(t, sandbox.Config{})
			c := openBash(t, s)
			c.keys("for i in 1 2 3; do echo run''-$i; " + test.line + "; done; echo not ''this\r")
			c.waitFor("run-1\r\n")
			c.waitFor(test.shown)
			if test.down {
				goDown(c, s)
			}
			c.keys("\x03")
			c.mustBeInterrupted("run-2", "not this")
		})
	}
}

// mustBeInterrupted waits for the prompt of bash, and checks that $? is 130 and
// that the terminal shows none of the texts.
func (c *console) mustBeInterrupted(texts ...string) {
	c.t.Helper()
	c.prompt()
	c.run("echo code=$?", "code=130\r\n")
	c.prompt()
	c.keys("exit 7\r")
	c.mustEnd(7)
	for _, text := range texts {
		if bytes.Contains(c.all(), []byte(text)) {
			c.t.Errorf("the terminal shows %q:\n%s", text, c.all())
		}
	}
}

func TestCtrlC_EndsListOfShell(t *testing.T) {
	t.Parallel()
	c := openBash(t, runSandbox(t, sandbox.Config{}))
	c.keys("kshell exec web -- " + waitInPod + "; echo not ''this\r")
	c.waitFor("up\r\n")
	c.keys("\x03")
	c.mustBeInterrupted("not this")
}

// A command that exits with 130 does not end the loop: no signal has ended
// kshell.
func TestExitCode130_DoesNotEndLoopOfShell(t *testing.T) {
	t.Parallel()
	c := openBash(t, runSandbox(t, sandbox.Config{}))
	c.run("for i in 1 2; do kshell exec web -- sh -c 'exit 130'; echo code=$? run-$i; done", "code=130 run-2\r\n")
	c.prompt()
	c.keys("exit 7\r")
	c.mustEnd(7)
}

// SIGINT ends kshell even if the exit is forced because the server does not
// answer the request that ends the remote shell.
func TestCtrlC_ForcedExit(t *testing.T) {
	t.Parallel()
	s := runSandbox(t, sandbox.Config{})
	c := openBash(t, s)
	c.keys(shortLimits + "=1 kshell exec -it web -- sh; echo not ''this\r")
	c.waitFor(`web\$ `)
	s.Inject(sandbox.Fault{Path: "/", Do: sandbox.Hang})
	begin := time.Now()
	if err := syscall.Kill(-c.foreground(), syscall.SIGINT); err != nil {
		t.Error(err)
	}
	c.mustBeInterrupted("not this")
	if took := time.Since(begin); took < cleanup.DefaultGracePeriod {
		t.Errorf("the exit was not forced: it took only %v", took)
	}
}

// foreground returns the foreground process group of the terminal.
func (c *console) foreground() int {
	c.t.Helper()
	group, err := unix.IoctlGetInt(int(c.user.Fd()), unix.TIOCGPGRP)
	if err != nil {
		c.t.Fatal(err)
	}
	return group
}

// The status record is complete even if the exit is forced, and never reports a
// success that the command did not report.
func TestStatusFile_EarlyEnd(t *testing.T) {
	t.Parallel()
	forced := func(c *console, s *sandbox.Server) {
		s.Inject(sandbox.Fault{Path: "/", Do: sandbox.Hang})
		c.signal(syscall.SIGTERM)
	}
	panicInSession := func(c *console, _ *sandbox.Server) { c.keys("echo panic-in-''stdout\r") }
	const (
		onNode1  = `.*"pod":"[^"]+",.*"container":"[^"]+","node":"node1"`
		signal   = `"exitCode":143,"cause":"signal"`
		panicked = `"exitCode":255,"cause":"failed","message":"panic: test: stdout`
	)
	inPod := []string{"exec", "-it", "web", "--", "sh"}
	for name, test := range map[string]struct {
		line   []string
		panics bool
		end    func(*console, *sandbox.Server)
		code   int
		record string // a regular expression
	}{
		"forced exit": {
			line: inPod, end: forced, code: 143, record: signal + `.*"pod":"web"`,
		},
		"panic in the session": {
			line: inPod, panics: true, end: panicInSession,
			code: 255, record: panicked + `.*"pod":"web"`,
		},
		"forced exit, node": {
			line: onNode(), end: forced, code: 143, record: signal + onNode1,
		},
		"panic in the session, node": {
			line: onNode(), panics: true, end: panicInSession,
			code: 255, record: panicked + onNode1,
		},
		"panic in the session, node without log": {
			line: onNode("--no-log"), panics: true, end: panicInSession,
			code: 255, record: panicked + onNode1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, file, path := startSandbox(t), pathOf(t, "status"), program(t)
			if test.panics {
				path = panicking(t)
			}
			line := slices.Insert(slices.Clone(test.line), 1, "--status-file", file)
			c := open(t, s, "env", slices.Concat([]string{shortLimits + "=1", path}, line)...)
			c.prompt()
			test.end(c, s)
			c.mustEnd(test.code)
			got, err := os.ReadFile(file)
			if err != nil || !regexp.MustCompile(test.record).Match(got) || strings.Count(string(got), "\n") != 1 {
				t.Errorf("%v, the record is %q, want one that matches %s", err, got, test.record)
			}
		})
	}
}

// SIGINT ends kshell while it reads a kubeconfig or a kuberc file from a pipe
// to which nothing is written.
func TestCtrlC_SilentPipe(t *testing.T) {
	t.Parallel()
	s := runSandbox(t, sandbox.Config{})
	withPlugin, _ := withNoisyPlugin(t, s, clientcmdapi.NeverExecInteractiveMode)
	for name, flags := range map[string][]string{
		"kubeconfig": {"--kubeconfig"},
		"kuberc":     {"--kubeconfig", withPlugin, "--kuberc"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := syscall.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := command(t, s, append(slices.Concat([]string{"exec"}, flags), pipe, "web", "--", "true")...)
			cmd.Env = append(cmd.Env, shortLimits+"=1")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer mustOpen(t, pipe).Close()
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Error(err)
			}
			_ = cmd.Wait() // the state of the process is checked
			if status := cmd.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGINT {
				t.Errorf("kshell ended with %v, want the signal SIGINT", cmd.ProcessState)
			}
		})
	}
}

// mustOpen opens a pipe for writing when another process has opened it for
// reading.
func mustOpen(t *testing.T, pipe string) *os.File {
	t.Helper()
	for end := time.Now().Add(deadline); ; time.Sleep(5 * time.Millisecond) {
		file, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0) // an error if there is no reader
		switch {
		case err == nil:
			return file
		case !errors.Is(err, syscall.ENXIO) || time.Now().After(end):
			t.Fatal(err)
		}
	}
}
