package contract

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"kshell/test/faultproxy"
)

// Scenario is a command, what happens to it, and its expected result.
// ScenarioRunner logs the results of each scenario as a block of its table.
type Scenario struct {
	Name    string
	Command []string
	Input   func(rnd *rand.Rand) io.Reader // stdin (-i); nil: none
	Want    []byte                         // expected stdout
	Code    int

	Rate   int           // of the link to the client, in bytes per second; 0: no limit
	Pause  time.Duration // the reader of stdout pauses after the first bytes
	Frozen time.Duration // the program is stopped (SIGSTOP) after the first bytes
	Remote time.Duration // how long the command itself takes
	Stdout Stdout
	Break  *Break

	Slow    bool // the processes of the trial take long to end
	Orphans bool // the command leaves a process behind

	// Then is a script that runs after the trial, and must print ThenOut. If
	// the scenario has a Break and the exit code is not 0, Then may also print
	// nothing.
	Then, ThenOut string
}

// Stdout is what happens to the output of the program.
type Stdout int

// Values of Stdout.
const (
	Read   Stdout = iota // the reader reads all of it
	Closed               // the reader closes it after the first bytes
	Full                 // it is a device without space
)

// Break cuts the link or sends a signal to the program. It happens at a random
// byte of the input, or after the first output.
type Break struct {
	Link   *faultproxy.Ending // how the link is cut, on both sides
	Signal syscall.Signal     // sent to the program, if Link is nil
	Input  int64              // the break is at one of the first Input bytes; 0: within 300 ms after the first output
}

// Time limits of a trial, in addition to its minimum duration. The limit of a
// reference is shorter, because a reference may hang.
const (
	trialTimeout     = 60 * time.Second
	referenceTimeout = 6 * time.Second
)

// duration returns the minimum duration of a trial.
func (e Scenario) duration() time.Duration {
	d := e.Pause + e.Frozen + e.Remote
	if e.Rate > 0 {
		d += time.Duration(len(e.Want)) * time.Second / time.Duration(e.Rate)
	}
	return d
}

// long reports whether a trial of the scenario takes long. Such a trial waits
// most of the time, and needs little CPU time.
func (e Scenario) long() bool { return e.Slow || e.duration() > 6*time.Second }

// exitsNormally reports whether all processes of the scenario exit without
// being killed.
func (e Scenario) exitsNormally() bool { return e.Break == nil && e.Stdout == Read && !e.Orphans }

func newSeed() uint64 { return rand.Uint64() } //nolint:gosec // not a secret

// outcome is what was observed in a trial.
type outcome struct {
	args       []string
	stderr     string
	code       int // as ExitCode returns it
	took       time.Duration
	hung       bool  // the program was killed because it did not end in time
	got        int64 // bytes on stdout
	good       int64 // how many bytes are correct, up to the first wrong piece
	freezeErr  error // the program could not be stopped
	peakMemory int   // in KiB
}

// run runs one trial.
func (e Scenario) run(t testing.TB, s Subject, pod string, seed uint64) outcome {
	rnd := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // not a secret
	args, proxy, done := e.args(t, s, pod)
	defer done()
	runTimeout := trialTimeout
	if s.Reference {
		runTimeout = referenceTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), e.duration()+runTimeout)
	defer cancel()
	cmd := s.Command(ctx, t, args...)
	cmd.Env = append(cmd.Env, s.Env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	doBreak := e.breaker(rnd, cmd, proxy)
	over := make(chan struct{})
	var feeding sync.WaitGroup
	defer feeding.Wait()
	defer close(over)
	feed := func() {}
	if e.Input != nil {
		input := e.Input(rnd)
		if e.Break != nil && e.Break.Input > 0 && e.Break.Link == nil {
			input = &breakingReader{Reader: input, left: rnd.Int64N(e.Break.Input), trip: func() { doBreak(); <-over }}
		}
		var err error
		if feed, err = feedTo(cmd, input); err != nil {
			t.Error(err)
			return outcome{}
		}
	}
	o := outcome{args: args}
	out, in, err := e.stdout()
	if err != nil {
		t.Error(err)
		return o
	}
	cmd.Stdout = in
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return o
	}
	_ = in.Close()
	if r, ok := cmd.Stdin.(*os.File); ok {
		_ = r.Close()
	}
	feeding.Go(feed)
	watched := make(chan int)
	go func() { watched <- peakMemory(ctx, cmd.Process.Pid) }()
	if out != nil {
		o.got, o.good, o.freezeErr = e.consume(out, cmd, doBreak, rnd)
	}
	_ = cmd.Wait() // the result is in ProcessState
	o.took = time.Since(start)
	o.hung = ctx.Err() != nil
	cancel()
	o.peakMemory = <-watched
	o.code, o.stderr = ExitCode(cmd.ProcessState), stderr.String()
	return o
}

