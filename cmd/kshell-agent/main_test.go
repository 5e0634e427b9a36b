//go:build linux

package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"kshell/internal/agent"
)

// program is the path of the agent that the tests run.
var program string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if testing.Short() {
		return m.Run()
	}
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	program = filepath.Join(dir, "kshell-agent")
	build := exec.Command("go", "build", "-ldflags", "-X main.buildID=test", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	return m.Run()
}

// limit is the time limit of each wait. It is only reached by a failing test.
const limit = 3 * time.Minute

var lastID atomic.Int64

// session is a session of a real agent, and one client of it.
type session struct {
	t   *testing.T
	dir string
	id  string

	inContainer *container // where the processes run, or nil

	mu      sync.Mutex
	cond    *sync.Cond
	client  *agent.Client
	relay   *relayProcess
	slow    bool // output is not read
	out     [3]bytes.Buffer
	dropped uint64
	welcome *agent.Welcome
	events  []string
	failed  error // of Client.Receive
}

// relayProcess is one relay.
type relayProcess struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	writes chan []byte
	done   chan struct{} // closed when its output has ended
	stderr bytes.Buffer
}

// agentDir returns a directory with a copy of the agent.
func agentDir(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it runs the agent in other processes")
	}
	dir, err := os.MkdirTemp("", "kshell-agent")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Link(program, filepath.Join(dir, "agent")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startSession starts a session. args are the options of start, "--" and the command.
func startSession(t *testing.T, args ...string) *session {
	t.Helper()
	s := newSession(t, agentDir(t), 1)
	s.start(args...)
	return s
}

func newSession(t *testing.T, dir string, number byte) *session {
	s := &session{t: t, dir: dir, id: fmt.Sprintf("t%d", lastID.Add(1))}
	s.cond = sync.NewCond(&s.mu)
	s.client = agent.NewClient(agent.ClientConfig{
		ID: agent.ClientID{number}, Name: fmt.Sprintf("client %d", number),
		Term: "xterm", Size: agent.Size{Cols: 80, Rows: 24},
	})
	return s
}

func (s *session) start(args ...string) {
	s.t.Helper()
	s.connect(s.command("start", args...))
	s.t.Cleanup(func() { s.command("end").Run() })
}

// command returns a command of the agent for the session.
func (s *session) command(name string, args ...string) *exec.Cmd {
	argv := append([]string{filepath.Join(s.dir, "agent"), name, "id=" + s.id}, args...)
	if s.inContainer != nil {
		return s.inContainer.command(argv...)
	}
	return exec.Command(argv[0], argv[1:]...)
}

// attach opens a new relay. The old one is not used any more.
func (s *session) attach() {
	s.t.Helper()
	s.connect(s.command("attach"))
}

func (s *session) connect(cmd *exec.Cmd) {
	s.t.Helper()
	r := &relayProcess{cmd: cmd, writes: make(chan []byte, 1000), done: make(chan struct{})}
	stdin, err := cmd.StdinPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	cmd.Stderr = &r.stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	r.stdin = stdin
	s.mu.Lock()
	s.relay = r
	s.client.Connect()
	s.mu.Unlock()
	go func() {
		for data := range r.writes {
			stdin.Write(data)
		}
	}()
	go s.read(r, stdout)
	s.t.Cleanup(func() { r.kill() })
	s.send()
}

// kill ends a relay at once.
func (r *relayProcess) kill() {
	r.cmd.Process.Kill()
	r.cmd.Process.Signal(syscall.SIGCONT)
	<-r.done
	r.cmd.Wait()
}

// read passes the output of a relay to the client.
func (s *session) read(r *relayProcess, stdout io.Reader) {
	defer close(r.done)
	buf := make([]byte, 32<<10)
	for {
		n, err := stdout.Read(buf)
		s.mu.Lock()
		if s.relay == r && n > 0 {
			if failure := s.client.Receive(buf[:n], now()); failure != nil && s.failed == nil {
				s.failed = failure
			}
			s.takeOutput()
		}
		s.cond.Broadcast()
		s.mu.Unlock()
		s.send()
		if err != nil {
			return
		}
	}
}

// now is a time for Client.
func now() time.Duration { return time.Duration(time.Now().UnixNano()) }

// takeOutput takes what the client has received. s.mu is locked.
func (s *session) takeOutput() {
	for !s.slow {
		chunk, ok := s.client.Output()
		if !ok {
			break
		}
		s.out[chunk.Stream].Write(chunk.Data)
		s.dropped += chunk.Dropped
		s.client.Written(len(chunk.Data))
	}
	for _, m := range s.client.Events() {
		switch m := m.(type) {
		case *agent.Welcome:
			s.welcome = m
		case *agent.Presence:
			s.events = append(s.events, fmt.Sprint(m.Name, " ", m.Attached))
		}
	}
}

// send sends what the client has to send.
func (s *session) send() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		frames := s.client.Next(nil, now())
		if len(frames) == 0 {
			return
		}
		select {
		case s.relay.writes <- frames:
		default: // the relay is stopped; a later one sends the data
			return
		}
	}
}

