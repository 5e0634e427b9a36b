package exact

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func sum(p []byte) string {
	s := sha256.Sum256(p)
	return hex.EncodeToString(s[:])
}

func TestScript_Input(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for _, size := range []int{0, 1, 511, unit - 1, unit, unit + 1, 1_000_003, 4*maxBlock + 12_345} {
			in := randomBytes(size)
			random := rand.New(rand.NewPCG(uint64(size), 0))
			r := shell.run(t, Options{Stdin: oddReader{bytes.NewReader(in), random, 1 + size/3}}, []string{"sha256sum"})
			r.check(0, sum(in)+"  -\n")
			shell.run(t, Options{Stdin: bytes.NewReader(in)}, sh("cat; exit 3")).check(3, string(in))
		}
	})
}

// Short input is sent as a text, whose special characters are escaped.
func TestScript_ShortInput(t *testing.T) {
	inputs := []string{
		"x", "\n", "\x00", " ", "-n", "- x", "%s%%", `\101\c\\`, "  two  words\t", "end\n", "?\n", "text x",
		"'\"`$(id)*", "\x011", "ä\xff",
	}
	for c := 0; c < 256; c += 64 {
		piece := make([]byte, 64)
		for i := range piece {
			piece[i] = byte(c + i)
		}
		inputs = append(inputs, string(piece))
	}
	eachShell(t, func(t *testing.T, shell shell) {
		peeked := int32(0) // Peek is not called if the command is already running
		for _, in := range inputs {
			shell.run(t, Options{Stdin: strings.NewReader(in)}, sh("cat; exit 3")).check(3, in)
			early := newPeeker(in)
			shell.run(t, Options{Stdin: early}, sh("cat; exit 3")).check(3, in)
			peeked += early.peeks.Load()
			early = newPeeker(in)
			if state, _ := shell.run(t, Options{Stdin: early}, []string{"/nosuch"}).State(); state != NoCommand {
				t.Errorf("state %d, want NoCommand (%d)", state, NoCommand)
			}
			if unread, err := io.ReadAll(early); string(unread) != in || err != nil {
				t.Errorf("%q, %v is left to read, want %q", unread, err, in)
			}
		}
		if peeked == 0 {
			t.Error("no input was sent before the rest of the script")
		}
	})
}

func TestScript_NoInput(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		shell.run(t, Options{}, sh("cat; readlink /proc/self/fd/0; exit 4")).check(4, "/dev/null\n")
	})
}

func TestScript_UnreadInput(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for _, test := range []struct {
			args []string
			code int
			out  string
		}{
			{[]string{"true"}, 0, ""},
			{sh("exit 3"), 3, ""},
			{sh("head -c 5; exit 4"), 4, "\x00\x00\x00\x00\x00"},
			{[]string{"sleep", "1"}, 0, ""},
			{sh("exec <&-; sleep 1; exit 4"), 4, ""},
			{sh("dd bs=100000 count=10 of=/dev/null 2>/dev/null; exit 8"), 8, ""},
		} {
			from := time.Now()
			shell.run(t, Options{Stdin: &endlessReader{}}, test.args).check(test.code, test.out)
			if took := time.Since(from); took > waitLimit {
				t.Errorf("%q took %s", test.args, took)
			}
		}
		line := io.MultiReader(strings.NewReader("line\n"), &endlessReader{})
		shell.run(t, Options{Stdin: line}, []string{"head", "-1"}).check(0, "line\n")
	})
}

// Input that has not ended, but sends nothing more, does not delay the end of
// the run.
func TestScript_IdleInput(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for _, size := range []int{0, 1, 200_000} {
			idle, writer := io.Pipe()
			o := Options{
				Stdin: cancelReader{
					io.MultiReader(bytes.NewReader(make([]byte, size)), idle),
					func() bool { _ = writer.Close(); return true },
				},
			}
			shell.run(t, o, sh("sleep 0.2; echo out; exit 9")).check(9, "out\n")
		}
	})
}