// args returns the arguments of the program. If the scenario needs a proxy,
// args starts it. The returned function closes the proxy.
func (e Scenario) args(t testing.TB, s Subject, pod string) ([]string, *faultproxy.Proxy, func()) {
	args := append([]string{"exec"}, s.Flags...)
	var proxy *faultproxy.Proxy
	done := func() {}
	if e.Rate > 0 || e.Break != nil && e.Break.Link != nil {
		var err error
		if proxy, err = faultproxy.Start(faultproxy.Config{Target: s.Server.Addr, Remote: s.Server.Remote}); err != nil {
			t.Fatal(err)
		}
		done = func() { _ = proxy.Close() }
		proxy.Rate(faultproxy.ToClient, e.Rate)
		args = append(args, "--server", "https://"+proxy.Addr())
		if s.Server.Name != "" {
			args = append(args, "--tls-server-name", s.Server.Name)
		}
	}
	if e.Input != nil {
		args = append(args, "-i")
	}
	return append(append(args, pod, "--"), e.Command...), proxy, done
}

// breaker prepares the break, and returns a function that causes it. If the
// proxy causes the break after a number of bytes, the function does nothing.
func (e Scenario) breaker(rnd *rand.Rand, cmd *exec.Cmd, proxy *faultproxy.Proxy) func() {
	switch b := e.Break; {
	case b == nil:
		return func() {}
	case b.Link == nil:
		return func() { _ = cmd.Process.Signal(b.Signal) } // the program may have exited
	case b.Input > 0:
		proxy.CutAfter(faultproxy.ToServer, rnd.Int64N(b.Input), *b.Link)
		return func() {}
	default:
		return func() { proxy.Cut(faultproxy.Both, *b.Link) }
	}
}

// feedTo makes input the stdin of the program. The returned function feed
// copies the input until the input or the program ends.
func feedTo(cmd *exec.Cmd, input io.Reader) (feed func(), err error) {
	if f, ok := input.(*os.File); ok {
		cmd.Stdin = f
		return func() {}, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdin = r
	return func() {
		_, _ = io.Copy(w, input) // the program may close its stdin
		_ = w.Close()
	}, nil
}

// breakingReader is a reader that ends early. The field left is the maximum
// number of bytes that it still passes on. When more bytes are read, it calls
// the function trip and returns io.EOF.
type breakingReader struct {
	io.Reader
	left int64
	trip func()
}

// Read implements io.Reader.
func (w *breakingReader) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p[:min(int64(len(p)), w.left+1)])
	if w.left -= int64(n); w.left < 0 {
		w.trip()
		return 0, io.EOF
	}
	return n, err
}

// stdout returns two files. in is the stdout of the program. The test reads the
// output from out, which is nil if the output cannot be read.
func (e Scenario) stdout() (out, in *os.File, err error) {
	if e.Stdout == Full {
		in, err = os.OpenFile("/dev/full", os.O_WRONLY, 0)
		return nil, in, err
	}
	return os.Pipe()
}

// consume reads the output of the program as the scenario specifies, and
// compares it with e.Want. It returns the number of bytes (got) and how many of
// them are correct (good).
func (e Scenario) consume(out *os.File, cmd *exec.Cmd, doBreak func(),
	rnd *rand.Rand,
) (got, good int64, freezeErr error) {
	defer func() { _ = out.Close() }()
	buf := make([]byte, 64<<10)
	for first := true; ; first = false {
		n, err := out.Read(buf)
		if good == got && got+int64(n) <= int64(len(e.Want)) && bytes.Equal(buf[:n], e.Want[got:got+int64(n)]) {
			good += int64(n)
		}
		got += int64(n)
		switch {
		case err != nil:
			return got, good, freezeErr
		case !first:
			continue
		case e.Stdout == Closed:
			return got, good, freezeErr
		}
		freezeErr = e.pauseReader(cmd)
		if e.Break != nil && e.Break.Input == 0 {
			time.Sleep(time.Duration(rnd.Int64N(int64(300 * time.Millisecond))))
			doBreak()
		}
	}
}

