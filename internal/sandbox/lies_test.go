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

// The ends that lie, by their numbers in the notes on the protocol. Each is played in the modes and protocols that have it.

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, io.ErrUnexpectedEOF)
}

func exited(ses sandbox.Session) bool { return ses.Exited }

func closed(ses sandbox.Session) bool { return ses.Closed }

// ping sends a ping and waits for the reset that is the answer. Its goroutine ends with the socket.
func (c *client) ping(s *sandbox.Server) {
	c.t.Helper()
	go func() { _ = c.ws.Ping(c.ctx) }()
	wait(c.ctx, c.t, s, func(ses sandbox.Session) bool { return !ses.Open })
}

// begin dials, and waits until the server has the session in its books: the newest session is then this one.
func begin(t *testing.T, s *sandbox.Server, path string, protocols ...string) *client {
	t.Helper()
	n := len(s.Sessions())
	c := dial(t, s, path, protocols...)
	wait(c.ctx, t, s, func(sandbox.Session) bool { return len(s.Sessions()) > n })
	return c
}

// End 1.
func TestStdinThatNobodyReadsSilencesTheServerWhateverTheCommandSays(t *testing.T) {
	t.Parallel()
	// The server's queue holds 96 KiB. While a command runs, its pipe holds 64 KiB
	// more, and a message of 32 KiB waits in between. All that full, the server is
	// blocked.
	const held, between = 96 << 10, 64<<10 + 32<<10
	tests := []struct {
		script string
		fault  sandbox.Fault
		lies   int64 // so much has to have come before the command may end
	}{
		{untilGo + "exit 3", sandbox.Fault{}, held + between - 1},
		{untilGo + "head -c 1", sandbox.Fault{}, held + between - 1},
		{"exit 3", sandbox.Fault{StartAfter: 3 * time.Second}, held}, // all of it has come by then
	}
	for _, p := range []string{v5, v4} {
		for _, tt := range tests {
			t.Run(p+" "+tt.script, func(t *testing.T) {
				t.Parallel()
				s := start(t, sandbox.Config{})
				s.Inject(tt.fault)
				c := begin(t, s, execPath("web", ask("io", "sh", "-c", tt.script)), p)
				flooded := make(chan struct{})
				go func() { // without an end
					defer close(flooded)
					for c.write(0, make([]byte, 16<<10)) == nil {
					}
				}()
				wait(c.ctx, t, s, func(ses sandbox.Session) bool { return ses.StdinBytes > tt.lies })
				goOn(t, s)
				wait(c.ctx, t, s, exited)
				soon, cancel := context.WithTimeout(c.ctx, 200*time.Millisecond)
				defer cancel()
				if s.WaitSessions(soon, func(list []sandbox.Session) bool { return list[0].Closed || !list[0].Open }) == nil {
					t.Error("the session ended")
				}
				s.Restart()
				if r := c.finish(); r.status != "" {
					t.Errorf("a Status came: %s", r.status)
				}
				<-flooded
			})
		}
	}
}

func TestLittleUnreadStdinLeavesTheStatusAlone(t *testing.T) {
	t.Parallel()
	for _, p := range []string{v5, v4} {
		t.Run(p, func(t *testing.T) {
			t.Parallel()
			s := start(t, sandbox.Config{})
			s.Inject(sandbox.Fault{StartAfter: 3 * time.Second})
			c := begin(t, s, execPath("web", ask("io", "sh", "-c", "exit 3")), p)
			c.send(0, strings.Repeat("x", 90_000)) // and no end
			if r := c.finish(); r.code() != 3 {
				t.Errorf("%s %v, want 3", r.status, r.end)
			}
		})
	}
}

