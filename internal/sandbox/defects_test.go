//go:build unix

package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"kshell/internal/sandbox"
)

// These tests reproduce the defects of real servers that the package comment
// lists, in each mode and protocol in which they occur.

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrUnexpectedEOF)
}

func exited(ses sandbox.Session) bool { return ses.Exited }

func closed(ses sandbox.Session) bool { return ses.Closed }

// ping sends a ping and waits for the reset that answers it.
func (c *client) ping(s *sandbox.Server) {
	c.t.Helper()
	go func() { _ = c.ws.Ping(c.ctx) }()
	waitSession(c.ctx, c.t, s, func(ses sandbox.Session) bool { return !ses.Open })
}

// dialRecorded dials, and waits until the server has recorded the session,
// which is then the newest one.
func dialRecorded(t *testing.T, s *sandbox.Server, path string, protocols ...string) *client {
	t.Helper()
	n := len(s.Sessions())
	c := dial(t, s, path, protocols...)
	waitSession(c.ctx, t, s, func(sandbox.Session) bool { return len(s.Sessions()) > n })
	return c
}

func TestUnreadStdin_BlocksStatus(t *testing.T) {
	t.Parallel()
	// The server's queue holds 96 KiB. While a command runs, its pipe holds 64
	// KiB more, and 32 KiB wait between the queue and the pipe. When all of
	// these are full, the server is blocked.
	const held, between = 96 << 10, 64<<10 + 32<<10
	tests := []struct {
		script string
		fault  sandbox.Fault
		needed int64 // bytes of stdin that the server must have received before writeGo
	}{
		{waitForGo + "exit 3", sandbox.Fault{}, held + between - 1},
		{waitForGo + "head -c 1", sandbox.Fault{}, held + between - 1},
		{"exit 3", sandbox.Fault{StartAfter: 3 * time.Second}, held}, // the queue is full before the command starts
	}
	for _, p := range []string{v5, v4} {
		for _, tt := range tests {
			t.Run(p+" "+tt.script, func(t *testing.T) {
				t.Parallel()
				s := start(t, sandbox.Config{})
				s.Inject(tt.fault)
				c := dialRecorded(t, s, execPath("web", execQuery("io", "sh", "-c", tt.script)), p)
				flooded := make(chan struct{})
				go func() { // until the connection ends
					defer close(flooded)
					for c.write(0, make([]byte, 16<<10)) == nil {
					}
				}()
				waitSession(c.ctx, t, s, func(ses sandbox.Session) bool { return ses.StdinBytes > tt.needed })
				writeGo(t, s)
				waitSession(c.ctx, t, s, exited)
				soon, cancel := context.WithTimeout(c.ctx, 200*time.Millisecond)
				defer cancel()
				if s.WaitSessions(soon, func(list []sandbox.Session) bool { return list[0].Closed || !list[0].Open }) == nil {
					t.Error("the session ended")
				}
				s.Restart()
				if r := c.finish(); r.status != "" {
					t.Errorf("a Status was received: %s", r.status)
				}
				<-flooded
			})
		}
	}
}

func TestUnreadStdin_BelowLimit(t *testing.T) {
	t.Parallel()
	for _, p := range []string{v5, v4} {
		t.Run(p, func(t *testing.T) {
			t.Parallel()
			s := start(t, sandbox.Config{})
			s.Inject(sandbox.Fault{StartAfter: 3 * time.Second})
			c := dialRecorded(t, s, execPath("web", execQuery("io", "sh", "-c", "exit 3")), p)
			c.send(0, strings.Repeat("x", 90_000)) // without half-closing
			if r := c.finish(); r.code() != 3 {
				t.Errorf("%s %v, want 3", r.status, r.end)
			}
		})
	}
}

