package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"kshell/internal/cleanup"
	"kshell/internal/notice"
	"kshell/internal/remote"
)

// TestMain makes the test binary run kshell if it is called kshell or by one of
// the names of the plugin. The scripts and the terminal tests run kshell that
// way. If the binary is called panickingName, it runs a kshell that panics.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){
		"kshell": testMain, pluginName: testMain, completerName: testMain, panickingName: runPanicking,
	})
}

// deadline is how long a test waits for a condition.
const deadline = time.Minute

// shortLimits is an environment variable. If it is set, kshell uses the time
// limits of production in a test. They are shorter than those of setTestLimits.
const shortLimits = "KSHELL_TEST_SHORT_LIMITS"

// testMain is main with longer time limits, because a test may run on a busy
// machine. Tests of the time limits set shortLimits.
func testMain() {
	setTestLimits()
	main()
}

// setTestLimits sets the time limits; see shortLimits, slowVariable and
// execLimitVariable. If noAgents is set, it removes the session agents.
func setTestLimits() {
	if os.Getenv(noAgents) != "" {
		agentBuild = func() string { return "" }
	}
	if os.Getenv(shortLimits) == "" {
		for _, limit := range []*time.Duration{&completionBudget, &gracePeriod} {
			*limit = time.Minute
		}
		limits = remote.Limits{
			Rights: time.Minute, Terminate: time.Minute, Status: time.Minute, Reason: time.Minute, Verify: time.Minute,
		}
		doctorLimit = time.Minute
		terminalLimits.RoundTrip, nodeShellLimits.Progress = time.Minute, time.Minute
	}
	limits.Slow, terminalLimits.Interrupt = time.Minute, time.Minute
	if slow, err := time.ParseDuration(os.Getenv(slowVariable)); err == nil {
		limits.Slow, terminalLimits.Interrupt = slow, slow
	}
	nodeShellLimits.Exec = time.Minute
	if limit, err := time.ParseDuration(os.Getenv(execLimitVariable)); err == nil {
		nodeShellLimits.Exec = limit
	}
}

// slowVariable is an environment variable that sets limits.Slow and
// terminalLimits.Interrupt.
const slowVariable = "KSHELL_TEST_SLOW_AFTER"

// execLimitVariable is an environment variable that sets nodeShellLimits.Exec.
const execLimitVariable = "KSHELL_TEST_EXEC_LIMIT"

// noAgents is an environment variable. If it is set, kshell contains no session
// agents.
const noAgents = "KSHELL_TEST_NO_AGENTS"

// suite is a testing.M that also checks for leaked goroutines.
// goleak.VerifyTestMain cannot be used, because both it and testscript.Main
// exit the process.
type suite struct{ *testing.M }

func (s suite) Run() int {
	if err := flag.Set("test.parallel", "8"); err != nil { // most of the tests spend most of their time waiting
		panic(err)
	}
	doctorLimit = time.Minute
	code := s.M.Run()
	if code != 0 {
		return code
	}
	err := goleak.Find()
	end := time.Now().Add(deadline)
	for err != nil && time.Now().Before(end) { // servers may still be closing
		time.Sleep(10 * time.Millisecond)
		err = goleak.Find()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// run runs a command line, and returns the exit code.
func run(ctx context.Context, std streams, registry *cleanup.Registry, args []string) int {
	return newApp(std, registry, "kshell", args).execute(ctx, args).ExitCode
}

// newTestApp returns an app that discards its messages and output.
func newTestApp() *app {
	a := newApp(streams{Out: io.Discard, Err: io.Discard}, &cleanup.Registry{}, "kshell", nil)
	a.server = &remote.ServerState{}
	return a
}

func TestRun_StdoutError(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}, {"--help"}, {"help", "exec"}, {"completion", "bash"}} {
		for name, c := range map[string]struct {
			err  error
			code int
		}{
			"closed pipe": {syscall.EPIPE, 141},
			"full disk":   {syscall.ENOSPC, 255},
		} {
			var stderr bytes.Buffer
			code := run(t.Context(), streams{Out: unwritable{c.err}, Err: &stderr}, &cleanup.Registry{}, args)
			if code != c.code || (stderr.Len() == 0) != (c.code == 141) {
				t.Errorf("%q, %s: exit code %d, stderr %q", args, name, code, &stderr)
			}
		}
	}
}

// unwritable is a writer that always fails with err.
type unwritable struct{ err error }

func (u unwritable) Write([]byte) (int, error) { return 0, u.err }

// errorText is the text of an error that kshell prints.
type errorText struct{ Message, Hint string }

func errorTextOf(err error) errorText {
	if err == nil {
		return errorText{}
	}
	return errorText{Message: err.Error(), Hint: notice.HintOf(err)}
}

func TestServerWarnings(t *testing.T) {
	var out bytes.Buffer
	a := newTestApp()
	a.notice, a.warnings = notice.New(&out), &atomic.Int32{}
	w := serverWarnings{a}
	w.HandleWarningHeader(299, "-", "v1 Pod is\x1b[2J deprecated")
	w.HandleWarningHeader(199, "-", "from a proxy")
	w.HandleWarningHeader(299, "-", "")
	if got, want := out.String(), "kshell: warning: v1 Pod is\\x1b[2J deprecated\n"; got != want {
		t.Errorf("printed %q, want %q", got, want)
	}
	if n := a.warnings.Load(); n != 1 {
		t.Errorf("%d warnings counted", n)
	}
}
