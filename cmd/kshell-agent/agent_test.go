//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kshell/internal/agent"
)

func TestAgent_Check(t *testing.T) {
	out, err := exec.Command(filepath.Join(agentDir(t), "agent"), "-check").Output()
	if want := fmt.Sprintf("kshell-agent %d test\n", agent.Version); err != nil || string(out) != want {
		t.Errorf("got %q, %v; want %q", out, err, want)
	}
}

func TestAgent_ExitCodes(t *testing.T) {
	tests := []struct {
		name    string
		command []string
		kind    agent.ExitKind
		code    uint8
	}{
		{"0", []string{"true"}, agent.Exited, 0},
		{"7", []string{"sh", "-c", "exit 7"}, agent.Exited, 7},
		{"255", []string{"sh", "-c", "exit 255"}, agent.Exited, 255},
		{"a signal", []string{"sh", "-c", "kill -9 $$"}, agent.Signaled, 9},
		{"not found", []string{"no-such-program"}, agent.NotStarted, 127},
		{"no such path", []string{"/no/such/program"}, agent.NotStarted, 127},
		{"a directory", []string{"/tmp"}, agent.NotStarted, 126},
		{"a file in a file", []string{"/etc/passwd/x"}, agent.NotStarted, 126},
		{"not executable", []string{"/etc/passwd"}, agent.NotStarted, 126},
	}
	for _, tty := range []string{"tty=0", "tty=1"} {
		for _, test := range tests {
			t.Run(tty+" "+test.name, func(t *testing.T) {
				t.Parallel()
				s := startSession(t, append([]string{tty, "--"}, test.command...)...)
				if exit := s.exit(); exit.Kind != test.kind || exit.Code != test.code {
					t.Errorf("got %+v", exit)
				}
				// The relay ends, and nothing is left.
				<-s.relay.done
				eventually(t, "the socket is removed", func() bool {
					_, err := os.Stat(filepath.Join(s.dir, socketName(s.id)))
					return errors.Is(err, os.ErrNotExist)
				})
			})
		}
	}
}

func TestAgent_OutputOfCommand(t *testing.T) {
	s := startSession(t, "--", "sh", "-c", "echo out; echo err >&2; seq 1 200000; exit 3")
	if exit := s.exit(); exit.Code != 3 {
		t.Errorf("exit %+v", exit)
	}
	want, _ := exec.Command("sh", "-c", "echo out; seq 1 200000").Output()
	if !bytes.Equal(s.out[1].Bytes(), want) || s.out[2].String() != "err\n" {
		t.Errorf("stdout has %d bytes, want %d; stderr %q", s.out[1].Len(), len(want), s.out[2].String())
	}
}

