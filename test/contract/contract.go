// Package contract specifies kshell exec and node-shell as cases that run
// against any API server with the seeded pods: the sandbox (the tests of this
// package) and a real cluster (test/e2e/suite). It runs the kshell binary, as a
// script would.
//
// These pods must exist in namespace default: pod/web, deploy/web (2 pods,
// container web), svc/web, sts/db, ds/agent, job/once (its pod has completed),
// pod/multi (containers a, b), pod/annotated (the default container main is not
// the first), pod/with-init (init, finished; sidecar, restartable; main),
// pod/crash, pod/pulling, pod/pending.
package contract

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Subprotocols are the subprotocols of exec, by their names on the wire.
var Subprotocols = []string{
	"v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "base64.channel.k8s.io", "channel.k8s.io",
}

// Program is a kshell or kubectl binary, with the server that it uses.
type Program struct {
	Path       string // of the binary
	Kubeconfig string
	Home       string   // HOME of the program; "": a new temporary directory for each run
	Env        []string // further environment variables, NAME=VALUE
}

// Result is the result of a run.
type Result struct {
	Out      string   // stdout
	Err      string   // stderr, without the notes in Progress
	Progress []string // the parts of stderr that match progressNote
	Code     int      // as ExitCode returns it
	Exited   bool     // false if a signal has ended the program
	Took     time.Duration
}

// progressNote matches a note that kshell prints if the server needs more than
// a few seconds to answer or to start the command, or if the upload of the session
// agent takes long. On a busy machine, any run can print such notes. With several
// pods, the name of the pod follows "kshell: ".
var progressNote = regexp.MustCompile(`(?m)^kshell: (\S+: )?(waiting for|uploading) .*press Ctrl-C to cancel\)\n`)

func newResult(out, errs string, state *os.ProcessState, start time.Time) Result {
	return Result{
		Out: out, Err: progressNote.ReplaceAllString(errs, ""), Progress: progressNote.FindAllString(errs, -1),
		Code: ExitCode(state), Exited: state.Exited(), Took: time.Since(start),
	}
}

// FalseSuccess reports whether r is a false success: r.Code is 0, although the
// command exited with another code, which is the parameter code. An API server
// that translates v5 WebSockets to SPDY itself sometimes reports a false
// success if stdin is in flight and exact mode is off (docs/exact.md).
func (r Result) FalseSuccess(t *testing.T, code int) bool {
	t.Helper()
	isFalse := r.Code == 0 && code != 0
	if isFalse {
		t.Logf("the server reported success for exit code %d", code)
	}
	return isFalse
}

// MaxFalseSuccesses is how many times a command is run if each run ends with a
// false success.
const MaxFalseSuccesses = 3

// runTimeout is the time limit of one run.
const runTimeout = 4 * time.Minute

// Run runs the program and waits for its end. If stdin is nil, the stdin of the
// program is /dev/null. If the program does not end within runTimeout, the test
// fails.
func (p Program) Run(t testing.TB, stdin []byte, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	cmd := p.Command(ctx, t, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if stdin != nil {
		cmd.Stdin = bytes.NewReader(stdin)
	}
	start := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		t.Fatalf("%s %q still ran after %v; stdout %.500q, stderr %.500q", p.Path, args, runTimeout, out.String(),
			errs.String())
	case err != nil && !errors.As(err, &exit):
		t.Fatalf("%s %q: %v", p.Path, args, err)
	}
	return newResult(out.String(), errs.String(), cmd.ProcessState, start)
}

// ExitCode returns the exit code of a process as a shell shows it in $?: 128+n
// if signal n has ended the process.
func ExitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}

// Command returns a command that runs the program, in an environment without
// the configuration of the user.
func (p Program) Command(ctx context.Context, t testing.TB, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.Path, args...)
	home := p.Home
	if home == "" {
		home = t.TempDir()
	}
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + home,
		"KUBECONFIG=" + p.Kubeconfig,
		"GORACE=atexit_sleep_ms=0",
		"TERM=xterm-256color",
	}, p.Env...)
	return cmd
}

// Case is a command line and its expected result.
type Case struct {
	Name string
	Args []string // after `kshell exec`
	In   string   // stdin; "": /dev/null
	Out  string   // all of stdout
	Err  []string // parts of stderr
	Code int
	// Quiet requires that stderr is exactly Err, joined.
	Quiet bool
	// ErrPattern, if not nil, must match all of stderr.
	ErrPattern *regexp.Regexp
	// EachProtocol runs the case once with each subprotocol.
	EachProtocol bool
	// Differs is the reason why kubectl exec has another stdout or exit code
	// for these arguments; "" if it has the same.
	Differs string
}

// Run runs the case.
func (c Case) Run(t *testing.T, p Program) {
	if !c.EachProtocol {
		c.check(t, p.Run(t, c.input(), append([]string{"exec"}, c.Args...)...))
		return
	}
	for _, name := range Subprotocols {
		t.Run(name, func(t *testing.T) {
			c.check(t, p.Run(t, c.input(), append([]string{"exec", "--subprotocol", name}, c.Args...)...))
		})
	}
}

func (c Case) input() []byte {
	if c.In == "" {
		return nil
	}
	return []byte(c.In)
}

func (c Case) check(t *testing.T, r Result) {
	t.Helper()
	if r.Code != c.Code {
		t.Errorf("exit code %d, want %d", r.Code, c.Code)
	}
	if r.Out != c.Out {
		t.Errorf("stdout %.500q, want %.500q", r.Out, c.Out)
	}
	for _, words := range c.Err {
		if !strings.Contains(r.Err, words) {
			t.Errorf("stderr lacks %q", words)
		}
	}
	if want := strings.Join(c.Err, ""); c.Quiet && r.Err != want {
		t.Errorf("stderr is not exactly %q", want)
	}
	if c.ErrPattern != nil && !c.ErrPattern.MatchString(r.Err) {
		t.Errorf("stderr does not match %s", c.ErrPattern)
	}
	if t.Failed() {
		t.Logf("kshell exec %q\nstderr:\n%s", c.Args, r.Err)
	}
}

// Run runs all the cases.
func Run(t *testing.T, p Program) {
	for _, c := range Cases() {
		t.Run(strings.ReplaceAll(c.Name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			c.Run(t, p)
		})
	}
}
