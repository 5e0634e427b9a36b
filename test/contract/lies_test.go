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

// lie is one of the server's ways not to tell the truth, by its number in the notes on the protocol, and a command that it is told of.
type lie struct {
	name  string
	fault sandbox.Fault
	End
}

// lies are all that concern exec.
func lies() []lie {
	drips := func(rnd *rand.Rand) io.Reader { return &drip{rnd: rnd, size: 100, every: 2 * time.Millisecond} }
	endless := func(*rand.Rand) io.Reader { return &yes{} }
	some := lines(someLines)
	late := sandbox.Fault{StartAfter: 300 * time.Millisecond}
	inFlight := func(do sandbox.Action, tail time.Duration) sandbox.Fault {
		return sandbox.Fault{InFlight: true, Do: do, When: sandbox.AtEnd, LoseTail: tail}
	}
	exits := End{Command: []string{"sh", "-c", "head -c 300 >/dev/null; exit 7"}, Code: 7, Input: drips}
	prints := End{Command: []string{"sh", "-c", "head -c 300 >/dev/null; seq 1 20000; exit 7"}, Want: lines(20_000), Code: 7, Input: drips}
	slow, pauses := counted("", someLines, some), counted("", manyLines, lines(manyLines))
	pauses.Pause = 3 * time.Second
	return []lie{
		{"1, before the command has begun", late, End{Command: []string{"sh", "-c", "exit 3"}, Code: 3, Input: endless}},
		{"1, true", late, End{Command: []string{"true"}, Input: endless}},
		{"1, the first line", late, End{Command: []string{"head", "-1"}, Want: []byte("y\n"), Input: endless}},
		{"1, while the command runs", sandbox.Fault{}, End{Command: []string{"sh", "-c", "sleep 2; exit 3"}, Code: 3, Input: endless, Remote: 2 * time.Second}},
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

// spoken are the ways to the server that kshell knows.
var spoken = map[string][]string{"v5": nil, "v4": {"--subprotocol", "v4.channel.k8s.io"}, "SPDY": {"--context", "create-only"}}

// honest is a sandbox that lies only when it is told to, with the faults of one lie.
func honest(t *testing.T, kshell string, fault sandbox.Fault) (Subject, *sandbox.Server) {
	t.Helper()
	s, _ := startWeb(t)
	s.Inject(fault)
	return Subject{Program: Program{Path: kshell, Kubeconfig: s.Kubeconfig(), Home: t.TempDir()}}, s
}

// Whatever the server says: every byte, and the command's own code.
func TestWhateverTheServerSaysTheCommandIsHeard(t *testing.T) {
	t.Parallel()
	kshell := build(t)
	for _, l := range lies() {
		for by, flags := range spoken {
			if by == "SPDY" && (l.fault.LateReset || l.fault.StatusDeadline > 0 || l.fault.Rate > 0) {
				continue // which are a WebSocket's
			}
			t.Run(l.name+", by "+by, func(t *testing.T) {
				t.Parallel()
				subject, _ := honest(t, kshell, l.fault)
				subject.Flags = flags
				seed := newSeed()
				o := l.run(t, subject, "web", seed)
				if wrong := l.faults(o, false); len(wrong) > 0 {
					t.Errorf("%s (seed %d); stderr %.500q", strings.Join(wrong, ", "), seed, o.stderr)
				}
			})
		}
	}
}

// Lies 3b and 4: what is uploaded is there as a whole or not at all.
func TestAnUploadIsWholeOrNotThere(t *testing.T) {
	t.Parallel()
	kshell, want := build(t), lines(100_000)
	for name, l := range map[string]struct {
		fault  sandbox.Fault
		script string
		code   int
	}{
		"3b, a cat without stdout":      {sandbox.Fault{DropStdin: true}, "cat >file", 0},
		"3b, a script without stdout":   {sandbox.Fault{DropStdin: true}, "exec >part; cat; mv part file", 0},
		"4, a reset":                    {sandbox.Fault{Do: sandbox.RST, When: sandbox.AfterReceived, N: 300_000}, "cat >part && mv part file", 255},
		"4, an end of the link":         {sandbox.Fault{Do: sandbox.FIN, When: sandbox.AfterReceived, N: 300_000}, "cat >part && mv part file", 255},
		"4, a polite close":             {sandbox.Fault{Do: sandbox.CloseFrame, When: sandbox.AfterReceived, N: 300_000}, "cat >part && mv part file", 255},
		"4, success, and nothing moved": {sandbox.Fault{Do: sandbox.SaySuccess, When: sandbox.AfterReceived, N: 300_000}, "cat >part && mv part file", 255},
	} {
		for by, flags := range spoken {
			t.Run(name+", by "+by, func(t *testing.T) {
				t.Parallel()
				subject, s := honest(t, kshell, l.fault)
				r := subject.Run(t, want, append(slices.Concat([]string{"exec", "-i"}, flags), "web", "--", "sh", "-c", l.script)...)
				if r.Code != l.code {
					t.Errorf("exit code %d, want %d; stderr %q", r.Code, l.code, r.Err)
				}
				for late := time.Now().Add(grace); len(s.Processes("default", "web")) > 1 && time.Now().Before(late); {
					time.Sleep(50 * time.Millisecond) // the command is being ended
				}
				got, err := os.ReadFile(filepath.Join(s.Dir("default", "web", "web"), "file"))
				switch whole := bytes.Equal(got, want); {
				case l.code == 0 && !whole:
					t.Errorf("%d bytes of %d are there (%v)", len(got), len(want), err)
				case l.code != 0 && err == nil && !whole:
					t.Errorf("%d bytes of %d were taken for all", len(got), len(want))
				}
			})
		}
	}
}

// A success that comes before the script has said a word says nothing of the command, which may run: it is not run a second time.
func TestASuccessWithoutAWordRunsNothingTwice(t *testing.T) {
	t.Parallel()
	kshell := build(t)
	for by, flags := range spoken {
		if by == "SPDY" {
			continue // its streams are opened behind the 101
		}
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			subject, s := honest(t, kshell, sandbox.Fault{Do: sandbox.SaySuccess, When: sandbox.AfterSent, StartAfter: time.Second})
			r := subject.Run(t, nil, append(slices.Concat([]string{"exec"}, flags), "web", "--", "sh", "-c", "echo ran >>file")...)
			const want = "kshell: connection lost: the server claims that the command succeeded, but the command has not said so; it may still be running\n"
			if r.Code != 255 || r.Err != want {
				t.Errorf("exit code %d, stderr %q", r.Code, r.Err)
			}
			if ran, err := os.ReadFile(filepath.Join(s.Dir("default", "web", "web"), "file")); len(ran) > 0 {
				t.Errorf("the command was run as it is: %q (%v)", ran, err)
			}
		})
	}
}

// The plain way has only the server's word, and calls nothing a success that nobody has called so. (Of a server that is stuck with unread input the
// pod is asked, which needs a container with processes of its own: see the suite.)
func TestWithoutTheServersWordThePlainWayEndsIn255(t *testing.T) {
	t.Parallel()
	kshell := build(t)
	for _, l := range lies() {
		if l.fault.Do == sandbox.SaySuccess || l.fault.LoseTail > 0 || l.fault.Do == sandbox.Hang || strings.HasPrefix(l.name, "1, ") {
			continue // such a word cannot be told from the truth; and silence is waited for while the server answers pings
		}
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			subject, _ := honest(t, kshell, l.fault)
			subject.Flags = []string{plainly}
			o := l.run(t, subject, "web", newSeed())
			exact := len(l.faults(o, false)) == 0
			if o.hung || !exact && (o.code != 255 || !strings.HasPrefix(o.stderr, "kshell: ")) {
				t.Errorf("exit code %d, hung %v, stderr %q, %d bytes", o.code, o.hung, o.stderr, o.got)
			}
			t.Logf("exact %v: %d, %.200q", exact, o.code, o.stderr)
		})
	}
}