// The command sees what it sees without the agent.
func TestAgent_EnvironmentOfCommand(t *testing.T) {
	const script = `cat /proc/self/environ | tr '\0' '\n' | sort; pwd; umask; ulimit -n; ulimit -c
		grep -E 'Sig(Ign|Blk)|NoNewPrivs|Cap|Threads' /proc/self/status; cat /proc/self/oom_score_adj
		read -r line || echo end; cut -d ' ' -f 5-8 /proc/$$/stat | sed "s/$$/OWN/g"`
	dir := agentDir(t)
	cwd := t.TempDir()
	environ := []string{"PATH=" + os.Getenv("PATH"), "A=1", "dotted.name=x", "EMPTY=", "GOGC=7"}

	plain := exec.Command("sh", "-c", `trap '' USR1 TERM; umask 027; ulimit -n 300; exec "$@"`, "sh", "sh", "-c", script)
	plain.Dir, plain.Env, plain.SysProcAttr = cwd, environ, &syscall.SysProcAttr{Setsid: true}
	want, err := plain.Output()
	if err != nil {
		t.Fatal(err)
	}

	s := newSession(t, dir, 1)
	agentPath := filepath.Join(dir, "agent")
	cmd := exec.Command("sh", "-c", `trap '' USR1 TERM; umask 027; ulimit -n 300; exec sh -c '
		export KSHELL_AGENT_ENVIRON=$("$0" -environ status="$(cat /proc/self/status)") PWD SHLVL=5 OTHER=1
		exec "$0" "$@"' "$@"`,
		"sh", agentPath, "start", "id="+s.id, "--", "sh", "-c", script)
	cmd.Dir, cmd.Env = cwd, environ
	s.connect(cmd)
	if exit := s.exit(); exit.Kind != agent.Exited || exit.Code != 0 {
		t.Errorf("exit %+v", exit)
	}
	if got := s.out[1].String(); got != string(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// The options "env" set and replace variables.
func TestAgent_EnvironmentOptions(t *testing.T) {
	s := newSession(t, agentDir(t), 1)
	cmd := exec.Command(filepath.Join(s.dir, "agent"), "start", "id="+s.id, "env=A=1", "env=NEW=a=b c", "env=EMPTY=",
		"env=A=2", "--", "env")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "A=0", "AB=3", "EMPTY=x"}
	s.connect(cmd)
	if exit := s.exit(); exit.Kind != agent.Exited || exit.Code != 0 {
		t.Errorf("exit %+v", exit)
	}
	got := strings.Split(strings.TrimSuffix(s.out[1].String(), "\n"), "\n")
	slices.Sort(got)
	if want := []string{"A=2", "AB=3", "EMPTY=", "NEW=a=b c", cmd.Env[0]}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Neither the command nor the agent inherits descriptors: an exec does not end while
// another process holds its stdout.
func TestAgent_Descriptors(t *testing.T) {
	s := newSession(t, agentDir(t), 1)
	s.connect(exec.Command("sh", "-c", `exec 7>&1 9</dev/null; exec "$@"`, "sh",
		filepath.Join(s.dir, "agent"), "start", "id="+s.id, "stdin=1", "--", "sh", "-c", "ls /proc/self/fd; cat"))
	s.untilOutput("3\n")
	if got := s.out[1].String(); got != "0\n1\n2\n3\n" { // 3 is the directory itself
		t.Errorf("the command has the descriptors %q", got)
	}
	server := s.server()
	s.relay.kill() // returns when no process holds the stdout of the relay
	if !alive(server) {
		t.Error("the agent has ended with its first relay")
	}
	s.attach()
	s.do((*agent.Client).EndInput)
	s.exit()
}

func TestAgent_WorkingDirectory(t *testing.T) {
	for _, dir := range []string{"/usr", "usr/.."} {
		s := newSession(t, agentDir(t), 1)
		cmd := exec.Command(filepath.Join(s.dir, "agent"), "start", "id="+s.id, "workdir="+dir, "--", "pwd")
		cmd.Dir = "/"
		s.connect(cmd)
		if s.exit(); s.out[1].String() != filepath.Join("/", dir)+"\n" {
			t.Errorf("pwd %q", s.out[1].String())
		}
	}
	s := startSession(t, "workdir=/no/such", "--", "pwd")
	const want = "pwd: chdir /no/such: no such file or directory"
	if exit := s.exit(); exit.Kind != agent.NotStarted || exit.Code != agent.NoDirectory || exit.Text != want {
		t.Errorf("no such directory: %+v, want the text %q", exit, want)
	}
}

// noise returns lines of random numbers.
func noise(n int) string {
	var text strings.Builder
	for text.Len() < n {
		text.WriteString(strconv.FormatUint(rand.Uint64(), 36) + "\n")
	}
	return text.String()[:n]
}

// breakRelay ends the newest relay in one of several ways, and opens another.
func (s *session) breakRelay() {
	r := s.relay
	switch rand.IntN(3) {
	case 0: // kill -9
		r.cmd.Process.Kill()
	case 1: // the end of stdin
		r.stdin.Close()
	case 2: // half-open: the relay stays, but passes nothing on
		r.cmd.Process.Signal(syscall.SIGSTOP)
	}
	s.attach()
	if rand.IntN(2) == 0 {
		r.cmd.Process.Signal(syscall.SIGCONT) // what it has read arrives late
	}
}

func TestAgent_CommandWithCuts(t *testing.T) {
	s := startSession(t, "stdin=1", "--", "sh", "-c", "cat; echo end >&2; exit 9")
	input := noise(8 << 20)
	for i, rest := 0, input; len(rest) > 0; i++ {
		n := min(len(rest), 100<<10)
		s.typeText(rest[:n])
		rest = rest[n:]
		if i%2 == 1 {
			s.breakRelay()
		}
	}
	s.do((*agent.Client).EndInput)
	s.breakRelay()
	if exit := s.exit(); exit.Kind != agent.Exited || exit.Code != 9 {
		t.Errorf("exit %+v", exit)
	}
	if got := s.out[1].String(); got != input || s.out[2].String() != "end\n" || s.dropped > 0 {
		t.Errorf("%d bytes, want %d; stderr %q; %d dropped", len(got), len(input), s.out[2].String(), s.dropped)
	}
}

// A shell counts while 1000 keys are typed, each of which is applied once.
func TestAgent_TerminalWithCuts(t *testing.T) {
	s := startSession(t, "tty=1", "--", "sh", "-c", `stty raw -echo
		echo ready; (i=0; while sleep 0.01; do i=$((i+1)); echo "count $i"; done) &
		dd bs=1 count=1000 2>/dev/null; kill $!; wait
		echo; echo done`)
	s.untilOutput("ready")
	keys := strings.ReplaceAll(noise(1000), "\n", "K")
	for i := range keys {
		s.typeText(strings.ToUpper(keys[i : i+1]))
		if i%10 == 5 {
			s.breakRelay()
		}
	}
	if exit := s.exit(); exit.Code != 0 {
		t.Errorf("exit %+v", exit)
	}
	out := strings.ReplaceAll(s.out[1].String(), "\r", "")
	var got []byte
	count := 0
	for _, line := range strings.Split(out, "\n") {
		if before, number, ok := strings.Cut(line, "count "); ok {
			count++
			line = before
			if number != strconv.Itoa(count) {
				t.Fatalf("count %s after %d", number, count-1)
			}
		}
		for i := range len(line) {
			if c := line[i]; c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
				got = append(got, c)
			}
		}
	}
	if string(got) != strings.ToUpper(keys) {
		t.Errorf("%d keys arrived, want 1000", len(got))
	}
}

func TestAgent_TerminalSizeAndInterrupt(t *testing.T) {
	s := startSession(t, "tty=1", "--", "sh", "-c", `trap 'stty size' WINCH; trap 'echo interrupted; exit 5' INT
		test -t 0 && test -t 1 && test -t 2 && stty size; while :; do sleep 0.05; done`)
	s.untilOutput("24 80")
	s.do(func(c *agent.Client) { c.Resize(agent.Size{Cols: 101, Rows: 33}) })
	s.untilOutput("33 101")
	s.typeText("\x03")
	s.untilOutput("interrupted")
	if exit := s.exit(); exit.Code != 5 {
		t.Errorf("exit %+v", exit)
	}
}

func TestAgent_Signals(t *testing.T) {
	// The command reads no input, so that the signal must not wait for it.
	s := startSession(t, "stdin=1", "--", "sh", "-c",
		`trap 'echo int' INT; echo ready; sleep 1000 & while :; do wait; done`)
	s.untilOutput("ready")
	s.typeText(noise(400 << 10))
	for i := 1; i <= 3; i++ {
		s.do(func(c *agent.Client) { c.Signal(uint8(syscall.SIGINT)) })
		s.breakRelay()
		s.untilOutput(strings.Repeat("int\n", i))
	}
	s.do(func(c *agent.Client) { c.Signal(uint8(syscall.SIGKILL)) })
	if exit := s.exit(); exit.Kind != agent.Signaled || exit.Code != 9 {
		t.Errorf("exit %+v", exit)
	}
	if got := s.out[1].String(); got != "ready\n"+strings.Repeat("int\n", 3) {
		t.Errorf("output %q", got)
	}
}

// If a signal of a client ends the command, its background jobs are ended, too. A
// shell starts them with SIGINT ignored. If the command ends normally, they continue.
func TestAgent_SignalEndsJobs(t *testing.T) {
	for _, interrupt := range []bool{true, false} {
		script := "sleep 1000 & echo job $!"
		if interrupt {
			script += "; exec sleep 1000"
		}
		s := startSession(t, "--", "sh", "-c", script)
		s.untilOutput("\n")
		job, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(s.out[1].String(), "job ")))
		if err != nil {
			t.Fatal(err)
		}
		if interrupt {
			s.do(func(c *agent.Client) { c.Signal(uint8(syscall.SIGINT)) })
		}
		s.exit()
		if interrupt {
			eventually(t, "the job has ended", func() bool { return !alive(job) })
		} else if !alive(job) {
			t.Error("the job has ended")
		}
		_ = syscall.Kill(job, syscall.SIGKILL)
	}
}

