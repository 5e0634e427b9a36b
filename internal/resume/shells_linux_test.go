package resume

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"kshell/internal/agent"
	"kshell/internal/agentbin"
)

// waitLimit is the time limit of each wait in these tests. It is only reached by
// a failing test.
const waitLimit = 2 * time.Minute

// allShells lists the shells that the scripts must support. The tests use the
// first one that this machine has. If the variable KSHELL_TEST_SHELLS is "all",
// they use all of them.
var allShells = []string{"dash", "bash", "busybox", "mksh"}

// shell is a shell that the scripts must support, with a link named sh to it.
type shell struct {
	name string
	path string // of the link
	env  []string
	wrap []string            // the beginning of a command that runs the shell
	cred *syscall.Credential // the user, if it is another one
}

// eachShell runs a test with each shell to be tested, in parallel.
func eachShell(t *testing.T, test func(t *testing.T, sh shell)) {
	t.Helper()
	t.Parallel()
	if testing.Short() {
		t.Skip("it runs shells")
	}
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

func findShell(t *testing.T, name string) shell {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("KSHELL_TEST_SHELLS=all, and this machine has no %s: apt-get install %s", name, name)
	}
	bin := t.TempDir()
	sh := shell{name: name, path: filepath.Join(bin, "sh"), env: []string{"PATH=" + bin + ":/usr/bin:/bin"}}
	link(t, path, sh.path)
	if name == "busybox" { // let the script use the tools of busybox, too
		for _, applet := range []string{
			"cat", "chmod", "dd", "find", "gzip", "gunzip", "head", "mkdir", "readlink", "rm", "rmdir", "uname",
		} {
			link(t, path, filepath.Join(bin, applet))
		}
	}
	return sh
}

func link(t *testing.T, old, name string) {
	t.Helper()
	if err := os.Symlink(old, name); err != nil {
		t.Fatal(err)
	}
}

// standalone reports whether the shell has tools such as dd built in and
// prefers them to the tools in PATH.
func (sh shell) standalone() bool {
	cmd := &exec.Cmd{Path: sh.path, Args: []string{"sh", "-c", "exec dd count=0"}, Env: []string{"PATH=/no/such"}}
	return cmd.Run() == nil
}

// withTools returns the shell with a PATH of a new directory, which contains
// only links to these tools.
func (sh shell) withTools(t *testing.T, names ...string) shell {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		link(t, path, filepath.Join(dir, name))
	}
	sh.env = []string{"PATH=" + dir}
	return sh
}

// onlyPath makes the script use only the tools in PATH.
var onlyPath = strings.NewReplacer(":/usr/bin:/bin", "", "${PATH:+$PATH:}/usr/bin:/bin", "$PATH")

// withMounts returns the shell in a mount namespace in which the commands have
// been run.
func (sh shell) withMounts(t *testing.T, commands string) shell {
	t.Helper()
	sh.wrap = []string{"unshare", "-m", "/bin/sh", "-ec", commands + `; exec "$@"`, "sh"}
	if err := exec.CommandContext(t.Context(), "unshare", "-m", "true").Run(); err != nil {
		t.Skip("it needs the right to mount: ", err)
	}
	return sh
}

// newStart returns a Start with the agents of agentbin that writes only in a new
// directory.
func newStart(t testing.TB, command ...string) *Start {
	t.Helper()
	if agentbin.BuildID() == "" {
		if os.Getenv("KSHELL_TEST_AGENTS") == "required" {
			t.Fatal(`there are no agents: run "make agent"`)
		}
		t.Skip(`there are no agents: run "make agent"`)
	}
	return &Start{
		ID: NewID(), Dirs: []string{t.TempDir()}, Build: agentbin.BuildID(), Agent: agentbin.Gzipped, Command: command,
	}
}

// dialogue is a start script that runs in a shell, and the Setup that talks to
// it.
type dialogue struct {
	*Setup
	t      *testing.T
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *os.File
	stderr bytes.Buffer
	began  time.Time
	rest   []byte // bytes after the dialogue
	exited chan struct{}
	close  func()
}

// begin starts the script.
func (sh shell) begin(t *testing.T, s *Start) *dialogue {
	t.Helper()
	return sh.beginWith(t, s, strings.NewReplacer())
}

// beginWith is like begin, and replaces parts of the script.
func (sh shell) beginWith(t *testing.T, s *Start, parts *strings.Replacer) *dialogue {
	t.Helper()
	argv := s.Argv()
	argv[2] = parts.Replace(argv[2])
	d := sh.run(t, argv)
	d.Setup = s.NewSetup()
	return d
}