func TestInFlight_WrongStatus(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   sandbox.Action
		ok   func(r result) bool
	}{
		{"Success", sandbox.SaySuccess, func(r result) bool { return r.code() == 0 && closedNormally(r) }},
		{"no Status", sandbox.CloseFrame, func(r result) bool { return r.status == "" && closedNormally(r) }},
		{"EOF", sandbox.FIN, func(r result) bool { return r.status == "" && !closedNormally(r) }},
		{"reset", sandbox.RST, func(r result) bool { return r.status == "" && !closedNormally(r) }},
	}
	for _, gentle := range []bool{false, true} {
		s := start(t, sandbox.Config{Gentle: gentle})
		for _, tt := range tests {
			undo := s.Inject(sandbox.Fault{Do: tt.do, When: sandbox.AtEnd, InFlight: true})
			for _, p := range []string{v5, v4, v4base64} {
				c := dialRecorded(t, s, execPath("web", execQuery("io", "sh", "-c", "read x; echo $x; exit 7")), p)
				c.send(0, "in\nmore\n")
				if r := c.finish(); !tt.ok(r) || tt.do == sandbox.SaySuccess && r.out != "in\n" {
					t.Errorf("%s %s: %+v", tt.name, p, r)
				}
			}
			c := dialRecorded(t, s, execPath("web", execQuery("io", "sh", "-c", "cat; exit 7")), v5)
			c.send(0, "in\n")
			c.halfClose()
			if r := c.finish(); r.code() != 7 || r.out != "in\n" {
				t.Errorf("%s: stdin had ended, yet %+v", tt.name, r)
			}
			if r := dialRecorded(t, s, execPath("web", execQuery("o", "sh", "-c", "exit 7")), v5).finish(); r.code() != 7 {
				t.Errorf("%s: there was no stdin, yet %+v", tt.name, r)
			}
			undo()
		}
	}
}

func closedNormally(r result) bool {
	return websocket.CloseStatus(r.end) == websocket.StatusNormalClosure
}

func TestInFlight_LostOutput(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	s.Inject(sandbox.Fault{LoseTail: 3 * time.Second, InFlight: true, Do: sandbox.SaySuccess, When: sandbox.AtEnd})
	c := dialRecorded(t, s, execPath("web", execQuery("io", "sh", "-c", "echo early; read x; echo late; exit 7")), v5)
	c.readUntil("early\n")
	c.send(0, "\n")
	if r := c.finishFrom(1); r.out != "" || r.code() != 0 {
		t.Errorf("%q %s, want nothing after the early half, and Success", r.out, r.status)
	}
	c = dialRecorded(t, s, execPath("web", execQuery("io", "sh", "-c", "cat; exit 7")), v5)
	c.send(0, "all")
	c.halfClose()
	if r := c.finish(); r.out != "all" || r.code() != 7 {
		t.Errorf("stdin had ended, yet %q %s", r.out, r.status)
	}
}

// If a ping arrives after the server has closed the session, the server answers
// with a reset.
func TestLateReset_PingAfterClose(t *testing.T) {
	t.Parallel()
	const size = 300_000
	command := execQuery("o", "sh", "-c", "head -c 300000 /dev/zero; exit 5")
	for _, gentle := range []bool{false, true} {
		s := start(t, sandbox.Config{Gentle: gentle})
		s.Inject(sandbox.Fault{LateReset: true})
		for _, p := range []string{v5, v4} {
			c := dialRecorded(t, s, execPath("web", command), p)
			waitSession(c.ctx, t, s, closed) // the client has read nothing
			c.ping(s)
			if r := c.finish(); r.status != "" || len(r.out) >= size || !isReset(r.end) {
				t.Errorf("%s: %d bytes, %q, %v; want a reset", p, len(r.out), r.status, r.end)
			}
			c = dialRecorded(t, s, execPath("web", command), p)
			waitSession(c.ctx, t, s, closed)
			time.Sleep(100 * time.Millisecond) // a pause without a ping has no effect
			if r := c.finish(); r.code() != 5 || len(r.out) != size || !closedNormally(r) {
				t.Errorf("%s, without a ping: %d bytes, %q, %v", p, len(r.out), r.status, r.end)
			}
		}
	}
}