// While no client is attached, a terminal's program continues, and the end of its
// output is kept.
func TestAgent_TerminalDetached(t *testing.T) {
	marker := filepath.Join(t.TempDir(), "done")
	s := startSession(t, "tty=1", "buffer=100000", "--", "sh", "-c",
		"read x; seq 1 100000; touch "+marker+"; read x; exit 4")
	s.typeText("\n")
	s.until("the input is written", s.client.InputDone)
	s.do((*agent.Client).Leave)
	<-s.relay.done
	s.mu.Lock()
	before := s.out[1].Len() // some output may have arrived before the client left
	s.mu.Unlock()
	eventually(t, "the program ends without clients", func() bool { _, err := os.Stat(marker); return err == nil })
	s.attach()
	s.untilOutput("100000\r\n")
	s.mu.Lock()
	received := s.out[1].Len() - before
	s.mu.Unlock()
	if s.dropped == 0 || received > 150000 {
		t.Errorf("%d bytes were received, and %d dropped", received, s.dropped)
	}
	s.typeText("\n")
	if exit := s.exit(); exit.Code != 4 {
		t.Errorf("exit %+v", exit)
	}
}

// A command without a terminal waits for its client, and loses nothing. The agent
// needs less than 8 MiB.
func TestAgent_SlowReader(t *testing.T) {
	s := newSession(t, agentDir(t), 1)
	s.slow = true
	s.start("stdin=1", "--", "sh", "-c", "seq 1 2000000; cat >/dev/null")
	s.typeText(noise(400 << 10))
	server := s.server()
	full := 0
	eventually(t, "the agent has stopped reading", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		full++
		return full > 100
	})
	s.breakRelay()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", server))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kib, _ := strconv.Atoi(strings.Fields(after)[0])
	_, after, _ = strings.Cut(string(status), "RssAnon:")
	anonymous, _ := strconv.Atoi(strings.Fields(after)[0])
	t.Logf("memory of the agent: %d KiB, of which %d KiB are not the program itself", kib, anonymous)
	if anonymous > 8<<10 {
		t.Errorf("the agent uses %d KiB", anonymous)
	}
	s.mu.Lock()
	s.slow = false
	s.takeOutput()
	s.mu.Unlock()
	s.do((*agent.Client).EndInput)
	s.exit()
	want, _ := exec.Command("seq", "1", "2000000").Output()
	if !bytes.Equal(s.out[1].Bytes(), want) || s.dropped > 0 {
		t.Errorf("%d bytes, want %d", s.out[1].Len(), len(want))
	}
}

