package contract

import (
	"bytes"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kshell/internal/sandbox"
)

// defect is a defect of real servers (see package sandbox), with a command that
// it affects. Defects with the same number in their names have the same cause.
type defect struct {
	name  string
	fault sandbox.Fault
	Scenario
}

// defects returns the defects that affect exec.
func defects() []defect {
	drips := func(rnd *rand.Rand) io.Reader { return &slowReader{rnd: rnd, size: 100, every: 2 * time.Millisecond} }
	endless := func(*rand.Rand) io.Reader { return &yesReader{} }
	some := lines(someLines)
	late := sandbox.Fault{StartAfter: 300 * time.Millisecond}
	inFlight := func(do sandbox.Action, tail time.Duration) sandbox.Fault {
		return sandbox.Fault{InFlight: true, Do: do, When: sandbox.AtEnd, LoseTail: tail}
	}
	exits := Scenario{Command: []string{"sh", "-c", "head -c 300 >/dev/null; exit 7"}, Code: 7, Input: drips}
	prints := Scenario{
		Command: []string{"sh", "-c", "head -c 300 >/dev/null; seq 1 20000; exit 7"},
		Want:    lines(20_000),
		Code:    7,
		Input:   drips,
	}
	slow, pauses := counted("", someLines, some), counted("", manyLines, lines(manyLines))
	pauses.Pause = 3 * time.Second
	return []defect{
		{"1, before the command has begun", late, Scenario{Command: []string{"sh", "-c", "exit 3"}, Code: 3, Input: endless}},
		{"1, true", late, Scenario{Command: []string{"true"}, Input: endless}},
		{"1, the first line", late, Scenario{Command: []string{"head", "-1"}, Want: []byte("y\n"), Input: endless}},
		{
			"1, while the command runs",
			sandbox.Fault{},
			Scenario{Command: []string{"sh", "-c", "sleep 2; exit 3"}, Code: 3, Input: endless, Remote: 2 * time.Second},
		},
		{"2, success", inFlight(sandbox.SaySuccess, 0), exits},
		{"2, no Status", inFlight(sandbox.CloseFrame, 0), exits},
		{"2, an end of the link", inFlight(sandbox.FIN, 0), exits},
		{"2, a reset", inFlight(sandbox.RST, 0), exits},
		{"2, half the output", inFlight(sandbox.Nothing, 300*time.Millisecond), prints},
		{"2, half the output and success", inFlight(sandbox.SaySuccess, 300*time.Millisecond), prints},
		{"3, a reset for a ping, over a slow link", sandbox.Fault{LateReset: true, Rate: 100_000}, slow},
		{"3, a reset for a ping, and a reader that pauses", sandbox.Fault{LateReset: true}, pauses},
		{"3, no time for the Status", sandbox.Fault{StatusDeadline: time.Second, Rate: 100_000}, slow},
		{"6, a polite close", sandbox.Fault{Do: sandbox.CloseFrame, When: sandbox.AtEnd}, slow},
		{"6, an end of the link", sandbox.Fault{Do: sandbox.FIN, When: sandbox.AtEnd}, slow},
		{"6, a reset", sandbox.Fault{Do: sandbox.RST, When: sandbox.AtEnd}, slow},
		{"6, silence", sandbox.Fault{Do: sandbox.Hang, When: sandbox.AtEnd}, slow},
		{"6, success", sandbox.Fault{Do: sandbox.SaySuccess, When: sandbox.AtEnd}, slow},
	}
}

// transports are the flags and contexts that select how kshell connects.
var transports = map[string][]string{
	"v5":   nil,
	"v4":   {"--subprotocol", "v4.channel.k8s.io"},
	"SPDY": {"--context", "create-only"},
}

// startWithFault starts a sandbox with one pod, web, and injects a fault.
func startWithFault(t *testing.T, kshell string, fault sandbox.Fault) (Subject, *sandbox.Server) {
	t.Helper()
	s, _ := startWeb(t)
	s.Inject(fault)
	return Subject{Program: Program{Path: kshell, Kubeconfig: s.Kubeconfig(), Home: t.TempDir()}}, s
}

// In exact mode, all output and the exit code are correct, whatever the server
// does.
func TestServerDefects_Exact(t *testing.T) {
	t.Parallel()
	kshell := kshellBinary(t)
	for _, d := range defects() {
		for by, flags := range transports {
			if by == "SPDY" && (d.fault.LateReset || d.fault.StatusDeadline > 0 || d.fault.Rate > 0) {
				continue // these faults exist only for WebSocket
			}
			t.Run(d.name+", by "+by, func(t *testing.T) {
				t.Parallel()
				subject, _ := startWithFault(t, kshell, d.fault)
				subject.Flags = flags
				seed := newSeed()
				o := d.run(t, subject, "web", seed)
				if wrong := d.problems(o, false); len(wrong) > 0 {
					t.Errorf("%s (seed %d); stderr %.500q", strings.Join(wrong, ", "), seed, o.stderr)
				}
			})
		}
	}
}

