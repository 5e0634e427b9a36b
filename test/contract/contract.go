// Package contract is what kshell exec promises, as cases that run against any API server that holds the seeded pods: the sandbox (this
// package's own tests) and a real cluster (test/e2e/suite). It drives the built binary from outside, as a script would.
//
// Seeded pods, by the names that both have in namespace default: pod/web, deploy/web (2 pods, container web), svc/web, sts/db, ds/agent,
// job/once (its pod has completed), pod/multi (containers a, b), pod/annotated (default container main, not the first),
// pod/with-init (init, finished; sidecar, restartable; main), pod/crash, pod/pulling, pod/pending.
package contract

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Subprotocols are all that exec can speak, by their names on the wire.
var Subprotocols = []string{
	"v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io", "base64.channel.k8s.io", "channel.k8s.io",
}

// Program is a kshell (or a kubectl) and the server that it is to use.
type Program struct {
	Path       string // of the binary
	Kubeconfig string
	Home       string // the child's HOME; empty: a new temporary folder a run
}

// Result is how a run ended.
type Result struct {
	Out, Err string
	Code     int // -1: ended by a signal
	Took     time.Duration
}

// Lied says whether r is a lie that is known of an API server that translates v5 itself: while input is on its way it now and then reports a success,
// in the plain way, of a command that ended with this code, which is not 0 (docs/exact.md).
func (r Result) Lied(t *testing.T, code int) bool {
	t.Helper()
	lied := r.Code == 0 && code != 0
	if lied {
		t.Logf("LIE: the server reports a success of what exited %d", code)
	}
	return lied
}

// MostLies is how often a run is tried that was lied about.
const MostLies = 3

// limit bounds one run: whatever hangs is a failure with a name.
const limit = 60 * time.Second

// Run runs the program with the given arguments and input (nil: /dev/null) to its end, or fails the test after a minute.
func (p Program) Run(t testing.TB, stdin []byte, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
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
		t.Fatalf("%s %q still ran after %v; stdout %.500q, stderr %.500q", p.Path, args, limit, out.String(), errs.String())
	case err != nil && !errors.As(err, &exit):
		t.Fatalf("%s %q: %v", p.Path, args, err)
	}
	return Result{out.String(), errs.String(), cmd.ProcessState.ExitCode(), time.Since(start)}
}

// Command is the program with the given arguments, not started, in an environment that holds nothing of the caller's own configuration.
func (p Program) Command(ctx context.Context, t testing.TB, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, p.Path, args...)
	home := p.Home
	if home == "" {
		home = t.TempDir()
	}
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "KUBECONFIG=" + p.Kubeconfig, "GORACE=atexit_sleep_ms=0", "TERM=xterm-256color"}
	return cmd
}

// Case is one command line and what must come of it.
type Case struct {
	Name string
	Args []string // after `kshell exec`
	In   string   // stdin; empty: /dev/null
	Out  string   // stdout, exactly
	Err  []string // each is in stderr
	Code int
	// Quiet says that stderr is exactly Err, joined.
	Quiet bool
	// Says is an expression for all of stderr, where that has numbers in it that are not always the same; nil: whatever it is.
	Says *regexp.Regexp
	// EachProtocol runs the case once under each subprotocol.
	EachProtocol bool
	// Differs is why kubectl exec does otherwise, on purpose; empty where stdout and exit code are the same.
	Differs string
}

// Run checks the case.
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
		t.Errorf("stderr is not just %q", want)
	}
	if c.Says != nil && !c.Says.MatchString(r.Err) {
		t.Errorf("stderr is not %s", c.Says)
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