func TestAgent_TwoClients(t *testing.T) {
	s := startSession(t, "tty=1", "--", "sh", "-c",
		`stty -echo; echo ready; while read -r line; do echo "got $line"; stty size; done`)
	s.untilOutput("ready")
	second := newSession(t, s.dir, 2)
	second.id = s.id
	second.do(func(c *agent.Client) { c.Resize(agent.Size{Cols: 120, Rows: 40}) })
	second.attach()
	second.untilOutput("ready")
	s.until("the other client is announced", func() bool { return len(s.events) == 1 && s.events[0] == "client 2 true" })
	second.typeText("two\n")
	s.untilOutput("got two\r\n40 120")
	s.typeText("one\n")
	second.untilOutput("got one\r\n24 80")
	if info := s.info(); info.Clients != 2 || !info.Terminal || info.Ended {
		t.Errorf("info %+v", info)
	}
	second.do((*agent.Client).Leave)
	s.until("the other client has left", func() bool { return len(s.events) == 2 && s.events[1] == "client 2 false" })
	s.typeText("\x04")
	if exit := s.exit(); exit.Code != 0 {
		t.Errorf("exit %+v", exit)
	}
}

// If the owner reads nothing, the command waits. After the owner has been
// disconnected for the time limit "idle", another client becomes the owner, and
// the command continues without waiting for a frame of that client.
func TestAgent_OwnerIsGone(t *testing.T) {
	s := newSession(t, agentDir(t), 1)
	s.slow = true
	s.start("idle=2", "--", "sh", "-c", "head -c 20000000 /dev/zero; echo done")
	s.until("the agent has accepted the client", s.client.Attached)
	second := newSession(t, s.dir, 2)
	second.id = s.id
	second.attach()
	second.until("the agent has accepted the second client", second.client.Attached)
	s.relay.kill()
	second.untilOutput("done")
	second.exit()
}