// run starts a command, without a Setup.
func (sh shell) run(t *testing.T, argv []string) *dialogue {
	t.Helper()
	d := &dialogue{t: t, began: time.Now(), exited: make(chan struct{}), Setup: &Setup{}}
	d.cmd = &exec.Cmd{
		Path: sh.path, Args: argv, Env: sh.env, Dir: t.TempDir(), Stderr: &d.stderr,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true, Credential: sh.cred},
	}
	if len(sh.wrap) > 0 {
		d.cmd.Args = slices.Concat(sh.wrap, []string{sh.path}, argv[1:])
		var err error
		if d.cmd.Path, err = exec.LookPath(sh.wrap[0]); err != nil {
			t.Fatal(err)
		}
	}
	in, stdin, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	d.cmd.Stdin, d.cmd.Stdout, d.stdin, d.stdout = in, out, stdin, stdout
	err = d.cmd.Start()
	in.Close()
	out.Close()
	if err != nil {
		t.Fatal(err)
	}
	d.close = sync.OnceFunc(func() {
		stdin.Close()
		stdout.Close()
		d.wait()
	})
	go func() { _ = d.cmd.Wait(); close(d.exited) }()
	t.Cleanup(d.close)
	return d
}

// mustRun runs the dialogue to its end, and attaches to the agent.
func (d *dialogue) mustRun() *attached {
	d.t.Helper()
	if err := d.run(); err != nil {
		d.t.Fatalf("%v (stderr: %s)", err, &d.stderr)
	}
	return d.attach()
}

// wait waits until the script, or the agent that replaces it, has ended.
func (d *dialogue) wait() {
	d.t.Helper()
	select {
	case <-d.exited:
	case <-time.After(waitLimit):
		_ = syscall.Kill(-d.cmd.Process.Pid, syscall.SIGKILL)
		<-d.exited
		d.t.Errorf("the script did not end")
	}
}

func (d *dialogue) now() time.Duration { return time.Since(d.began) }

// send sends what Next returns.
func (d *dialogue) send() {
	for {
		p := d.Next(nil, d.now())
		if len(p) == 0 {
			return
		}
		if _, err := d.stdin.Write(p); err != nil {
			return
		}
	}
}

// step passes the next bytes of the script to Setup, and sends what follows. At
// the end of the output, it returns io.EOF.
func (d *dialogue) step() error {
	_ = d.stdout.SetReadDeadline(time.Now().Add(waitLimit))
	buf := make([]byte, 4096)
	n, err := d.stdout.Read(buf)
	if n > 0 {
		if d.rest, err = d.Receive(buf[:n], d.now()); err != nil {
			return err
		}
		d.send()
		return nil
	}
	return err
}

// run runs the dialogue to its end.
func (d *dialogue) run() error {
	d.send()
	for !d.Done() {
		if err := d.step(); err != nil {
			return err
		}
	}
	return nil
}

// attached is a client of the agent, after the dialogue.
type attached struct {
	*agent.Client
	d       *dialogue
	welcome *agent.Welcome
	out     [3]bytes.Buffer // the output, by its stream
}

// attach attaches a client to the agent.
func (d *dialogue) attach() *attached {
	d.t.Helper()
	a := &attached{d: d}
	var id agent.ClientID
	_, _ = rand.Read(id[:])
	a.Client = agent.NewClient(agent.ClientConfig{ID: id, Build: d.start.Build, Name: "test", Term: "xterm"})
	a.Connect()
	a.receive(d.rest)
	return a
}

func (a *attached) receive(p []byte) {
	a.d.t.Helper()
	if err := a.Receive(p, a.d.now()); err != nil {
		a.d.t.Fatalf("%v (stderr: %s)", err, &a.d.stderr)
	}
	for _, m := range a.Events() {
		if w, ok := m.(*agent.Welcome); ok {
			a.welcome = w
		}
	}
	for {
		chunk, ok := a.Output()
		if !ok {
			break
		}
		a.out[chunk.Stream].Write(chunk.Data)
		a.Written(len(chunk.Data))
	}
	for {
		p := a.Next(nil, a.d.now())
		if len(p) == 0 {
			return
		}
		_, _ = a.d.stdin.Write(p)
	}
}

// wait waits until the command has ended, and returns its exit.
func (a *attached) wait() *agent.Exit {
	a.d.t.Helper()
	a.until(func() bool { _, ok := a.Exit(); return ok })
	exit, _ := a.Exit()
	return exit
}

// until exchanges frames with the agent until the condition is true.
func (a *attached) until(condition func() bool) {
	a.d.t.Helper()
	buf := make([]byte, 32<<10)
	for !condition() {
		_ = a.d.stdout.SetReadDeadline(time.Now().Add(waitLimit))
		n, err := a.d.stdout.Read(buf)
		if n == 0 {
			a.d.t.Fatalf("%v (stderr: %s)", err, &a.d.stderr)
		}
		a.receive(buf[:n])
	}
}

// waitFor waits until a condition is true.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(waitLimit)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// names returns the names in a directory.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}