// until waits for a condition, which is called with s.mu locked.
func (s *session) until(what string, condition func() bool) {
	s.t.Helper()
	timeout := time.AfterFunc(limit, s.cond.Broadcast)
	defer timeout.Stop()
	began := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for !condition() {
		if s.failed != nil || time.Since(began) >= limit {
			out := s.out[1].Bytes()
			s.t.Fatalf("%s: not after %v: %v; %d bytes of output, at the end %q; stderr %q",
				what, time.Since(began), s.failed, len(out), out[max(len(out)-300, 0):], s.relay.stderr.String())
		}
		s.cond.Wait()
	}
}

// untilOutput waits for a text at the end of the output.
func (s *session) untilOutput(text string) {
	s.t.Helper()
	s.until("output "+text, func() bool {
		out := s.out[1].Bytes()
		return bytes.Contains(out[max(len(out)-100<<10, 0):], []byte(text))
	})
}

// exit waits for the exit, and for the acknowledgement to be sent.
func (s *session) exit() *agent.Exit {
	s.t.Helper()
	s.until("the exit", func() bool { _, ok := s.client.Exit(); return ok })
	s.mu.Lock()
	defer s.mu.Unlock()
	exit, _ := s.client.Exit()
	return exit
}

// do calls f with s.mu locked, and sends what follows from it.
func (s *session) do(f func(c *agent.Client)) {
	s.mu.Lock()
	f(s.client)
	s.mu.Unlock()
	s.send()
}

// typeText sends all of the text, and waits for room if there is none.
func (s *session) typeText(text string) {
	s.t.Helper()
	for rest := []byte(text); len(rest) > 0; {
		s.until("room for input", func() bool { return s.client.InputRoom() > 0 })
		s.do(func(c *agent.Client) { rest = rest[c.Input(rest):] })
	}
}

// server returns the process ID of the serving process, which is the parent of the
// command.
func (s *session) server() int {
	s.t.Helper()
	info := s.info()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", info.PID))
	if err != nil {
		s.t.Fatal(err)
	}
	var parent int
	fmt.Sscanf(string(stat[bytes.LastIndexByte(stat, ')')+1:]), " %s %d", new(string), &parent)
	return parent
}

func (s *session) info() *agent.Info {
	s.t.Helper()
	for _, info := range listed(s.t, s.dir) {
		if info.Session == s.id {
			return info
		}
	}
	s.t.Fatalf("session %s is not listed", s.id)
	return nil
}

// listed returns what "list" prints.
func listed(t *testing.T, dir string) []*agent.Info {
	t.Helper()
	out, err := exec.Command(filepath.Join(dir, "agent"), "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	var decoder agent.Decoder
	decoder.Write(out)
	var infos []*agent.Info
	for {
		m, err := decoder.Next()
		if err != nil {
			t.Fatal(err)
		}
		if m == nil {
			return infos
		}
		infos = append(infos, m.(*agent.Info))
	}
}

// eventually waits for a condition that nothing announces.
func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for began := time.Now(); !condition(); time.Sleep(5 * time.Millisecond) {
		if time.Since(began) > limit {
			t.Fatalf("%s: not after %v", what, limit)
		}
	}
}

// alive reports whether a process runs. A zombie does not.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}