// End 2.
func TestStdinInFlightAtTheEndCostsTheTruth(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		do   sandbox.Action
		ok   func(r result) bool
	}{
		{"Success", sandbox.SaySuccess, func(r result) bool { return r.code() == 0 && polite(r) }},
		{"silence", sandbox.CloseFrame, func(r result) bool { return r.status == "" && polite(r) }},
		{"EOF", sandbox.FIN, func(r result) bool { return r.status == "" && !polite(r) }},
		{"reset", sandbox.RST, func(r result) bool { return r.status == "" && !polite(r) }},
	}
	for _, gentle := range []bool{false, true} {
		s := start(t, sandbox.Config{Gentle: gentle})
		for _, tt := range tests {
			undo := s.Inject(sandbox.Fault{Do: tt.do, When: sandbox.AtEnd, InFlight: true})
			for _, p := range []string{v5, v4, v4base64} {
				c := begin(t, s, execPath("web", ask("io", "sh", "-c", "read x; echo $x; exit 7")), p)
				c.send(0, "in\nmore\n")
				if r := c.finish(); !tt.ok(r) || tt.do == sandbox.SaySuccess && r.out != "in\n" {
					t.Errorf("%s %s: %+v", tt.name, p, r)
				}
			}
			c := begin(t, s, execPath("web", ask("io", "sh", "-c", "cat; exit 7")), v5)
			c.send(0, "in\n")
			c.halfClose()
			if r := c.finish(); r.code() != 7 || r.out != "in\n" {
				t.Errorf("%s: stdin had ended, yet %+v", tt.name, r)
			}
			if r := begin(t, s, execPath("web", ask("o", "sh", "-c", "exit 7")), v5).finish(); r.code() != 7 {
				t.Errorf("%s: there was no stdin, yet %+v", tt.name, r)
			}
			undo()
		}
	}
}

func polite(r result) bool { return websocket.CloseStatus(r.end) == websocket.StatusNormalClosure }

func TestStdinInFlightAtTheEndCostsOutput(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	s.Inject(sandbox.Fault{LoseTail: 3 * time.Second, InFlight: true, Do: sandbox.SaySuccess, When: sandbox.AtEnd})
	c := begin(t, s, execPath("web", ask("io", "sh", "-c", "echo early; read x; echo late; exit 7")), v5)
	c.readUntil("early\n")
	c.send(0, "\n")
	if r := c.finishFrom(1); r.out != "" || r.code() != 0 {
		t.Errorf("%q %s, want nothing after the early half, and Success", r.out, r.status)
	}
	c = begin(t, s, execPath("web", ask("io", "sh", "-c", "cat; exit 7")), v5)
	c.send(0, "all")
	c.halfClose()
	if r := c.finish(); r.out != "all" || r.code() != 7 {
		t.Errorf("stdin had ended, yet %q %s", r.out, r.status)
	}
}

// End 3: the reset that a ping provokes.
func TestAPingAfterTheCloseDestroysWhatIsInFlight(t *testing.T) {
	t.Parallel()
	const size = 300_000
	command := ask("o", "sh", "-c", "head -c 300000 /dev/zero; exit 5")
	for _, gentle := range []bool{false, true} {
		s := start(t, sandbox.Config{Gentle: gentle})
		s.Inject(sandbox.Fault{LateReset: true})
		for _, p := range []string{v5, v4} {
			c := begin(t, s, execPath("web", command), p)
			wait(c.ctx, t, s, closed) // the client has read nothing
			c.ping(s)
			if r := c.finish(); r.status != "" || len(r.out) >= size || !isReset(r.end) {
				t.Errorf("%s: %d bytes, %q, %v; want a reset", p, len(r.out), r.status, r.end)
			}
			c = begin(t, s, execPath("web", command), p)
			wait(c.ctx, t, s, closed)
			time.Sleep(100 * time.Millisecond) // the pause that harms nobody who is silent
			if r := c.finish(); r.code() != 5 || len(r.out) != size || !polite(r) {
				t.Errorf("%s, without a ping: %d bytes, %q, %v", p, len(r.out), r.status, r.end)
			}
		}
	}
}

