package exact

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// children returns the IDs of the living child processes of the given parents.
func children(parents ...int) []int {
	var found []int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // state, parent
		for _, parent := range parents {
			if len(fields) > 1 && fields[0] != "Z" && fields[1] == strconv.Itoa(parent) {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(name)))
				found = append(found, pid)
			}
		}
	}
	return found
}

// scriptProcesses returns the IDs of the script's processes, by the names of
// the functions or tools that they run. The command must be sh -c 'cat ...'.
func (r *shellRun) scriptProcesses() map[string]int {
	r.t.Helper()
	parts := map[string]int{}
	eventually(r.t, "all parts of the script run", func() bool {
		for _, child := range children(r.sid()) {
			for _, grandchild := range children(child) {
				cmdline, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(grandchild), "cmdline"))
				if bytes.Contains(cmdline, []byte("kshell")) {
					parts["feed"], parts["deliver"] = child, grandchild
				} else {
					parts["serve"] = child
				}
			}
		}
		for _, block := range children(parts["deliver"]) {
			parts["dd"] = block
		}
		return len(parts) == 4
	})
	return parts
}

// One of the script's processes is killed while a block of input is being sent.
func TestScript_ProcessKilled(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for _, part := range []string{"dd", "deliver", "feed", "serve"} {
			for name, script := range map[string]string{
				"and":            "cat >f.part && mv f.part f",
				"TERM is caught": "trap 'exit 1' TERM; cat >f.part; mv f.part f",
			} {
				t.Run(part+"/"+name, func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir()
					idle, writer := io.Pipe()
					o := Options{
						Stdin: cancelReader{
							io.MultiReader(bytes.NewReader(make([]byte, maxBlock)), idle),
							func() bool { _ = writer.Close(); return true },
						},
					}
					r := shell.start(t, o, sh(script), withDir(dir))
					go r.sendStdin(maxBlock / 2) // the rest of the block is not sent
					eventually(t, "bytes arrive", func() bool {
						info, err := os.Stat(filepath.Join(dir, "f.part"))
						return err == nil && info.Size() > 0
					})
					pid := r.scriptProcesses()[part]
					if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
					eventually(t, part+" is gone", func() bool { return syscall.Kill(pid, 0) != nil })
					if part == "dd" || part == "deliver" {
						if state := r.waitForEnd(); state != Failed {
							t.Errorf("state %d, want Failed (%d)", state, Failed)
						}
					} else { // the loss is detected when the client disconnects
						r.close()
						r.waitUntilGone(waitLimit)
					}
					if state, code := r.State(); state == Ended {
						t.Errorf("state Ended with code %d", code)
					}
					if exists(dir, "f") {
						t.Error("a part of the file was moved into place")
					}
				})
			}
		}
	})
}

// A command kills its parent, which is the process of the script that reports
// the command's end. The rest of the script reports the loss and ends the
// command.
func TestScript_ParentKilled(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for name, script := range map[string]string{
			"the command ends":      "kill -9 $PPID",
			"the command continues": "kill -9 $PPID; exec sleep 600",
		} {
			for _, input := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/input %t", name, input), func(t *testing.T) {
					t.Parallel()
					o := Options{}
					if input {
						idle, writer := io.Pipe()
						o.Stdin = cancelReader{idle, func() bool { _ = writer.Close(); return true }}
					}
					r := shell.start(t, o, sh(script))
					go r.sendStdin(1 << 62)
					if state := r.waitForEnd(); state != Failed {
						t.Errorf("state %d, want Failed (%d)", state, Failed)
					}
				})
			}
		}
	})
}

// The processes that report the end of a kept command are killed, and the client
// disconnects. The script ends when the command has ended.
func TestScript_ReportersKilled(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for _, input := range []bool{false, true} {
			t.Run(fmt.Sprintf("input %t", input), func(t *testing.T) {
				t.Parallel()
				o := Options{KeepRunning: true}
				if input {
					o.Stdin = strings.NewReader("line\n")
				}
				dir := t.TempDir()
				r := shell.start(t, o, sh("cat; : >read; until [ -e go ]; do sleep 0.05; done"), withDir(dir))
				go r.sendStdin(1 << 62)
				eventually(t, "the command has read its input", func() bool { return exists(dir, "read") })
				kill := []int{r.sid()}
				if input {
					eventually(t, "the script has delivered the input", func() bool {
						kill = []int{r.sid()}
						for _, child := range children(r.sid()) {
							if len(children(child)) > 0 {
								kill = append(kill, child)
							}
						}
						return len(kill) == 2 // k_serve is the parent of the command, and k_feed has no child left
					})
				}
				for _, pid := range kill {
					if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
						t.Fatal(err)
					}
				}
				r.disconnect()
				write(t, dir, "go", nil)
				r.waitUntilGone(waitLimit)
			})
		}
	})
}

// foreignCommand is an argument of the test binary, which then becomes root,
// reads a byte of its input, prints "root", reads its input to the end, and
// creates the file f.
const foreignCommand = "foreign-command"

// runForeign is the command that foreignCommand selects.
func runForeign() int {
	if err := syscall.Setresuid(0, 0, 0); err != nil {
		return 1
	}
	_, _ = os.Stdin.Read(make([]byte, 1))
	fmt.Println("root")
	_, _ = io.Copy(io.Discard, os.Stdin)
	_ = os.WriteFile("f", nil, 0o600)
	return 0
}

// The script has no permission to end a command that runs as another user. Such a
// command does not see an end of its input when the client disconnects.
func TestScript_CommandOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("the test must run as root, to start the script as another user")
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	eachShell(t, func(t *testing.T, shell shell) {
		dir := t.TempDir()
		command := filepath.Join(dir, "command")
		write(t, dir, "command", program)
		for name, mode := range map[string]os.FileMode{
			command: 0o755 | os.ModeSetuid, dir: 0o777, filepath.Dir(dir): 0o755,
			filepath.Dir(shell.path): 0o755, filepath.Dir(filepath.Dir(shell.path)): 0o755,
		} {
			if err := os.Chmod(name, mode); err != nil {
				t.Fatal(err)
			}
		}
		seen := make(chan struct{})
		idle, writer := io.Pipe()
		o := Options{
			Stdin: cancelReader{
				io.MultiReader(strings.NewReader("x"), idle),
				func() bool { _ = writer.Close(); return true },
			},
			Stdout:        &triggerWriter{text: "root", seen: seen},
			EndIfInputCut: true,
		}
		r := shell.start(t, o, []string{command, foreignCommand}, withDir(dir), func(r *shellRun) {
			r.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
		})
		go r.sendStdin(1 << 62)
		select {
		case <-seen:
		case err := <-r.streamEnds:
			t.Skipf("this file system does not support setuid programs (%v)", err)
		case <-time.After(waitLimit):
			t.Fatal("the command does not start")
		}
		r.disconnect()
		eventually(t, "the script waits for the end of the command", func() bool {
			for _, process := range r.members() {
				line, _ := os.ReadFile("/proc/" + strings.Fields(process)[0] + "/cmdline")
				if string(line) == "sleep\x005\x00" {
					return true
				}
			}
			return false
		})
		if exists(dir, "f") {
			t.Error("the command has seen the end of its input")
		}
		for _, process := range r.members() {
			if strings.Contains(process, "(command)") {
				kill(process)
			}
		}
		r.waitUntilGone(waitLimit)
	})
}