// A client that reads nothing does not stop the other one.
func TestAgent_StoppedClient(t *testing.T) {
	s := startSession(t, "tty=1", "buffer=200000", "--", "sh", "-c", "read x; seq 1 100000; echo done; read x")
	s.until("attached", func() bool { return s.welcome != nil })
	stopped := newSession(t, s.dir, 2)
	stopped.id, stopped.slow = s.id, true
	stopped.attach()
	s.until("the other client is announced", func() bool { return len(s.events) == 1 })
	s.typeText("\n")
	s.untilOutput("done")
	stopped.mu.Lock()
	stopped.slow = false
	stopped.takeOutput()
	stopped.mu.Unlock()
	stopped.send()
	stopped.untilOutput("done")
	if stopped.dropped == 0 {
		t.Error("nothing was dropped for the stopped client")
	}
}

// A job in the background does not delay the exit, does not become a zombie, and
// survives the session if it is in a session of its own.
func TestAgent_BackgroundJobs(t *testing.T) {
	s := startSession(t, "stdin=1", "--", "sh", "-c",
		`(sleep 0.1 & echo "orphan $!"); setsid sh -c 'echo "other $$"; exec sleep 1000' & read x; echo last; exit 6`)
	pidOf := func(name string) int {
		s.until(name, func() bool {
			_, after, ok := strings.Cut(s.out[1].String(), name+" ")
			return ok && strings.Contains(after, "\n")
		})
		_, after, _ := strings.Cut(s.out[1].String(), name+" ")
		pid, _ := strconv.Atoi(strings.Fields(after)[0])
		return pid
	}
	orphan, other := pidOf("orphan"), pidOf("other")
	eventually(t, "the orphan is gone", func() bool { return syscall.Kill(orphan, 0) != nil })
	s.typeText("\n")
	if exit := s.exit(); exit.Code != 6 || !strings.HasSuffix(s.out[1].String(), "last\n") {
		t.Errorf("exit %+v, output %q", exit, s.out[1].String())
	}
	<-s.relay.done
	if !alive(other) {
		t.Error("the process in another session was ended")
	}
	syscall.Kill(other, syscall.SIGKILL)
}

// If a client is slow, all output that the command has written before its end
// still arrives.
func TestAgent_SlowReaderAfterExit(t *testing.T) {
	const size = 4<<20 + 64<<10 // a window and a pipe
	s := newSession(t, agentDir(t), 1)
	s.slow = true
	s.start("--", "head", "-c", strconv.Itoa(size), "/dev/zero")
	s.until("the agent has accepted the client", s.client.Attached)
	pid := int(s.info().PID)
	eventually(t, "the command has ended", func() bool { return !alive(pid) })
	for range 10 {
		s.do(func(c *agent.Client) {
			if chunk, ok := c.Output(); ok {
				s.out[chunk.Stream].Write(chunk.Data)
				c.Written(len(chunk.Data))
			}
		})
		<-time.After(2 * lastOutput) // the client is slow
	}
	s.mu.Lock()
	s.slow = false
	s.takeOutput()
	s.mu.Unlock()
	s.send()
	s.exit()
	if n := s.out[1].Len(); n != size || s.dropped > 0 {
		t.Errorf("%d bytes, want %d", n, size)
	}
}