// An upload is complete, or the command does not commit it (defects 3b and 4).
func TestServerDefects_Upload(t *testing.T) {
	t.Parallel()
	kshell, want := kshellBinary(t), lines(100_000)
	const move = "cat >part && mv part file"
	inUpload := func(do sandbox.Action) sandbox.Fault {
		return sandbox.Fault{Do: do, When: sandbox.AfterReceived, N: 300_000}
	}
	for name, d := range map[string]struct {
		fault  sandbox.Fault
		script string
		code   int
	}{
		"3b, a cat without stdout":      {sandbox.Fault{DropStdin: true}, "cat >file", 0},
		"3b, a script without stdout":   {sandbox.Fault{DropStdin: true}, "exec >part; cat; mv part file", 0},
		"4, a reset":                    {inUpload(sandbox.RST), move, 255},
		"4, an end of the link":         {inUpload(sandbox.FIN), move, 255},
		"4, a polite close":             {inUpload(sandbox.CloseFrame), move, 255},
		"4, success, and nothing moved": {inUpload(sandbox.SaySuccess), move, 255},
	} {
		for by, flags := range transports {
			t.Run(name+", by "+by, func(t *testing.T) {
				t.Parallel()
				subject, s := startWithFault(t, kshell, d.fault)
				r := subject.Run(
					t,
					want,
					append(slices.Concat([]string{"exec", "-i"}, flags), "web", "--", "sh", "-c", d.script)...)
				if r.Code != d.code {
					t.Errorf("exit code %d, want %d; stderr %q", r.Code, d.code, r.Err)
				}
				for late := time.Now().Add(cleanupTimeout); len(s.Processes("default", "web")) > 1 && time.Now().Before(late); {
					time.Sleep(50 * time.Millisecond) // until the command has ended
				}
				got, err := os.ReadFile(filepath.Join(s.Dir("default", "web", "web"), "file"))
				switch whole := bytes.Equal(got, want); {
				case d.code == 0 && !whole:
					t.Errorf("the file has %d bytes of %d (%v)", len(got), len(want), err)
				case d.code != 0 && err == nil && !whole:
					t.Errorf("%d bytes of %d were committed", len(got), len(want))
				}
			})
		}
	}
}

// If a success arrives before kshell's script in the container has printed
// anything, the command may be running. kshell does not run it again.
func TestServerDefects_SuccessBeforeStart(t *testing.T) {
	t.Parallel()
	kshell := kshellBinary(t)
	for by, flags := range transports {
		if by == "SPDY" {
			continue // over SPDY, kshell opens the streams after the handshake
		}
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			subject, s := startWithFault(t, kshell,
				sandbox.Fault{Do: sandbox.SaySuccess, When: sandbox.AfterSent, StartAfter: time.Second})
			r := subject.Run(
				t,
				nil,
				append(slices.Concat([]string{"exec"}, flags), "web", "--", "sh", "-c", "echo ran >>file")...)
			const want = "kshell: the server reported success before the command reported its result, " +
				"so the result is unknown; the command may still be running\n" +
				"hint: `kshell exec web -- ps` lists the processes of the container\n"
			if r.Code != 255 || r.Err != want {
				t.Errorf("exit code %d, stderr %q", r.Code, r.Err)
			}
			if ran, err := os.ReadFile(filepath.Join(s.Dir("default", "web", "web"), "file")); len(ran) > 0 {
				t.Errorf("the command was run again: %q (%v)", ran, err)
			}
		})
	}
}

// With --exact=never, kshell knows only the Status that the server sends. It
// never reports a success that the server did not report. If unread input
// blocks the server, kshell looks for the command's processes. The test of this
// is in test/e2e/suite, because it needs a container with its own processes.
func TestServerDefects_Plain(t *testing.T) {
	t.Parallel()
	kshell := kshellBinary(t)
	for _, d := range defects() {
		if d.fault.Do == sandbox.SaySuccess || d.fault.LoseTail > 0 || d.fault.Do == sandbox.Hang ||
			strings.HasPrefix(d.name, "1, ") {
			continue // kshell cannot detect these defects, or waits because a hanging server answers pings
		}
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			subject, _ := startWithFault(t, kshell, d.fault)
			subject.Flags = []string{modePlain}
			o := d.run(t, subject, "web", newSeed())
			exact := len(d.problems(o, false)) == 0
			if o.hung || !exact && (o.code != 255 || !strings.HasPrefix(o.stderr, "kshell: ")) {
				t.Errorf("exit code %d, hung %v, stderr %q, %d bytes", o.code, o.hung, o.stderr, o.got)
			}
			t.Logf("exact %v: %d, %.200q", exact, o.code, o.stderr)
		})
	}
}