func TestLateReset_PausingReader(t *testing.T) {
	t.Parallel()
	const size = 4_000_000
	s := start(t, sandbox.Config{})
	s.Inject(sandbox.Fault{LateReset: true})
	c, _, body, err := tryDialWith(t, smallBufferClient(t, s, 256<<10),
		s.URL()+execPath("web", execQuery("o", "head", "-c", "4000000", "/dev/zero")), v5)
	if err != nil {
		t.Fatalf("%v %s", err, body)
	}
	got := 0
	for got < size/4 {
		_, data, err := c.read()
		if err != nil {
			t.Fatal(err)
		}
		got += len(data)
	}
	waitSession(c.ctx, t, s, closed)
	time.Sleep(100 * time.Millisecond)
	c.ping(s)
	if r := c.finishFrom(1); r.status != "" || got+len(r.out) > size/2 || !isReset(r.end) {
		t.Errorf("%d and %d bytes, %q, %v; want a reset", got, len(r.out), r.status, r.end)
	}
}

func TestLateReset_PingDuringSession(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	s.Inject(sandbox.Fault{LateReset: true})
	c := dialRecorded(t, s, execPath("web", execQuery("io", "sh", "-c", "cat; exit 5")), v5)
	read := make(chan result)
	go func() { read <- c.finish() }()
	if err := c.ws.Ping(c.ctx); err != nil {
		t.Error(err)
	}
	c.send(0, "x")
	c.halfClose()
	if r := <-read; r.out != "x" || r.code() != 5 || !closedNormally(r) {
		t.Errorf("%+v", r)
	}
}

// On a slow link, the server has finished long before its client.
func TestRate_ServerDoesNotNotice(t *testing.T) {
	t.Parallel()
	const size = 120_000
	command := execQuery("o", "sh", "-c", "head -c 120000 /dev/zero; exit 5")
	s := start(t, sandbox.Config{})
	for _, pings := range []bool{false, true} {
		fault := sandbox.Fault{Rate: 240_000, LateReset: true}
		if pings {
			fault.Rate /= 20 // so that the ping arrives long before the last byte
		}
		undo := s.Inject(fault)
		started := time.Now()
		c := dialRecorded(t, s, execPath("web", command), v5)
		done := make(chan result)
		go func() { done <- c.finish() }()
		waitSession(c.ctx, t, s, closed)
		if pings {
			c.ping(s)
		}
		r := <-done
		switch took := time.Since(started); {
		case pings && (r.status != "" || len(r.out) == size):
			t.Errorf("pinged: %d bytes, %s", len(r.out), r.status)
		case !pings && (r.code() != 5 || len(r.out) != size || took < 400*time.Millisecond):
			t.Errorf("%d bytes in %v, %s %v", len(r.out), took, r.status, r.end)
		}
		undo()
	}
}

func TestRate_Cut(t *testing.T) {
	t.Parallel()
	const n = 50_000
	s := start(t, sandbox.Config{})
	for name, fault := range map[string]sandbox.Fault{
		"FIN": {Rate: 500_000, Do: sandbox.FIN},
		"RST": {Rate: 5_000, Do: sandbox.RST}, // so slow that most bytes are in flight at the RST
	} {
		fault.When, fault.N = sandbox.AfterSent, n
		undo := s.Inject(fault)
		r := dialRecorded(t, s, execPath("web", execQuery("o", "head", "-c", "100000", "/dev/zero")), v5).finish()
		if r.status != "" || closedNormally(r) || len(r.out) > n || (name == "FIN") != (len(r.out) > n-33<<10) {
			t.Errorf("%s: %d bytes, %q, %v", name, len(r.out), r.status, r.end)
		}
		undo()
	}
}