// The first relay ends when its stdin ends, although the session continues.
func TestAgent_FirstRelayEndsWithStdin(t *testing.T) {
	s := startSession(t, "--", "sleep", "1000")
	s.until("the agent has accepted the client", s.client.Attached)
	s.relay.stdin.Close()
	select {
	case <-s.relay.done:
	case <-time.After(limit / 2): // the agent closes a silent relay after 60 s
		t.Error("the relay has not ended")
	}
}

// A job that continues to write does not delay the exit.
func TestAgent_FloodAfterExit(t *testing.T) {
	s := startSession(t, "--", "sh", "-c", "yes & echo $!; exit 3")
	if exit := s.exit(); exit.Code != 3 {
		t.Errorf("exit %+v", exit)
	}
}

// end sends HUP and TERM, and KILL to processes that ignore these.
func TestAgent_End(t *testing.T) {
	s := startSession(t, "tty=1", "--", "sh", "-c",
		`trap '' HUP TERM; sleep 1000 & echo "ready $$ $!"; while :; do wait; sleep 1; done`)
	s.untilOutput("\n")
	var pid, child int
	fmt.Sscanf(s.out[1].String(), "ready %d %d", &pid, &child)
	if out, err := exec.Command(filepath.Join(s.dir, "agent"), "end", "id="+s.id).CombinedOutput(); err != nil {
		t.Fatalf("end: %v %s", err, out)
	}
	if exit := s.exit(); exit.Kind != agent.Signaled || exit.Code != uint8(syscall.SIGKILL) {
		t.Errorf("exit %+v", exit)
	}
	eventually(t, "all processes are gone", func() bool { return !alive(pid) && !alive(child) })
}

// If no client can attach again, a session that is ended by a request is gone with its
// command.
func TestAgent_EndAfterLeave(t *testing.T) {
	s := startSession(t, "--", "sh", "-c", "echo ready; exec sleep 1000")
	s.untilOutput("\n")
	server := s.server()
	s.do((*agent.Client).Leave)
	eventually(t, "the client has left", func() bool {
		out, _ := exec.Command(filepath.Join(s.dir, "agent"), "list").Output()
		var d agent.Decoder
		_, _ = d.Write(out)
		m, _ := d.Next()
		info, ok := m.(*agent.Info)
		return ok && info.Clients == 0
	})
	begin := time.Now()
	if out, err := exec.Command(filepath.Join(s.dir, "agent"), "end", "id="+s.id).CombinedOutput(); err != nil {
		t.Fatalf("end: %v %s", err, out)
	}
	eventually(t, "the agent has ended", func() bool { return !alive(server) })
	if took := time.Since(begin); took >= lastClients {
		t.Errorf("the agent ended after %v", took)
	}
}