// If the client disconnects during an upload, the file is not moved into place,
// and no process is left.
func TestScript_CutUpload(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for name, script := range map[string]string{
			"and":            "cat >f.part && mv f.part f",
			"semicolon":      "cat >f.part; mv f.part f",
			"a child":        "exec 3<&0; (cat <&3 >f.part && mv f.part f) & wait",
			"TERM is caught": "trap 'exit 1' TERM; cat >f.part && mv f.part f",
		} {
			at := []int64{1000, -1}
			if name == "and" || *runs >= 256 {
				at = append(at, 0, 3, 8, 9, unit+8, 300_000)
			}
			for _, at := range at {
				t.Run(fmt.Sprintf("%s/%d", name, at), func(t *testing.T) {
					t.Parallel()
					within := waitLimit // a command that has just started may miss TERM, and is then ended by KILL
					if at < 0 && name != "TERM is caught" {
						within = killAfter
					}
					testCutUpload(t, shell, script, Options{EndIfInputCut: true}, at, within)
				})
			}
		}
		t.Run("kept", func(t *testing.T) {
			t.Parallel()
			o := Options{EndIfInputCut: true, KeepRunning: true}
			testCutUpload(t, shell, "cat >f.part && mv f.part f", o, 300_000, killAfter)
		})
		t.Run("TERM is ignored", func(t *testing.T) {
			t.Parallel()
			command := "trap '' TERM HUP INT; cat >f.part && mv f.part f; while :; do sleep 1; done"
			testCutUpload(t, shell, command, Options{}, 300_000, waitLimit)
		})
	})
}

// killAfter is a little less than the 5.5 s after which the script sends KILL.
// A process that ends within killAfter was ended by TERM.
const killAfter = 5400 * time.Millisecond

// testCutUpload sends the beginning of what the script reads, and then
// disconnects. The parameter "at" is the number of bytes to send; -1 means all
// bytes of the input, but not its end.
func testCutUpload(t *testing.T, shell shell, script string, o Options, at int64, within time.Duration) {
	t.Helper()
	dir := t.TempDir()
	const size = 400_000
	idle, _ := io.Pipe()
	o.Stdin = cancelReader{
		io.MultiReader(bytes.NewReader(make([]byte, size)), idle),
		func() bool { _ = idle.Close(); return true },
	}
	r := shell.start(t, o, sh(": >begun; "+script), withDir(dir))
	if at >= 0 {
		go r.sendStdin(at)
		select {
		case <-r.stdinSent:
		case <-time.After(waitLimit):
			t.Fatal("the command does not read its input")
		}
	} else {
		go r.sendStdin(1 << 62)
		eventually(t, "all bytes arrive", func() bool {
			info, err := os.Stat(filepath.Join(dir, "f.part"))
			return err == nil && info.Size() == size
		})
	}
	eventually(t, "the command begins", func() bool { return exists(dir, "begun") })
	r.disconnect()
	r.waitUntilGone(within)
	if exists(dir, "f") {
		t.Error("a part of the file was moved into place")
	}
}

func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return err == nil
}

func eventually(t testing.TB, what string, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(waitLimit); !true(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", waitLimit, what)
		}
	}
}

// In these tests, the client disconnects when the command has received all of
// its input, or when there is no input.
func TestScript_KeepRunning(t *testing.T) {
	const script = `cat >f; : >read; sleep "$1"; : >done`
	eachShell(t, func(t *testing.T, shell shell) {
		for name, test := range map[string]struct {
			options Options
			input   bool
			keeps   bool
		}{
			"end":                   {Options{}, true, false},
			"end, whole":            {Options{EndIfInputCut: true}, true, false},
			"end, no input":         {Options{}, false, false},
			"keep":                  {Options{KeepRunning: true}, true, true},
			"keep, whole":           {Options{KeepRunning: true, EndIfInputCut: true}, true, true},
			"keep, no input":        {Options{KeepRunning: true}, false, true},
			"keep, whole, no input": {Options{KeepRunning: true, EndIfInputCut: true}, false, true},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				dir, in := t.TempDir(), []byte(nil)
				if test.input {
					in = randomBytes(100_000)
					test.options.Stdin = bytes.NewReader(in)
				}
				seconds := "60" // long enough that the script ends the command earlier
				if test.keeps {
					seconds = "1"
				}
				r := shell.start(t, test.options, sh(script, seconds), withDir(dir))
				go r.sendStdin(1 << 62)
				eventually(t, "the input is read", func() bool { return exists(dir, "read") })
				r.disconnect()
				r.waitUntilGone(waitLimit)
				if got, _ := os.ReadFile(filepath.Join(dir, "f")); !bytes.Equal(got, in) {
					t.Errorf("%d bytes arrived, want %d", len(got), len(in))
				}
				if exists(dir, "done") != test.keeps {
					t.Errorf("the command continued: %t, want %t", !test.keeps, test.keeps)
				}
			})
		}
	})
}