func TestStatusDeadline(t *testing.T) {
	t.Parallel()
	const size = 300_000
	command := execQuery("o", "sh", "-c", "head -c 300000 /dev/zero; exit 5")
	s := start(t, sandbox.Config{})
	s.Inject(sandbox.Fault{StatusDeadline: 100 * time.Millisecond})
	for _, p := range []string{v5, v4} {
		c := dialRecorded(t, s, execPath("web", command), p)
		waitSession(c.ctx, t, s, closed) // at the deadline, the server gives up, because the client does not read
		if r := c.finish(); r.status != "" || len(r.out) >= size || !isReset(r.end) {
			t.Errorf("%s: %d bytes, %q, %v; want a reset", p, len(r.out), r.status, r.end)
		}
	}
	s.Reset()
	s.Inject(sandbox.Fault{StatusDeadline: testTimeout})
	r := dialRecorded(t, s, execPath("web", command), v5).finish()
	if r.code() != 5 || len(r.out) != size || !closedNormally(r) {
		t.Errorf("a client that reads: %d bytes, %q, %v", len(r.out), r.status, r.end)
	}
}

func TestDropStdin(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{Gentle: true}) // Gentle, because a command may end before its stdin is sent
	s.Inject(sandbox.Fault{DropStdin: true})
	file := filepath.Join(s.Dir("default", "web", "web"), "file")
	tests := []struct {
		script, want string
		v4           bool // whether to test v4, too; with v4, stdin has no end
	}{
		{"exec cat > file", "", true},
		{"exec cat > file 2>/dev/null", "", true},
		{"exec 2>/dev/null; cat > file; exit 0", "", true},
		{"cat > file; exit $?", "kept", false},
		{"exec head -c 4 > file", "", true},
		{"head -c 4 > file; exit $?", "kept", true},
	}
	for _, tt := range tests {
		for _, p := range []string{v5, v4} {
			if p == v4 && !tt.v4 {
				continue
			}
			c := dialRecorded(t, s, execPath("web", execQuery("ioe", "sh", "-c", tt.script)), p)
			c.send(0, "kept")
			if p == v5 {
				c.halfClose()
			}
			r := c.finish()
			got, err := os.ReadFile(file)
			if err != nil || string(got) != tt.want || r.code() != 0 {
				t.Errorf("%s, %s: the file holds %q, want %q; %s %v", p, tt.script, got, tt.want, r.status, err)
			}
			_ = os.Remove(file)
		}
	}
	c := dialRecorded(t, s, execPath("web", execQuery("io", "sh", "-c", "echo up; read x; exec cat > file")), v5)
	c.readUntil("up")
	c.send(0, "now\n")
	if err := s.WaitIdle(c.ctx, "default", "web"); err != nil { // the command has seen the end of its stdin
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || len(got) != 0 {
		t.Errorf("the file holds %q %v", got, err)
	}
}

// The command cannot distinguish a cut upload from a complete one.
func TestUpload_Cut(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	dir := s.Dir("default", "web", "web")
	cuts := map[string]func(c *client){
		"RST":        nil,
		"FIN":        nil,
		"close":      nil,
		"the client": func(c *client) { _ = c.ws.CloseNow() },
		"a restart":  func(*client) { s.Restart() },
	}
	do := map[string]sandbox.Action{"RST": sandbox.RST, "FIN": sandbox.FIN, "close": sandbox.CloseFrame}
	for name, cut := range cuts {
		for _, p := range []string{v5, v4} {
			undo := func() {}
			if cut == nil {
				undo = s.Inject(sandbox.Fault{Do: do[name], When: sandbox.AfterReceived, N: 50_000})
			}
			c := dialRecorded(t, s, execPath("web", execQuery("io", "sh", "-c", "cat > f.part && mv f.part f; echo moved")), p)
			sleeper := dialRecorded(t, s, execPath("web", execQuery("io", "sleep", "1000")), p)
			for _, upload := range []*client{c, sleeper} {
				upload.send(0, strings.Repeat("x", 40_000))
			}
			waitSession(c.ctx, t, s, func(ses sandbox.Session) bool { return ses.StdinBytes == 40_000 })
			for _, upload := range []*client{c, sleeper} {
				_ = upload.write(0, make([]byte, 10_000)) // a fault cuts within these bytes
				if cut != nil {
					cut(upload)
				}
			}
			read := make(chan result, 2)
			for _, upload := range []*client{c, sleeper} {
				go func() { read <- upload.finish() }()
			}
			waitFor(t, name+" "+p, func() bool { _, err := os.Stat(filepath.Join(dir, "f")); return err == nil })
			_ = os.Remove(filepath.Join(dir, "f"))
			waitFor(t, name+" "+p+": only the command that does not read its stdin still runs", func() bool {
				left := execProcesses(s)
				return len(left) == 1 && slices.Equal(left[0].Args, []string{"sleep", "1000"}) &&
					syscall.Kill(left[0].Pid, syscall.SIGKILL) == nil
			})
			for range 2 {
				if r := <-read; r.status != "" {
					t.Errorf("%s %s: a Status: %s", name, p, r.status)
				}
			}
			if err := s.WaitIdle(c.ctx, "default", "web"); err != nil {
				t.Errorf("%s %s: %v", name, p, err)
			}
			undo()
		}
	}
}

