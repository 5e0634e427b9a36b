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

// End is a way in which a command ends, and what must come of it: a row of the table.
type End struct {
	Name    string
	Command []string
	Input   func(rnd *rand.Rand) io.Reader // with -i; nil: without
	Want    []byte                         // stdout
	Code    int

	Rate   int           // of the link to the client, in bytes a second; 0: without limit
	Pause  time.Duration // the reader of stdout does nothing for so long, once the first bytes have come
	Frozen time.Duration // the program is stopped (SIGSTOP) for so long, once the first bytes have come
	Remote time.Duration // the remote command itself takes so long
	Stdout Stdout
	Break  *Break

	Slow    bool // it takes its time to end everything
	Orphans bool // the command leaves a process of its own behind, which is nobody's fault

	// Then is a script that is run afterwards, and prints ThenOut. After a break that the program did not end well with it may also print nothing.
	Then, ThenOut string
}

// Stdout is what becomes of the program's output.
type Stdout int

// The outputs.
const (
	Read   Stdout = iota // to its end
	Closed               // after the first bytes
	Full                 // a device without space
)

// Break is how the link, or the program, is broken in the middle: at a random byte of the input, or when output has come.
type Break struct {
	Link   *faultproxy.Ending // both sides see it
	Signal syscall.Signal     // for the program
	Input  int64              // the break is somewhere in the first so many bytes of input; 0: up to 300 ms after the first output
}

// patience is how long a trial may take beyond what it waits for; a reference is given less, for it may hang.
const (
	patience          = 60 * time.Second
	referencePatience = 6 * time.Second
)

// lasts is how long the end takes by itself.
func (e End) lasts() time.Duration {
	d := e.Pause + e.Frozen + e.Remote
	if e.Rate > 0 {
		d += time.Duration(len(e.Want)) * time.Second / time.Duration(e.Rate)
	}
	return d
}

// long says whether it is mostly waiting.
func (e End) long() bool { return e.Slow || e.lasts() > 6*time.Second }

// endsWell says whether nobody is killed in it.
func (e End) endsWell() bool { return e.Break == nil && e.Stdout == Read && !e.Orphans }

func newSeed() uint64 { return rand.Uint64() } //nolint:gosec // a test's

// outcome is what was seen of a trial.
type outcome struct {
	args   []string
	stderr string
	code   int // -1: a signal
	took   time.Duration
	hung   bool  // it was killed
	got    int64 // bytes on stdout
	good   int64 // of them, the first that are as they should be
	held   error // it could not be stopped
	peak   int   // KiB of memory
}

// run makes one trial.
func (e End) run(t testing.TB, s Subject, pod string, seed uint64) outcome {
	rnd := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a test's
	args, proxy, done := e.args(t, s, pod)
	defer done()
	limit := patience
	if s.Reference {
		limit = referencePatience
	}
	ctx, cancel := context.WithTimeout(context.Background(), e.lasts()+limit)
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
			input = &tripwire{Reader: input, left: rnd.Int64N(e.Break.Input), trip: func() { doBreak(); <-over }}
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
	go func() { watched <- peak(ctx, cmd.Process.Pid) }()
	if out != nil {
		o.got, o.good, o.held = e.consume(out, cmd, doBreak, rnd)
	}
	_ = cmd.Wait() // how it ended is in its state
	o.took = time.Since(start)
	o.hung = ctx.Err() != nil
	cancel()
	o.peak = <-watched
	o.code, o.stderr = cmd.ProcessState.ExitCode(), stderr.String()
	return o
}

// args is the command line, through a bad link where the end needs one.
func (e End) args(t testing.TB, s Subject, pod string) ([]string, *faultproxy.Proxy, func()) {
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

// breaker arms the break, or returns what does it later.
func (e End) breaker(rnd *rand.Rand, cmd *exec.Cmd, proxy *faultproxy.Proxy) func() {
	switch b := e.Break; {
	case b == nil:
		return func() {}
	case b.Link == nil:
		return func() { _ = cmd.Process.Signal(b.Signal) } // it may be over
	case b.Input > 0:
		proxy.CutAfter(faultproxy.ToServer, rnd.Int64N(b.Input), *b.Link)
		return func() {}
	default:
		return func() { proxy.Cut(faultproxy.Both, *b.Link) }
	}
}

// feedTo makes input the program's stdin; feed, which is run beside the program, ends with the input or with the program.
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
		_, _ = io.Copy(w, input) // the program may read less than there is
		_ = w.Close()
	}, nil
}