// With KeepRunning and without EndIfInputCut, a command whose input was cut off
// sees the end of its input after the bytes that were sent.
func TestScript_KeptCommandReadsPartialInput(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		dir := t.TempDir()
		idle, _ := io.Pipe()
		o := Options{
			Stdin: cancelReader{
				io.MultiReader(bytes.NewReader(make([]byte, 1000)), idle),
				func() bool { _ = idle.Close(); return true },
			},
			KeepRunning: true,
		}
		r := shell.start(t, o, sh("cat >f.part && mv f.part f"), withDir(dir))
		go r.sendStdin(1 << 62)
		eventually(t, "the bytes arrive", func() bool {
			info, err := os.Stat(filepath.Join(dir, "f.part"))
			return err == nil && info.Size() == 1000
		})
		r.disconnect()
		eventually(t, "the command continues", func() bool { return exists(dir, "f") })
		r.waitUntilGone(waitLimit)
	})
}

// While the command leaves input unread, the script does not reach the end of
// its stdin, so only TerminateCommand can end the command.
func TestTerminateCommand_CommandDoesNotRead(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		r := shell.start(t, Options{Stdin: &endlessReader{}}, sh("echo begun; exec sleep 60"))
		go r.sendStdin(1 << 62)
		last, same := 0, 0
		eventually(t, "the pipe is full", func() bool {
			n := pipedBytes(t, r.pipes[0])
			if state, _ := r.State(); n != last || n < pipeCapacity/2 || state != Running {
				last, same = n, -1
			}
			same++
			return same == 100
		})
		r.disconnect()
		command := r.TerminateCommand()
		if command == nil {
			state, code := r.State()
			t.Fatalf("no command: state %d, code %d", state, code)
		}
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", command, err, out)
		}
		r.waitUntilGone(waitLimit)
	})
}

// pipedBytes returns the number of bytes that are waiting in a pipe.
func pipedBytes(t *testing.T, pipe *os.File) (n int) {
	t.Helper()
	conn, err := pipe.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	failed := conn.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
	if failed != nil || err != nil {
		t.Fatal(failed, err)
	}
	return n
}

// When the command has ended, the script reads the rest of the input, so that
// no server blocks on it, and runs until the client has received everything.
func TestScript_ReadsRestAndWaitsForClient(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for _, o := range []Options{{}, {Stdin: &endlessReader{}}} {
			r := shell.start(t, o, sh("exit 7"))
			go r.sendStdin(1 << 62)
			eventually(t, "the command ends", func() bool { state, _ := r.State(); return state == Ended })
			if err := r.pipes[0].SetWriteDeadline(time.Now().Add(waitLimit)); err != nil {
				t.Fatal(err)
			}
			if n, err := r.pipes[0].Write(make([]byte, 3*maxBlock)); err != nil {
				t.Errorf("%d bytes of the rest were read: %v", n, err)
			}
			select {
			case <-r.exited:
				t.Error("the script did not wait for the client")
			default:
			}
			r.wait()
			if code := r.cmd.ProcessState.ExitCode(); code != 7 {
				t.Errorf("exit code %d of the script, want 7", code)
			}
		}
	})
}