// execProcesses returns the processes of pod web except its main process.
func execProcesses(s *sandbox.Server) []sandbox.Process {
	return slices.DeleteFunc(s.Processes("default", "web"), func(p sandbox.Process) bool { return p.Main })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(testTimeout); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within the time limit", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestStatus_Missing(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	for name, do := range map[string]sandbox.Action{
		"close": sandbox.CloseFrame, "EOF": sandbox.FIN, "reset": sandbox.RST,
	} {
		undo := s.Inject(sandbox.Fault{Do: do, When: sandbox.AtEnd})
		for _, p := range []string{v5, v4} {
			r := dialRecorded(t, s, execPath("web", execQuery("o", "echo", "x")), p).finish()
			if r.status != "" || closedNormally(r) != (name == "close") || name == "EOF" && !errors.Is(r.end, io.EOF) {
				t.Errorf("%s %s: %q, %v", name, p, r.status, r.end)
			}
		}
		undo()
	}
}

func TestSaySuccess(t *testing.T) {
	t.Parallel()
	const script = "echo one; read x; echo two; exec sleep 1000"
	moments := map[string]sandbox.Fault{
		"after output": {When: sandbox.AfterSent, N: 8}, // in the frame with "one", which is still sent
		"after input":  {When: sandbox.AfterReceived, N: 5},
		"in time":      {When: sandbox.AfterTime, After: 2 * time.Second}, // the command has started by then
	}
	for _, gentle := range []bool{false, true} {
		for name, f := range moments {
			t.Run(fmt.Sprintf("%s, gentle %v", name, gentle), func(t *testing.T) {
				t.Parallel()
				s := start(t, sandbox.Config{Gentle: gentle})
				for _, p := range []string{v5, v4, v4base64} {
					for _, kill := range []bool{false, true} {
						if kill && p == v4base64 {
							continue
						}
						f.Do, f.Kill = sandbox.SaySuccess, kill
						undo := s.Inject(f)
						c := dialRecorded(t, s, execPath("web", execQuery("io", "sh", "-c", script)), p)
						c.readUntil("one")
						c.send(0, "\n")
						if r := c.finishFrom(1); r.code() != 0 || r.status == "" || !closedNormally(r) {
							t.Errorf("%s: %q %v", p, r.status, r.end)
						}
						if left := execProcesses(s); !kill && len(left) != 1 {
							t.Errorf("%s: %v still run, want only the command", p, left)
						} else if !kill {
							_ = syscall.Kill(left[0].Pid, syscall.SIGKILL)
						}
						if err := s.WaitIdle(c.ctx, "default", "web"); err != nil {
							t.Errorf("%s: %v", p, err)
						}
						undo()
					}
				}
			})
		}
	}
}