// tripwire does something when the input has got so far.
type tripwire struct {
	io.Reader
	left int64
	trip func()
}

// Read implements io.Reader.
func (w *tripwire) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p[:min(int64(len(p)), w.left+1)])
	if w.left -= int64(n); w.left < 0 {
		w.trip()
		return 0, io.EOF
	}
	return n, err
}

// stdout is where the program's output goes to, and where it can be read, if it can.
func (e End) stdout() (out, in *os.File, err error) {
	if e.Stdout == Full {
		in, err = os.OpenFile("/dev/full", os.O_WRONLY, 0)
		return nil, in, err
	}
	return os.Pipe()
}

// consume reads the output as the end wants it, and compares it on the way.
func (e End) consume(out *os.File, cmd *exec.Cmd, doBreak func(), rnd *rand.Rand) (got, good int64, held error) {
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
			return got, good, held
		case !first:
			continue
		case e.Stdout == Closed:
			return got, good, held
		}
		held = e.hold(cmd)
		if e.Break != nil && e.Break.Input == 0 {
			time.Sleep(time.Duration(rnd.Int64N(int64(300 * time.Millisecond))))
			doBreak()
		}
	}
}

// hold is the pause after the first bytes.
func (e End) hold(cmd *exec.Cmd) error {
	time.Sleep(e.Pause)
	if e.Frozen > 0 {
		return freeze(cmd.Process, e.Frozen)
	}
	return nil
}

// peak watches a process's memory until the context ends, in KiB. (What the kernel reports of a child that has ended includes its parent.)
func peak(ctx context.Context, pid int) int {
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
		return nil // it is over
	}
	return data
}

// memory is what kshell may use, in KiB, its own 16 MiB (most of them the program itself, in the file's pages) included.
const memory = 32 << 10

// soon is how long an end may take beyond what it waits for, where as many trials are made at once on two processors.
const soon = 40 * time.Second

// oneSentence is all that kshell says of a failure.
var oneSentence = regexp.MustCompile(`^kshell: [^\n]+\n(hint: [^\n]+\n)?$`)

// faults is what was wrong. A reference may use other codes for its own failures, and more memory.
func (e End) faults(o outcome, reference bool) []string {
	var wrong []string
	add := func(is bool, format string, args ...any) {
		if is {
			wrong = append(wrong, fmt.Sprintf(format, args...))
		}
	}
	add(o.hung, "hangs")
	add(o.held != nil, "%v", o.held)
	add(o.peak > memory && !reference, "%d MiB of memory", o.peak>>10)
	failed := func(code int) bool { return o.code == code || reference && o.code != 0 }
	want := int64(len(e.Want))
	switch {
	case o.hung:
		add(o.got < want, "%d of %d bytes", o.got, want)
		return wrong
	case e.Break != nil:
		add(o.code == 0 && e.Then == "", "exit code 0")
		add(e.Break.Link != nil && o.code != 0 && !failed(255), "exit code %d for 255", o.code)
		return wrong
	case e.Stdout == Closed:
		add(!failed(141), "exit code %d for 141", o.code)
		add(o.stderr != "" && !reference, "words on stderr")
		add(o.took > soon, "after %v", o.took.Round(time.Second))
		return wrong
	case e.Stdout == Full:
		add(!failed(255), "exit code %d for 255", o.code)
		add(!oneSentence.MatchString(o.stderr) && !reference, "not one sentence on stderr")
		add(o.took > soon, "after %v", o.took.Round(time.Second))
		return wrong
	}
	add(o.code != e.Code, "exit code %d for %d", o.code, e.Code)
	switch {
	case o.got < want && o.good == o.got:
		add(true, "%d of %d bytes", o.got, want)
	case o.good != o.got || o.got != want:
		add(true, "other bytes from %d on, %d of %d", o.good, o.got, want)
	}
	add(o.took > e.lasts()+soon, "after %v", o.took.Round(time.Second))
	return wrong
}

// after runs the script that looks at what was done.
func (e End) after(t testing.TB, s Subject, pod string, o outcome) []string {
	r := s.Run(t, nil, append(append([]string{"exec"}, s.plain()...), pod, "--", "sh", "-c", e.Then)...)
	if r.Out == e.ThenOut || e.Break != nil && o.code != 0 && r.Out == "" {
		return nil
	}
	return []string{fmt.Sprintf("leaves %.12q behind", r.Out)}
}

// plain are the flags of a command that is nothing but the command.
func (s Subject) plain() []string {
	if s.Reference {
		return nil
	}
	return []string{"--exact=never"}
}
