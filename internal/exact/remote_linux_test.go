package exact

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// waitLimit is the time limit of each wait in these tests. On an idle machine,
// a wait takes only milliseconds.
const waitLimit = 30 * time.Second

// shell is a shell that the script must support, with a link named sh to it.
type shell struct {
	name string
	path string // of the link
	env  []string
}

// allShells lists the shells that the script must support. The tests use the
// first one that this machine has. If the variable KSHELL_TEST_SHELLS is "all",
// they use all of them.
var allShells = []string{"dash", "bash", "busybox"}

// eachShell runs a test with each shell to be tested, in parallel.
func eachShell(t *testing.T, test func(t *testing.T, sh shell)) {
	t.Helper()
	t.Parallel()
	names := allShells
	if os.Getenv("KSHELL_TEST_SHELLS") != "all" {
		missing := func(name string) bool { _, err := exec.LookPath(name); return err != nil }
		names = slices.DeleteFunc(slices.Clone(names), missing)
		names = names[:min(1, len(names))]
	}
	if len(names) == 0 {
		t.Skipf("this machine has none of the shells %q", allShells)
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, findShell(t, name))
		})
	}
}

func findShell(t testing.TB, name string) shell {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("KSHELL_TEST_SHELLS=all, and this machine has no %s: apt-get install %s", name, name)
	}
	bin := t.TempDir()
	sh := shell{name: name, path: filepath.Join(bin, "sh"), env: []string{"PATH=" + bin + ":/usr/bin:/bin"}}
	link(t, path, sh.path)
	if name == "busybox" { // let the tests use the tools of busybox, too
		for _, applet := range []string{"cat", "dd", "env", "head", "mv", "sha256sum", "sleep", "tr"} {
			link(t, path, filepath.Join(bin, applet))
		}
	}
	return sh
}

func link(t testing.TB, old, name string) {
	t.Helper()
	if err := os.Symlink(old, name); err != nil {
		t.Fatal(err)
	}
}

// shellRun is a Run that is connected to a real shell. The shell leads a
// session, as when a container runtime starts it.
type shellRun struct {
	*Run
	t   testing.TB
	cmd *exec.Cmd

	stdout, stderr bytes.Buffer // used if Options.Stdout or Options.Stderr is nil
	pipes          [3]*os.File  // the client's ends of stdin, stdout and stderr
	stdinSent      chan struct{}
	streamEnds     chan error // receives one error for each stream: ErrEnded, io.EOF, or an error of a writer
	exited         chan struct{}
	close          func()
}

// setup changes a shellRun before its start.
type setup func(*shellRun)

func withEnv(env ...string) setup  { return func(r *shellRun) { r.cmd.Env = env } }
func withDir(dir string) setup     { return func(r *shellRun) { r.cmd.Dir = dir } }
func (sh shell) pathValue() string { return strings.TrimPrefix(sh.env[0], "PATH=") }
func (r *shellRun) sid() int       { return r.cmd.Process.Pid }

// members returns the living processes of the session.
func (r *shellRun) members() []string {
	if syscall.Kill(-r.sid(), 0) == syscall.ESRCH { // enough, because no test makes another process group
		return nil
	}
	return members(r.sid())
}

