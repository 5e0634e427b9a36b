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

// TestMain makes the test binary run kshell when it is called by the name kshell, or by
// one of the plugin's names: the scripts and the terminal tests run it that way. Called
// panickingName, it runs a kshell that panics.
func TestMain(m *testing.M) {
	testscript.Main(suite{m}, map[string]func(){"kshell": unhurried, pluginName: unhurried, completerName: unhurried, panickingName: runPanicking})
}

// deadline is how long a test waits for what should happen at once.
const deadline = time.Minute

// hurried is an environment variable that makes kshell keep its short time limits in a
// test.
const hurried = "KSHELL_TEST_HURRIED"

// unhurried is main with longer time limits, because a busy machine may stall longer
// than a user would wait. Tests of the time limits set hurried.
func unhurried() {
	giveTime()
	main()
}

// giveTime sets the time limits for tests: see hurried, slowVariable and
// execLimitVariable.
func giveTime() {
	if os.Getenv(hurried) == "" {
		for _, limit := range []*time.Duration{&completionBudget, &gracePeriod} {
			*limit = time.Minute
		}
		limits = remote.Limits{Rights: time.Minute, Terminate: time.Minute, Status: time.Minute, Reason: time.Minute}
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

// slowVariable is an environment variable that sets limits.Slow and terminalLimits.Interrupt.
const slowVariable = "KSHELL_TEST_SLOW_AFTER"

// execLimitVariable is an environment variable that sets nodeShellLimits.Exec.
const execLimitVariable = "KSHELL_TEST_EXEC_LIMIT"

// suite is a testing.M with goleak.VerifyTestMain's check, which cannot be used as it is: both it and testscript.Main end the
// process.
type suite struct{ *testing.M }

func (s suite) Run() int {
	if err := flag.Set("test.parallel", "8"); err != nil { // most tests wait most of the time
		panic(err)
	}
	code := s.M.Run()
	if code != 0 {
		return code
	}
	err := goleak.Find()
	for late := time.Now().Add(deadline); err != nil && time.Now().Before(late); err = goleak.Find() { // servers may still be closing
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// run is the program under its own name.
func run(ctx context.Context, std streams, registry *cleanup.Registry, args []string) int {
	return newApp(std, registry, "kshell", args).execute(ctx, args)
}

// newApp is an app whose words and output are discarded.
func newTestApp() *app {
	return &app{streams: streams{Out: io.Discard, Err: io.Discard}, printed: &errWriter{Writer: io.Discard}, notice: notice.New(io.Discard), cleanup: &cleanup.Registry{}, name: "kshell", server: &remote.ServerState{}}
}

func TestWhatNobodyReadsIsNoSuccess(t *testing.T) {
	for _, args := range [][]string{{"version"}, {"--version"}, {"--help"}, {"help", "exec"}, {"completion", "bash"}} {
		for name, c := range map[string]struct {
			err  error
			code int
		}{
			"closed pipe": {syscall.EPIPE, 141},
			"full disk":   {syscall.ENOSPC, 255},
		} {
			var said bytes.Buffer
			code := run(t.Context(), streams{Out: unwritable{c.err}, Err: &said}, &cleanup.Registry{}, args)
			if code != c.code || (said.Len() == 0) != (c.code == 141) {
				t.Errorf("%q, %s: exit code %d, said %q", args, name, code, &said)
			}
		}
	}
}

type unwritable struct{ err error }

func (u unwritable) Write([]byte) (int, error) { return 0, u.err }

// errorText is what is printed of an error.
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