func TestAReaderThatPausesMidwayHasTheRestInFlight(t *testing.T) {
	t.Parallel()
	const size = 4_000_000
	s := start(t, sandbox.Config{})
	s.Inject(sandbox.Fault{LateReset: true})
	c, _, body, err := tryDialBy(t, narrowClient(t, s, 256<<10), s.URL()+execPath("web", ask("o", "head", "-c", "4000000", "/dev/zero")), v5)
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
	wait(c.ctx, t, s, closed)
	time.Sleep(100 * time.Millisecond)
	c.ping(s)
	if r := c.finishFrom(1); r.status != "" || got+len(r.out) > size/2 || !isReset(r.end) {
		t.Errorf("%d and %d bytes, %q, %v; want a reset", got, len(r.out), r.status, r.end)
	}
}

func TestAPingDuringTheSessionIsAnsweredAndHarmless(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	s.Inject(sandbox.Fault{LateReset: true})
	c := begin(t, s, execPath("web", ask("io", "sh", "-c", "cat; exit 5")), v5)
	read := make(chan result)
	go func() { read <- c.finish() }()
	if err := c.ws.Ping(c.ctx); err != nil {
		t.Error(err)
	}
	c.send(0, "x")
	c.halfClose()
	if r := <-read; r.out != "x" || r.code() != 5 || !polite(r) {
		t.Errorf("%+v", r)
	}
}