func TestAgent_TimeLimits(t *testing.T) {
	t.Run("without clients", func(t *testing.T) {
		t.Parallel()
		s := startSession(t, "idle=1", "--", "sh", "-c", "echo $$; exec sleep 1000")
		s.untilOutput("\n")
		server := s.server()
		pid, _ := strconv.Atoi(strings.TrimSpace(s.out[1].String()))
		s.relay.kill()
		eventually(t, "the command and the agent have ended", func() bool { return !alive(pid) && !alive(server) })
	})
	t.Run("without clients, and the output is not read", func(t *testing.T) {
		t.Parallel()
		s := newSession(t, agentDir(t), 1)
		s.slow = true
		s.start("idle=1", "stdin=1", "--", "sh", "-c", "read x; head -c 10000000 /dev/zero")
		s.until("attached", func() bool { return s.welcome != nil })
		server := s.server()
		s.typeText("\n")
		s.until("output", func() bool { _, ok := s.client.Output(); return ok })
		s.relay.kill()
		eventually(t, "the agent has ended", func() bool { return !alive(server) })
	})
	t.Run("in total", func(t *testing.T) {
		t.Parallel()
		s := startSession(t, "total=1", "--", "sleep", "1000")
		if exit := s.exit(); exit.Kind != agent.TimedOut || exit.Code != uint8(syscall.SIGHUP) {
			t.Errorf("exit %+v", exit)
		}
	})
	t.Run("a silent relay whose output is not read", func(t *testing.T) {
		t.Parallel()
		s := newSession(t, agentDir(t), 1)
		cmd := exec.Command(filepath.Join(s.dir, "agent"), "start", "id="+s.id, "silence=1", "--", "yes")
		stdin, _ := cmd.StdinPipe()
		defer stdin.Close()
		stdout, err := cmd.StdoutPipe() // not read
		if err != nil {
			t.Fatal(err)
		}
		defer stdout.Close()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		s.client.Connect()
		stdin.Write(s.client.Next(nil, 0))
		if err := cmd.Wait(); err != nil {
			t.Errorf("the relay: %v", err)
		}
		exec.Command(cmd.Path, "end", "id="+s.id).Run()
	})
}

func TestAgent_ListAndDeadSockets(t *testing.T) {
	s := startSession(t, "--", "sh", "-c", "echo $$; exec sleep 1000")
	s.untilOutput("\n")
	want := strings.TrimSpace(s.out[1].String())
	info := s.info()
	mounts, _ := os.Readlink("/proc/self/ns/mnt")
	if strconv.Itoa(int(info.PID)) != want || info.Mounts != mounts || info.Build != "test" ||
		strings.Join(info.Command, " ") != "sh -c echo $$; exec sleep 1000" ||
		time.Since(time.Unix(int64(info.Started), 0)) > time.Hour {
		t.Errorf("info %+v", info)
	}
	syscall.Kill(s.server(), syscall.SIGKILL)
	syscall.Kill(int(info.PID), syscall.SIGKILL)
	<-s.relay.done
	if infos := listed(t, s.dir); len(infos) > 0 {
		t.Errorf("a dead session is listed: %+v", infos)
	}
	if _, err := os.Stat(filepath.Join(s.dir, socketName(s.id))); err == nil {
		t.Error("the socket of a dead session remains")
	}
}

// The directory is removed after its last session.
func TestAgent_RemovesDirectory(t *testing.T) {
	dir := agentDir(t)
	first, second := newSession(t, dir, 1), newSession(t, dir, 1)
	for _, s := range []*session{first, second} {
		s.start("remove=1", "stdin=1", "--", "cat")
		s.until("attached", func() bool { return s.welcome != nil })
	}
	first.do((*agent.Client).EndInput)
	first.exit()
	<-first.relay.done
	if len(listed(t, dir)) != 1 {
		t.Error("the directory was removed too early")
	}
	second.do((*agent.Client).EndInput)
	second.exit()
	<-second.relay.done
	eventually(t, "the directory is removed", func() bool {
		_, err := os.Stat(dir)
		return errors.Is(err, os.ErrNotExist)
	})
}

// The directory stays while another session is about to start.
func TestAgent_KeepsDirectoryForStart(t *testing.T) {
	dir := agentDir(t)
	first, second := newSession(t, dir, 1), newSession(t, dir, 1)
	file := filepath.Join(dir, startingPrefix+second.id)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	first.start("remove=1", "--", "true")
	first.exit()
	<-first.relay.done
	second.start("remove=1", "--", "true") // fails if the directory was removed
	second.exit()
	<-second.relay.done
	eventually(t, "the directory is removed", func() bool {
		_, err := os.Stat(dir)
		return errors.Is(err, os.ErrNotExist)
	})
}

// No zombie remains, whether the first relay or the session ends first.
func TestAgent_FirstRelayReapsAgent(t *testing.T) {
	s := startSession(t, "--", "true")
	s.exit()
	<-s.relay.done
	if err := s.relay.cmd.Wait(); err != nil {
		t.Errorf("the relay: %v, stderr %q", err, s.relay.stderr.String())
	}
}

