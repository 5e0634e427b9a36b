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

// shellsSearchingPath returns the shells that search PATH first. Debian's
// busybox prefers its built-in tools.
func shellsSearchingPath(t *testing.T) map[string][]string {
	all := shells(t)
	delete(all, "busybox")
	return all
}

// image stands for the image of a container: bin is a directory of programs,
// and state is the directory KSHELL_STATE.
type image struct{ bin, state string }

func newImage(t *testing.T, programs map[string]string) image {
	t.Helper()
	i := image{t.TempDir(), t.TempDir()}
	// A process that another test starts at this moment would inherit the open
	// file. Running the file would then fail with "text file busy".
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	for name, script := range programs {
		if err := os.WriteFile(filepath.Join(i.bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return i
}

// command returns a command that runs args with the programs of the image.
// args[0] must be sh; the command line shell replaces it.
func (i image) command(ctx context.Context, shell, args []string) *exec.Cmd {
	all := slices.Concat(shell, args[1:])
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Env = []string{
		"PATH=" + i.bin + ":/usr/bin:/bin", "KSHELL_STATE=" + i.state, "KSHELL_HOST=/the/host",
		"TERM=xterm", "SECRET=of the image",
	}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Fakes of nsenter and chroot that print their arguments and run the command.
const (
	fakeNsenter = `[ "$1 $2" = "-t 1" ] || exit 9; while [ "$1" != -- ]; do into="$into $1"; shift; done; shift
[ "$*" = "sh -c :" ] || echo "nsenter$into"; exec "$@"`
	failingProgram = "exit 1"
	fakeChroot     = `[ "$2 $3 $4" = "sh -c :" ] || echo "chroot $1"; shift; exec "$@"`
)

func TestEnterScript_Entry(t *testing.T) {
	for name, c := range map[string]struct {
		nsenter, chroot string
		change          func(*Options)
		out, entry      string
	}{
		"nsenter": {fakeNsenter, fakeChroot, nil, "nsenter -t 1 -m -u -i -n\nhere\n", Enter},
		"private namespaces": {
			fakeNsenter, fakeChroot, func(o *Options) { o.Private.Net, o.Private.UTS = true, true },
			"nsenter -t 1 -m -i\nhere\n", Enter,
		},
		"nsenter fails": {failingProgram, fakeChroot, nil, "chroot /the/host\nhere\n", Chroot},
		"both fail":     {failingProgram, failingProgram, nil, "here\n", View},
		"--chroot":      {fakeNsenter, fakeChroot, func(o *Options) { o.Entry = Chroot }, "chroot /the/host\nhere\n", Chroot},
		"--host-view":   {fakeNsenter, fakeChroot, func(o *Options) { o.Entry = View }, "here\n", View},
	} {
		for shell, path := range shellsSearchingPath(t) {
			t.Run(name+" "+shell, func(t *testing.T) {
				i, o := newImage(t, map[string]string{"nsenter": c.nsenter, "chroot": c.chroot}), testOptions()
				if c.change != nil {
					c.change(&o)
				}
				out, err := i.command(t.Context(), path, o.Command([]string{"sh", "-c", "echo here; exit 42"})).Output()
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 42 {
					t.Errorf("%v, want exit code 42", err)
				}
				entry, _ := os.ReadFile(filepath.Join(i.state, "how"))
				if string(out) != c.out || strings.TrimSpace(string(entry)) != c.entry {
					t.Errorf("got %q, entry %q; want %q, %q", out, entry, c.out, c.entry)
				}
			})
		}
	}
}

func TestEnterScript_Environment(t *testing.T) {
	for shell, path := range shellsSearchingPath(t) {
		t.Run(shell, func(t *testing.T) {
			i, o := newImage(t, map[string]string{"nsenter": fakeNsenter}), testOptions()
			out, err := i.command(t.Context(), path, o.Command([]string{"env"})).Output()
			for _, text := range []string{"SECRET", "KSHELL", i.bin} {
				if strings.Contains(string(out), text) {
					t.Errorf("the environment contains %q: %s", text, out)
				}
			}
			if err != nil || !strings.Contains(string(out), "HOME=/root\n") || !strings.Contains(string(out), "TERM=xterm\n") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// The value of TERM is unchanged in the login shell, unless the node has no
// terminfo entry for it and one for xterm-256color or xterm.
func TestLoginScript_Terminfo(t *testing.T) {
	for _, tt := range []struct {
		entries string // relative to the terminfo directories
		term    string // empty for no TERM
		want    string
	}{
		{"", "xterm-ghostty", "xterm-ghostty"},
		{"lib/x/xterm etc/x/xterm-ghostty", "xterm-ghostty", "xterm-ghostty"},
		{"lib/x/xterm home/x/xterm-256color", "xterm-ghostty", "xterm-256color"},
		{"share/x/xterm", "xterm-ghostty", "xterm"},
		{"share/x/xterm share/78/xterm", "xterm-ghostty", "xterm"}, // 78 is the code of x
		{"share/x/xterm", "", "unset"},
	} {
		for shell, path := range shellsSearchingPath(t) {
			root := t.TempDir()
			for _, entry := range strings.Fields(tt.entries) {
				if err := os.MkdirAll(filepath.Join(root, entry), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			i := newImage(t, map[string]string{"bash": `env | grep '^TERM=' || echo TERM=unset`})
			o := testOptions()
			o.Entry = View
			args := o.Command(nil)
			args[len(args)-1] = strings.NewReplacer("/etc/terminfo", root+"/etc", "~/.terminfo", root+"/home",
				"/lib/terminfo", root+"/lib", "/usr/share/terminfo", root+"/share").Replace(args[len(args)-1])
			cmd := i.command(t.Context(), path, args)
			cmd.Env = slices.DeleteFunc(cmd.Env, func(v string) bool { return strings.HasPrefix(v, "TERM=") })
			if tt.term != "" {
				cmd.Env = append(cmd.Env, "TERM="+tt.term)
			}
			out, err := cmd.CombinedOutput()
			if err != nil || string(out) != "TERM="+tt.want+"\n" {
				t.Errorf("%s, %q: %v, %q, want TERM=%s", shell, tt.entries, err, out, tt.want)
			}
		}
	}
}

func TestEnterScript_Arguments(t *testing.T) {
	args := []string{"printf", "[%s]", "a b", "", "*", "$HOME", "it's", `q"q`, "-n", "--", "a\nb"}
	for shell, path := range shellsSearchingPath(t) {
		t.Run(shell, func(t *testing.T) {
			i, o := newImage(t, map[string]string{"nsenter": fakeNsenter}), testOptions()
			out, err := i.command(t.Context(), path, o.Command(args)).Output()
			want := "\n[a b][][*][$HOME][it's][q\"q][-n][--][a\nb]"
			if err != nil || !strings.HasSuffix(string(out), want) {
				t.Errorf("%v: %q", err, out)
			}
		})
	}
}

// testHeartbeatTimeout is the time of three checks, which are one second apart.
// After the machine was suspended, one check may come too early, but not three.
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
		_ = cmd.Wait() // the exit code does not matter
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
	})
	return done
}

func TestHeartbeatScript_Timeout(t *testing.T) {
	for shell, path := range shells(t) {
		for kind, change := range map[string]func(*Options){
			"command": func(*Options) {},
			"shell":   func(o *Options) { o.Shell = true },
		} {
			t.Run(kind+" "+shell, func(t *testing.T) {
				t.Parallel()
				// The fake shell on the node sleeps until the signal HUP ends
				// it.
				i := newImage(t, map[string]string{"nsenter": `[ "$*" = "-t 1 -m -u -i -n -- sh -c :" ] || exec sleep 60`})
				if shell == "busybox" && kind == "shell" {
					t.Skip("busybox prefers its own nsenter, which would enter this machine")
				}
				begin := time.Now()
				ended := startMain(t, i, path, change)
				for time.Since(begin) < testHeartbeatTimeout+2*time.Second { // heartbeats keep the pod alive
					beat := i.command(t.Context(), path, HeartbeatCommand(false, "some"))
					if out, err := beat.CombinedOutput(); err != nil {
						t.Fatalf("%v: %s", err, out)
					}
					select {
					case <-ended:
						t.Fatal("the pod ended despite heartbeats")
					case <-time.After(200 * time.Millisecond):
					}
				}
				select {
				case <-ended:
				case <-time.After(50 * time.Second):
					t.Error("the pod did not end without heartbeats")
				}
			})
		}
	}
}

func TestLeaveCommand_OtherClients(t *testing.T) {
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
			leave := func(others bool) {
				t.Helper()
				if run(LeaveCommand("me")) != others {
					t.Errorf("other clients: %v, want %v", !others, others)
				}
			}
			ended := startMain(t, i, shell, func(o *Options) { o.HeartbeatTimeout = 4 * time.Second })
			run(HeartbeatCommand(false, "me"))
			leave(false)
			run(HeartbeatCommand(false, "other"))
			run(HeartbeatCommand(false, "me"))
			leave(true)
			run(LeaveCommand("other"))
			leave(false)
			run(HeartbeatCommand(false, "killed"))
			leave(true)
			// The client "killed" sends no more heartbeats.
			for begin := time.Now(); run(LeaveCommand("me")); time.Sleep(100 * time.Millisecond) {
				run(HeartbeatCommand(false, ""))
				if time.Since(begin) > 30*time.Second {
					t.Fatal("a killed client still counts as attached")
				}
			}
			select {
			case <-ended:
				t.Error("the pod ended although a client is attached")
			default:
			}
		})
	}
}
