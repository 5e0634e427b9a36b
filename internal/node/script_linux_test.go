package node

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shells returns the command lines of the shells to test with: the first of
// dash, bash and busybox that is installed, or all of them if
// KSHELL_TEST_SHELLS is all.
func shells(t *testing.T) map[string][]string {
	t.Helper()
	all := os.Getenv("KSHELL_TEST_SHELLS") == "all"
	found := map[string][]string{}
	for _, args := range [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "sh"}} {
		path, err := exec.LookPath(args[0])
		switch {
		case err == nil:
			found[args[0]] = append([]string{path}, args[1:]...)
		case all:
			t.Fatalf("KSHELL_TEST_SHELLS=all, and this machine has no %s: apt-get install %s", args[0], args[0])
		}
		if len(found) > 0 && !all {
			break
		}
	}
	if len(found) == 0 {
		t.Skip("no shell")
	}
	return found
}

// looking are those that look for programs: Debian's busybox takes its own ones first.
func shellsSearchingPath(t *testing.T) map[string][]string {
	all := shells(t)
	delete(all, "busybox")
	return all
}

// image is a folder of programs that stand for those of an image, and the state's folder.
type image struct{ bin, state string }

func newImage(t *testing.T, programs map[string]string) image {
	t.Helper()
	i := image{t.TempDir(), t.TempDir()}
	syscall.ForkLock.RLock() // a process that is just being started would hold a program open for writing: "text file busy"
	defer syscall.ForkLock.RUnlock()
	for name, script := range programs {
		if err := os.WriteFile(filepath.Join(i.bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

// command is args, whose first is "sh", run by one of the shells.
func (i image) command(ctx context.Context, shell, args []string) *exec.Cmd {
	all := slices.Concat(shell, args[1:])
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Env = []string{"PATH=" + i.bin + ":/usr/bin:/bin", "KSHELL_STATE=" + i.state, "KSHELL_HOST=/the/host", "TERM=xterm", "SECRET=of the image"}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// What stands for nsenter and chroot: it says how it was called.
const (
	fakeNsenter = `[ "$1 $2" = "-t 1" ] || exit 9; while [ "$1" != -- ]; do into="$into $1"; shift; done; shift
[ "$*" = "sh -c :" ] || echo "nsenter$into"; exec "$@"`
	failingProgram = "exit 1"
	fakeChroot     = `[ "$2 $3 $4" = "sh -c :" ] || echo "chroot $1"; shift; exec "$@"`
)

func TestTheNodeIsEnteredWhereItHasAShell(t *testing.T) {
	for name, c := range map[string]struct {
		programs map[string]string
		change   func(*Options)
		out, how string
	}{
		"entered":            {map[string]string{"nsenter": fakeNsenter, "chroot": fakeChroot}, nil, "nsenter -t 1 -m -u -i -n\nhere\n", Enter},
		"in part":            {map[string]string{"nsenter": fakeNsenter}, func(o *Options) { o.Private.Net, o.Private.UTS = true, true }, "nsenter -t 1 -m -i\nhere\n", Enter},
		"nsenter is no good": {map[string]string{"nsenter": failingProgram, "chroot": fakeChroot}, nil, "chroot /the/host\nhere\n", Chroot},
		"no shell there":     {map[string]string{"nsenter": failingProgram, "chroot": failingProgram}, nil, "here\n", View},
		"chroot was wanted":  {map[string]string{"nsenter": fakeNsenter, "chroot": fakeChroot}, func(o *Options) { o.Entry = Chroot }, "chroot /the/host\nhere\n", Chroot},
		"the image's files":  {map[string]string{"nsenter": fakeNsenter, "chroot": fakeChroot}, func(o *Options) { o.Entry = View }, "here\n", View},
	} {
		for shell, path := range shellsSearchingPath(t) {
			t.Run(name+" "+shell, func(t *testing.T) {
				i, o := newImage(t, c.programs), testOptions()
				if c.change != nil {
					c.change(&o)
				}
				out, err := i.command(t.Context(), path, o.Command([]string{"sh", "-c", "echo here; exit 42"})).Output()
				var exit *exec.ExitError
				if e, ok := err.(*exec.ExitError); !ok || e.ExitCode() != 42 { //nolint:errorlint // exactly what Output gives
					t.Errorf("%v, want exit code 42 (%v)", err, exit)
				}
				how, _ := os.ReadFile(filepath.Join(i.state, "how"))
				if string(out) != c.out || strings.TrimSpace(string(how)) != c.how {
					t.Errorf("got %q, how %q", out, how)
				}
			})
		}
	}
}

func TestTheNodeGetsNothingOfTheImagesEnvironment(t *testing.T) {
	for shell, path := range shellsSearchingPath(t) {
		t.Run(shell, func(t *testing.T) {
			i, o := newImage(t, map[string]string{"nsenter": fakeNsenter}), testOptions()
			out, err := i.command(t.Context(), path, o.Command([]string{"env"})).Output()
			if err != nil || strings.Contains(string(out), "SECRET") || strings.Contains(string(out), "KSHELL") || strings.Contains(string(out), i.bin) ||
				!strings.Contains(string(out), "HOME=/root\n") || !strings.Contains(string(out), "TERM=xterm\n") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func TestArgumentsReachTheNodeAsTheyAre(t *testing.T) {
	args := []string{"printf", "[%s]", "a b", "", "*", "$HOME", "it's", `q"q`, "-n", "--", "a\nb"}
	for shell, path := range shellsSearchingPath(t) {
		t.Run(shell, func(t *testing.T) {
			i, o := newImage(t, map[string]string{"nsenter": fakeNsenter}), testOptions()
			out, err := i.command(t.Context(), path, o.Command(args)).Output()
			if want := "[a b][][*][$HOME][it's][q\"q][-n][--][a\nb]"; err != nil || !strings.HasSuffix(string(out), "\n"+want) {
				t.Errorf("%v: %q", err, out)
			}
		})
	}
}

// stale is how long a pod lives without a sign of life, in looks of a second each: a machine that stands still takes one look too many, not three.
const testHeartbeatTimeout = 3 * time.Second

// startMain starts the pod's main process.
func startMain(t *testing.T, i image, shell []string, change func(*Options)) (ended <-chan struct{}) {
	t.Helper()
	o := testOptions()
	o.HeartbeatTimeout = testHeartbeatTimeout
	change(&o)
	cmd := i.command(t.Context(), shell, o.mainCommand())
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ends is not what is asked
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	return done
}

func TestThePodEndsWhenNobodyGivesASignOfLife(t *testing.T) {
	for shell, path := range shells(t) {
		for kind, change := range map[string]func(*Options){
			"command": func(*Options) {},
			"shell":   func(o *Options) { o.Shell = true },
		} {
			t.Run(kind+" "+shell, func(t *testing.T) {
				t.Parallel()
				// What stands for a shell on the node just waits, and is ended by HUP.
				i := newImage(t, map[string]string{"nsenter": `[ "$*" = "-t 1 -m -u -i -n -- sh -c :" ] || exec sleep 60`})
				if shell == "busybox" && kind == "shell" {
					t.Skip("it would enter this machine")
				}
				begin := time.Now()
				ended := startMain(t, i, path, change)
				for time.Since(begin) < testHeartbeatTimeout+2*time.Second { // it lives for as long as there are signs
					beat := i.command(t.Context(), path, HeartbeatCommand(false, "some"))
					if out, err := beat.CombinedOutput(); err != nil {
						t.Fatalf("%v: %s", err, out)
					}
					select {
					case <-ended:
						t.Fatal("it has ended")
					case <-time.After(200 * time.Millisecond):
					}
				}
				select {
				case <-ended:
				case <-time.After(50 * time.Second):
					t.Error("it lives on")
				}
			})
		}
	}
}

// Whoever leaves knows whether others are there: those who give signs of life, each by itself.
func TestWhoLeavesKnowsWhetherOthersAreThere(t *testing.T) {
	for name, shell := range shells(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newImage(t, nil)
			run := func(args []string) bool {
				t.Helper()
				cmd := i.command(t.Context(), shell, args)
				out, err := cmd.CombinedOutput()
				var exit *exec.ExitError
				if err != nil && !errors.As(err, &exit) || len(out) > 0 {
					t.Fatalf("%v: %s", err, out)
				}
				return err == nil
			}
			alone := func(want bool) {
				t.Helper()
				if run(LeaveCommand("me")) == want {
					t.Errorf("nobody else is there: %v", !want)
				}
			}
			ended := startMain(t, i, shell, func(o *Options) { o.HeartbeatTimeout = 4 * time.Second })
			run(HeartbeatCommand(false, "me"))
			alone(true)
			run(HeartbeatCommand(false, "other"))
			run(HeartbeatCommand(false, "me"))
			alone(false)
			run(LeaveCommand("other"))
			alone(true)
			run(HeartbeatCommand(false, "killed"))
			alone(false)
			for begin := time.Now(); run(LeaveCommand("me")); time.Sleep(100 * time.Millisecond) { // the other one gives no sign
				run(HeartbeatCommand(false, ""))
				if time.Since(begin) > 30*time.Second {
					t.Fatal("a kshell that was killed still counts")
				}
			}
			select {
			case <-ended:
				t.Error("the pod has ended, although a kshell is attached")
			default:
			}
		})
	}
}