func TestAgent_OtherUserIsRefused(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can run a process as another user")
	}
	s := startSession(t, "--", "sleep", "1000")
	s.until("attached", func() bool { return s.welcome != nil })
	socket := filepath.Join(s.dir, socketName(s.id))
	info, err := os.Stat(socket)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the mode of the socket is %v, %v", info.Mode(), err)
	}
	os.Chmod(s.dir, 0o755)
	os.Chmod(socket, 0o777)
	cmd := exec.Command(filepath.Join(s.dir, "agent"), "end", "id="+s.id)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 1234, Gid: 1234}}
	if out, err := cmd.CombinedOutput(); err == nil {
		t.Errorf("another user has ended the session: %s", out)
	}
	if s.info().Ended {
		t.Error("the session has ended")
	}
}

func TestAgent_Unable(t *testing.T) {
	s := newSession(t, agentDir(t), 1)
	os.Mkdir(filepath.Join(s.dir, socketName(s.id)), 0o700) // in place of the socket
	os.WriteFile(filepath.Join(s.dir, startingPrefix+s.id), nil, 0o600)
	s.connect(exec.Command(filepath.Join(s.dir, "agent"), "start", "remove=1", "id="+s.id, "--", "true"))
	<-s.relay.done
	var refused *agent.RefusedError
	if s.mu.Lock(); !errors.As(s.failed, &refused) || refused.Refused.Reason != agent.ReasonUnable {
		t.Errorf("got %v", s.failed)
	}
	s.mu.Unlock()
	eventually(t, "the directory is removed", func() bool {
		_, err := os.Stat(s.dir)
		return errors.Is(err, os.ErrNotExist)
	})
}

// exitCode runs the agent in dir, and returns its exit code and its stderr.
func exitCode(dir string, args ...string) (code int, stderr string) {
	cmd := exec.Command(filepath.Join(dir, "agent"), args...)
	var text bytes.Buffer
	cmd.Stderr = &text
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), text.String()
}

// attach and end distinguish a session that does not exist from other failures.
func TestAgent_NoSuchSession(t *testing.T) {
	dir := agentDir(t)
	dead, err := net.Listen("unix", filepath.Join(dir, socketName("dead")))
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	os.WriteFile(filepath.Join(dir, "file"), nil, 0o600)
	tests := []struct {
		name string
		args []string
		code int
	}{
		{"no socket", []string{"id=none"}, 3},
		{"a socket without a process", []string{"id=dead"}, 3},
		{"no directory", []string{"id=none", "dir=" + filepath.Join(dir, "none")}, 3},
		{"not a directory", []string{"id=none", "dir=" + filepath.Join(dir, "file")}, 1},
		{"not an ID", []string{"id=../none"}, 1},
	}
	for _, command := range []string{"attach", "end"} {
		for _, test := range tests {
			code, stderr := exitCode(dir, append([]string{command}, test.args...)...)
			if code != test.code || (code == 3) != (stderr == "kshell-agent: no such session\n") {
				t.Errorf("%s, %s: code %d, stderr %q", command, test.name, code, stderr)
			}
		}
	}
}

func TestAgent_Usage(t *testing.T) {
	dir := agentDir(t)
	for _, args := range [][]string{
		{},
		{"unknown"},
		{"start"},
		{"start", "id=x"},
		{"start", "id=../x", "--", "true"},
		{"attach"},
		{"attach", "id=none"},
		{"start", "id=x", "idle=-1", "--", "true"},
		{"start", "unknown=1"},
		{"start", "id=x", "env=A", "--", "true"},
		{"start", "id=x", "env==1", "--", "true"},
		{"end", "id=none"},
	} {
		cmd := exec.Command(filepath.Join(dir, "agent"), args...)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.HasPrefix(string(out), "kshell-agent: ") {
			t.Errorf("%q: %v, %q", args, err, out)
		}
	}
}