// start starts the script, which runs args. The caller must call sendStdin.
func (sh shell) start(t testing.TB, o Options, args []string, setups ...setup) *shellRun {
	t.Helper()
	r := &shellRun{
		t: t, stdinSent: make(chan struct{}), streamEnds: make(chan error, streamCount), exited: make(chan struct{}),
	}
	if o.Stdout == nil {
		o.Stdout = &r.stdout
	}
	if o.Stderr == nil {
		o.Stderr = &r.stderr
	}
	r.Run = New(o)
	command := r.Command(args)
	session := &syscall.SysProcAttr{Setsid: true}
	r.cmd = &exec.Cmd{Path: sh.path, Args: command, Env: sh.env, Dir: t.TempDir(), SysProcAttr: session}
	for _, s := range setups {
		s(r)
	}
	shellEnds := r.connectPipes()
	err := r.cmd.Start()
	for _, f := range shellEnds {
		_ = f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	rememberSession(r.sid())
	r.close = sync.OnceFunc(func() {
		r.Cancel()
		for _, f := range r.pipes {
			_ = f.Close()
		}
		<-r.stdinSent
	})
	go func() { _ = r.cmd.Wait(); close(r.exited) }()
	go r.copyStream(r.pipes[1], r.Stdout())
	go r.copyStream(r.pipes[2], r.Stderr())
	t.Cleanup(r.cleanUp)
	return r
}

func (r *shellRun) connectPipes() []*os.File {
	var shellEnds []*os.File
	for i := range r.pipes {
		reader, writer, err := os.Pipe()
		if err != nil {
			r.t.Fatal(err)
		}
		if i == 0 {
			r.cmd.Stdin, r.pipes[i] = reader, writer
			shellEnds = append(shellEnds, reader)
			continue
		}
		r.pipes[i] = reader
		shellEnds = append(shellEnds, writer)
		if i == 1 {
			r.cmd.Stdout = writer
		} else {
			r.cmd.Stderr = writer
		}
	}
	return shellEnds
}

// sendStdin sends what Run.Stdin returns, at most n bytes.
func (r *shellRun) sendStdin(n int64) {
	defer close(r.stdinSent)
	_, _ = io.CopyN(r.pipes[0], r.Stdin(), n)
}

// copyStream copies one stream of the shell to its writer, as a session does.
func (r *shellRun) copyStream(from io.Reader, to io.Writer) {
	p := make([]byte, 32<<10)
	for {
		n, err := from.Read(p)
		if n > 0 {
			if _, err := to.Write(p[:n]); err != nil {
				r.streamEnds <- err
				return
			}
		}
		if err != nil {
			r.streamEnds <- err
			return
		}
	}
}

// awaitReport waits until the script has reported the outcome.
func (r *shellRun) awaitReport() {
	r.t.Helper()
	timeout := time.After(waitLimit)
	for range streamCount {
		select {
		case err := <-r.streamEnds:
			if errors.Is(err, io.EOF) {
				continue
			}
			if !errors.Is(err, ErrEnded) {
				r.t.Fatalf("the stream ended with %v", err)
			}
		case <-timeout:
			state, _ := r.State()
			r.t.Fatalf("no report after %s: state %d, processes %q", waitLimit, state, r.members())
		}
		if state, _ := r.State(); state != Unknown && state != Running {
			break
		}
	}
}

// wait waits until the script has reported the outcome, disconnects, and waits
// until the script has ended.
func (r *shellRun) wait() {
	r.t.Helper()
	r.awaitReport()
	r.close()
	select {
	case <-r.exited:
	case <-time.After(waitLimit):
		r.t.Fatalf("the script does not end after the client disconnected: %q", r.members())
	}
}

// disconnect breaks the connection.
func (r *shellRun) disconnect() { r.close() }

// waitUntilGone waits until no process of the session is left.
func (r *shellRun) waitUntilGone(within time.Duration) {
	r.t.Helper()
	deadline := time.Now().Add(within)
	for left := r.members(); len(left) > 0; left = r.members() {
		if time.Now().After(deadline) {
			r.t.Fatalf("left %s after the client disconnected: %q", within, left)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (r *shellRun) cleanUp() {
	r.close()
	if len(r.members()) > 0 {
		killSession(r.sid())
	}
	select {
	case <-r.exited:
	case <-time.After(waitLimit):
		r.t.Error("the shell did not end after SIGKILL")
	}
}

// run starts a run, sends all of its stdin, and waits for the end of the run.
func (sh shell) run(t testing.TB, o Options, args []string, setups ...setup) *shellRun {
	t.Helper()
	r := sh.start(t, o, args, setups...)
	go r.sendStdin(1 << 62)
	r.wait()
	return r
}

// check checks that the command ended with code and wrote stdout.
func (r *shellRun) check(code int, stdout string) {
	r.t.Helper()
	if state, got := r.State(); state != Ended || got != code {
		r.t.Errorf("state %d, code %d; want Ended (%d), %d; stderr %.300q", state, got, Ended, code, &r.stderr)
	}
	if got := r.stdout.String(); got != stdout {
		r.t.Errorf("stdout: %d bytes, %.300q; want %d bytes, %.300q", len(got), got, len(stdout), stdout)
	}
}

func sh(script string, args ...string) []string {
	return append([]string{"sh", "-c", script, "sh"}, args...)
}

// started holds the sessions that were started; see leftoverProcesses.
var started struct {
	sync.Mutex
	leaders map[int]string // session ID to start time of its first process
}

func rememberSession(sid int) {
	started.Lock()
	defer started.Unlock()
	if started.leaders == nil {
		started.leaders = map[int]string{}
	}
	started.leaders[sid] = startTime(sid)
}

// startTime returns the start time of a process in clock ticks since the
// machine was started, or "" if there is no such process.
func startTime(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))[19]
}

// leftoverProcesses waits up to waitLimit until the processes of the tests have
// ended. It then kills the processes that are still running, and returns them.
func leftoverProcesses() []string {
	var left []string
	for deadline := time.Now().Add(waitLimit); ; time.Sleep(50 * time.Millisecond) {
		left = nil
		all := sessions()
		for sid, start := range started.leaders {
			// If sid has another start time, the session has ended, and
			// another process of the machine has got its process ID.
			if now := startTime(sid); now == "" || now == start {
				left = append(left, all[sid]...)
			}
		}
		if len(left) == 0 || time.Now().After(deadline) {
			break
		}
	}
	for _, process := range left {
		kill(process)
	}
	return left
}

func members(sid int) []string { return sessions()[sid] }

// sessions returns the living processes of this machine by session, as
// `PID (NAME) STATE`.
func sessions() map[int][]string {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	all := map[int][]string{}
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		i := bytes.LastIndexByte(stat, ')')
		fields := strings.Fields(string(stat[i+1:])) // state, parent, group, session
		if len(fields) < 4 || fields[0] == "Z" || fields[0] == "X" {
			continue
		}
		sid, _ := strconv.Atoi(fields[3])
		all[sid] = append(all[sid], fmt.Sprintf("%s %s", stat[:i+1], fields[0]))
	}
	return all
}

func killSession(sid int) {
	for _, process := range members(sid) {
		kill(process)
	}
}

func kill(process string) {
	if pid, err := strconv.Atoi(strings.Fields(process)[0]); err == nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}