// pauseReader causes the pauses that the scenario specifies after the first
// bytes: it sleeps, and then stops the program for a time.
func (e Scenario) pauseReader(cmd *exec.Cmd) error {
	time.Sleep(e.Pause)
	if e.Frozen > 0 {
		return freeze(cmd.Process, e.Frozen)
	}
	return nil
}

// peakMemory polls the peak memory of a process until ctx ends, and returns it
// in KiB. It does not use the value that the kernel reports when a child exits,
// because that includes the memory of the parent.
func peakMemory(ctx context.Context, pid int) int {
	most := 0
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if m := highWater.FindSubmatch(status(pid)); m != nil {
			if n, err := strconv.Atoi(string(m[1])); err == nil {
				most = max(most, n)
			}
		}
		select {
		case <-ctx.Done():
			return most
		case <-tick.C:
		}
	}
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

func status(pid int) []byte {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil // it has exited
	}
	return data
}

// maxMemory is how much memory kshell may use, in KiB. About 16 MiB of it is
// the program itself, mostly mapped from the file.
const maxMemory = 32 << 10

// maxOverhead is how long a trial may take in addition to its minimum duration,
// with many concurrent trials on two CPUs.
const maxOverhead = 40 * time.Second

// oneMessage matches the whole of stderr after a failure of kshell.
var oneMessage = regexp.MustCompile(`^kshell: [^\n]+\n(hint: [^\n]+\n)?$`)

// problems returns the problems of a trial. A reference may report its own
// failures with any exit code except 0, and may use more memory than kshell.
func (e Scenario) problems(o outcome, reference bool) []string {
	var wrong []string
	add := func(is bool, format string, args ...any) {
		if is {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	add(o.hung, "hangs")
	add(o.freezeErr != nil, "%v", o.freezeErr)
	add(o.peakMemory > maxMemory && !reference, "%d MiB of memory", o.peakMemory>>10)
	failed := func(code int) bool { return o.code == code || reference && o.code != 0 }
	want := int64(len(e.Want))
	switch {
	case o.hung:
		add(o.got < want, "%d of %d bytes", o.got, want)
		return wrong
	case e.Break != nil:
		add(o.code == 0 && e.Then == "", "exit code 0")
		add(e.Break.Link != nil && o.code != 0 && !failed(255), "exit code %d, want 255", o.code)
		return wrong
	case e.Stdout == Closed:
		add(!failed(141), "exit code %d, want 141", o.code)
		add(o.stderr != "" && !reference, "stderr is not empty")
		add(o.took > maxOverhead, "after %v", o.took.Round(time.Second))
		return wrong
	case e.Stdout == Full:
		add(!failed(255), "exit code %d, want 255", o.code)
		add(!oneMessage.MatchString(o.stderr) && !reference, "not exactly one message on stderr")
		add(o.took > maxOverhead, "after %v", o.took.Round(time.Second))
		return wrong
	}
	add(o.code != e.Code, "exit code %d, want %d", o.code, e.Code)
	switch {
	case o.got < want && o.good == o.got:
		add(true, "%d of %d bytes", o.got, want)
	case o.good != o.got || o.got != want:
		add(true, "wrong bytes from %d on, %d of %d", o.good, o.got, want)
	}
	add(o.took > e.duration()+maxOverhead, "after %v", o.took.Round(time.Second))
	return wrong
}

// after runs the script Then. It returns a problem if the output of the script
// is wrong, or else nil.
func (e Scenario) after(t testing.TB, s Subject, pod string, o outcome) []string {
	r := s.Run(t, nil, append(append([]string{"exec"}, s.plain()...), pod, "--", "sh", "-c", e.Then)...)
	if r.Out == e.ThenOut || e.Break != nil && o.code != 0 && r.Out == "" {
		return nil
	}
	return []string{fmt.Sprintf("Then printed %.12q", r.Out)}
}

// plain returns the flags that disable exact mode.
func (s Subject) plain() []string {
	if s.Reference {
		return nil
	}
	return []string{"--exact=never"}
}