// End 3 on a slow link: the server is done long before its client.
func TestASlowLinkIsNotNoticedByTheServer(t *testing.T) {
	t.Parallel()
	const size = 120_000
	command := ask("o", "sh", "-c", "head -c 120000 /dev/zero; exit 5")
	s := start(t, sandbox.Config{})
	for _, pings := range []bool{false, true} {
		fault := sandbox.Fault{Rate: 240_000, LateReset: true}
		if pings {
			fault.Rate /= 20 // the ping comes long before the last byte
		}
		undo := s.Inject(fault)
		started := time.Now()
		c := begin(t, s, execPath("web", command), v5)
		done := make(chan result)
		go func() { done <- c.finish() }()
		wait(c.ctx, t, s, closed)
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

func TestALinkCarriesWhatWasSaidBeforeACut(t *testing.T) {
	t.Parallel()
	const n = 50_000
	s := start(t, sandbox.Config{})
	for name, fault := range map[string]sandbox.Fault{
		"FIN": {Rate: 500_000, Do: sandbox.FIN}, "RST": {Rate: 5_000, Do: sandbox.RST}, // which comes long before the last byte
	} {
		fault.When, fault.N = sandbox.AfterSent, n
		undo := s.Inject(fault)
		r := begin(t, s, execPath("web", ask("o", "head", "-c", "100000", "/dev/zero")), v5).finish()
		if r.status != "" || polite(r) || len(r.out) > n || (name == "FIN") != (len(r.out) > n-33<<10) {
			t.Errorf("%s: %d bytes, %q, %v", name, len(r.out), r.status, r.end)
		}
		undo()
	}
}

// End 3, the deadline.
func TestAStatusThatIsNotTakenInTimeIsLostWithTheTail(t *testing.T) {
	t.Parallel()
	const size = 300_000
	command := ask("o", "sh", "-c", "head -c 300000 /dev/zero; exit 5")
	s := start(t, sandbox.Config{})
	s.Inject(sandbox.Fault{StatusDeadline: 100 * time.Millisecond})
	for _, p := range []string{v5, v4} {
		c := begin(t, s, execPath("web", command), p)
		wait(c.ctx, t, s, closed) // by the deadline: the client reads nothing
		if r := c.finish(); r.status != "" || len(r.out) >= size || !isReset(r.end) {
			t.Errorf("%s: %d bytes, %q, %v; want a reset", p, len(r.out), r.status, r.end)
		}
	}
	s.Reset()
	s.Inject(sandbox.Fault{StatusDeadline: patience})
	if r := begin(t, s, execPath("web", command), v5).finish(); r.code() != 5 || len(r.out) != size || !polite(r) {
		t.Errorf("a client that reads: %d bytes, %q, %v", len(r.out), r.status, r.end)
	}
}

// End 3b.
func TestACommandThatGivesUpItsOutputLosesItsStdin(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{Gentle: true}) // a command may end before its input is sent
	s.Inject(sandbox.Fault{DropStdin: true})
	file := filepath.Join(s.Dir("default", "web", "web"), "file")
	tests := []struct {
		script, want string
		v4           bool // where stdin has no end
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
			c := begin(t, s, execPath("web", ask("ioe", "sh", "-c", tt.script)), p)
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
	c := begin(t, s, execPath("web", ask("io", "sh", "-c", "echo up; read x; exec cat > file")), v5)
	c.readUntil("up")
	c.send(0, "now\n")
	if err := s.WaitIdle(c.ctx, "default", "web"); err != nil { // it has met the end of its stdin, which has not ended
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || len(got) != 0 {
		t.Errorf("the file holds %q %v", got, err)
	}
}

// End 4.
func TestACutUploadLooksCompleteToTheRemote(t *testing.T) {
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
			c := begin(t, s, execPath("web", ask("io", "sh", "-c", "cat > f.part && mv f.part f; echo moved")), p)
			sleeper := begin(t, s, execPath("web", ask("io", "sleep", "1000")), p)
			for _, upload := range []*client{c, sleeper} {
				upload.send(0, strings.Repeat("x", 40_000))
			}
			wait(c.ctx, t, s, func(ses sandbox.Session) bool { return ses.StdinBytes == 40_000 })
			for _, upload := range []*client{c, sleeper} {
				_ = upload.write(0, make([]byte, 10_000)) // the cut comes within it, where the fault makes it
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
			waitFor(t, name+" "+p+": only the command that does not read its stdin lives on", func() bool {
				left := others(s)
				return len(left) == 1 && slices.Equal(left[0].Args, []string{"sleep", "1000"}) && syscall.Kill(left[0].Pid, syscall.SIGKILL) == nil
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

// others are the processes of pod web that are not its main one.
func others(s *sandbox.Server) []sandbox.Process {
	return slices.DeleteFunc(s.Processes("default", "web"), func(p sandbox.Process) bool { return p.Main })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("%s: it never happened", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// End 6.
func TestEndsWithoutAVerdict(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	for name, do := range map[string]sandbox.Action{"close": sandbox.CloseFrame, "EOF": sandbox.FIN, "reset": sandbox.RST} {
		undo := s.Inject(sandbox.Fault{Do: do, When: sandbox.AtEnd})
		for _, p := range []string{v5, v4} {
			r := begin(t, s, execPath("web", ask("o", "echo", "x")), p).finish()
			if r.status != "" || polite(r) != (name == "close") || name == "EOF" && !errors.Is(r.end, io.EOF) {
				t.Errorf("%s %s: %q, %v", name, p, r.status, r.end)
			}
		}
		undo()
	}
}

func TestSuccessIsSaidOfACommandThatWasCutOff(t *testing.T) {
	t.Parallel()
	const script = "echo one; read x; echo two; exec sleep 1000"
	moments := map[string]sandbox.Fault{
		"after output": {When: sandbox.AfterSent, N: 8}, // after 3 bytes of the first message and 7 of "one"
		"after input":  {When: sandbox.AfterReceived, N: 5},
		"in time":      {When: sandbox.AfterTime, After: 2 * time.Second}, // it has begun by then
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
						c := begin(t, s, execPath("web", ask("io", "sh", "-c", script)), p)
						c.readUntil("one")
						c.send(0, "\n")
						if r := c.finishFrom(1); r.code() != 0 || r.status == "" || !polite(r) {
							t.Errorf("%s: %q %v", p, r.status, r.end)
						}
						if left := others(s); !kill && len(left) != 1 {
							t.Errorf("%s: %v live on, want the command", p, left)
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
