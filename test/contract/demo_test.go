//go:build unix

package contract

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
	"github.com/creack/pty"

	"kshell/internal/agentbin"
)

// demoOnce builds the program of make demo and make tour.
var demoOnce = sync.OnceValues(func() (path string, err error) {
	if _, err := buildOnce(); err != nil {
		return "", err
	}
	path = filepath.Join(binaryDir, "demo")
	cmd := exec.Command("go", "build", "-o", path, "kshell/internal/sandbox/demo") //nolint:noctx // outlives the test
	if out, err := cmd.CombinedOutput(); err != nil {
		return path, fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// demoRun is a run of the demo or the tour in a terminal.
type demoRun struct {
	*Terminal
	tmp  string // TMPDIR of the program
	line string // the export line
}

// demoCommand returns a command that runs the demo with the flags. env is added to
// its environment, which contains no configuration of the user. tmp is its TMPDIR.
func demoCommand(ctx context.Context, t *testing.T, env []string, flags ...string) (cmd *exec.Cmd, tmp string) {
	t.Helper()
	demo, err := demoOnce()
	if err != nil {
		t.Fatal(err)
	}
	tmp = t.TempDir()
	cmd = exec.CommandContext(ctx, demo, append([]string{"--kshell", kshellBinary(t)}, flags...)...)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + tmp, "TERM=xterm-256color", "LANG=C.UTF-8",
		"KSHELL_ESCAPE_CHAR=none", "KUBECONFIG=/no/such/file", // settings of the user, which must have no effect
	}, env...)
	return cmd, tmp
}

func openDemo(t *testing.T, size pty.Winsize, env []string, flags ...string) *demoRun {
	t.Helper()
	cmd, tmp := demoCommand(context.WithoutCancel(t.Context()), t, env, flags...)
	d := &demoRun{Terminal: openTerminal(t, cmd, size), tmp: tmp}
	t.Cleanup(func() { // after a failure; if it was killed, its processes would hold the terminal
		_ = d.cmd.Process.Signal(syscall.SIGTERM)
		_, _ = d.ExitWithin(terminalTimeout)
	})
	return d
}

// screen100 is the usual size of the terminal in these tests.
var screen100 = pty.Winsize{Rows: 40, Cols: 100}

const (
	podPrompt   = `web-[a-z0-9]+-[a-z0-9]+\$ `
	localPrompt = `kshell-demo\$ `
)

// startDemo starts the demo, and waits for the prompt in the pod.
func startDemo(t *testing.T, env ...string) *demoRun {
	t.Helper()
	d := openDemo(t, screen100, env)
	d.line = d.WaitFor(`export KUBECONFIG=[^\r]*:"\$PATH"`)
	d.WaitFor(podPrompt)
	return d
}

// leavePod leaves the shell in the pod with the exit code 3.
func (d *demoRun) leavePod() {
	d.t.Helper()
	d.Type("exit 3\r")
	d.WaitFor(`\$\?\s+prints\s+3\.`)
	d.WaitFor(localPrompt)
}

// enter types a line in the local shell, waits for a match of each expression, and
// for the next prompt.
func (d *demoRun) enter(line string, expressions ...string) {
	d.t.Helper()
	d.Type(line + "\r")
	for _, e := range expressions {
		d.WaitFor(e)
	}
	d.WaitFor(localPrompt)
}

// checkEnd checks the exit code, and that no file and no process is left.
func (d *demoRun) checkEnd(code int) {
	d.t.Helper()
	d.CheckExit(code)
	checkNothingLeft(d.t, d.tmp)
}

// checkNothingLeft checks that dir is empty, and that no process has it in its
// command line or environment.
func checkNothingLeft(t testing.TB, dir string) {
	t.Helper()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("files are left: %v %v", left, err)
	}
	if runtime.GOOS != "linux" {
		return
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		cmdline, _ := os.ReadFile(filepath.Join(p, "cmdline")) // the process may have ended
		environ, _ := os.ReadFile(filepath.Join(p, "environ"))
		if strings.Contains(string(cmdline)+string(environ), dir) {
			t.Errorf("process %s still runs: %q", filepath.Base(p), cmdline)
		}
	}
}

func needAgent(t *testing.T) {
	t.Helper()
	switch {
	case runtime.GOOS != "linux":
		t.Skip("the session agent runs only on Linux")
	case agentbin.BuildID() == "":
		t.Skip(`there are no agents: run "make agent"`)
	}
}

// TestDemo_Commands checks the commands that the demo lists, in its own shell.
func TestDemo_Commands(t *testing.T) {
	t.Parallel()
	needAgent(t)
	d := startDemo(t)
	d.TypeEscape("i", `kshell: node `)
	node := strings.TrimSpace(d.WaitFor(`[a-z0-9-]+\r`))
	d.Type("\r")
	d.WaitFor(podPrompt)
	d.leavePod()

	d.enter("kshell exec web -- date +%Y", `[\r\n]20[0-9]{2}\r`)
	d.enter("kshell exec web -- sh -c 'exit 7'; echo code=$?", `[\r\n]code=7\r`)
	one := `web-[a-z0-9-]+:[^\n]* (\x1b\[[0-9;]*m)?web-[a-z0-9-]+\r`
	d.enter("kshell exec deploy/web --all -- printenv HOSTNAME", one, one)

	d.Type("kshell node-shell " + node + "\r")
	d.WaitFor(`root@` + node + `:[^#]*# `)
	d.Type("hostname; exit 4\r")
	d.WaitFor(`[\r\n]` + node + `\r`)
	d.WaitFor(localPrompt)
	d.enter("echo code=$?", `[\r\n]code=4\r`)

	d.Type("kshell exec --resume web\r")
	d.WaitFor(`web\$ `)
	d.Type("color=blue\r")
	d.WaitFor(`web\$ `)
	d.TypeEscape("R", `connected again after [^\r]*: the same shell`)
	d.Type("\recho color=$color\r")
	d.WaitFor(`[\r\n]color=blue\r`)
	d.enter("exit", `exit`)

	d.Type("kshell watch pods\r")
	d.WaitFor(`ADDED +web +1/1 +Running`)
	d.Type("\x03")
	d.WaitFor(localPrompt)

	d.Type("kshell exec\r")
	d.WaitFor(`pods in namespace default`)
	d.Type("\x1b")
	d.WaitFor(localPrompt)
	d.Type("exit\r")
	d.checkEnd(0)
}

// TestDemo_OtherTerminal checks the commands that the demo lists in another
// process, which has evaluated the export line.
func TestDemo_OtherTerminal(t *testing.T) {
	t.Parallel()
	needAgent(t)
	d := startDemo(t)
	run := func(line string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, "sh", "-c", d.line+"\n"+line)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("%s: %v", line, err)
		}
		return string(out)
	}
	for line, want := range map[string]string{
		"kshell exec web -- printenv HOSTNAME":                                    `^web\n$`,
		"kshell exec web -- sh -c 'exit 7' || echo $?":                            `^7\n$`,
		"echo input | kshell exec -i web -- cat":                                  `^input\n$`,
		"kshell exec deploy/web --all -- echo x":                                  `^(web-[a-z0-9-]+: x\n){2}$`,
		"kshell node-shell node1 -- hostname":                                     `^node1\n$`,
		"kshell node-shell node2 -- hostname":                                     `^node2\n$`,
		`kshell doctor web | grep -E '^  (warning|failed|skipped)' | cut -c 1-17`: `^  skipped  idle  \n$`,
		"kshell exec --resume=always web -- sh -c 'echo x; exit 5' || echo $?":    `^x\n5\n$`,
	} {
		if out := run(line); !regexp.MustCompile(want).MatchString(out) {
			t.Errorf("%s printed %q, want a match of %q", line, out, want)
		}
	}
	id := strings.TrimSpace(run("kshell exec --detach web -- sleep 1000"))
	// The sessions of other sandboxes on the machine, in /tmp, may be in the list, too.
	if out := run("kshell sessions -o name"); strings.Count(out, id+"\n") != 1 {
		t.Errorf("sessions: %q, want %s once", out, id)
	}
	watchNodes(t, d.line)
	d.leavePod()
	d.Type("\x04")
	d.checkEnd(0)
}

// watchNodes runs kshell watch after the export line, until node1 is shown.
func watchNodes(t *testing.T, export string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", export+"\nexec kshell watch nodes")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	shown := false
	for lines := bufio.NewScanner(out); !shown && lines.Scan(); {
		shown = regexp.MustCompile(`ADDED +node1 `).MatchString(lines.Text())
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // ends by the signal
	if code := ExitCode(cmd.ProcessState); code != 143 || !shown {
		t.Errorf("watch: exit code %d, node1 shown: %t", code, shown)
	}
}

// TestDemo_Ends checks each way to end the demo, with a session and a node shell
// that still run.
func TestDemo_Ends(t *testing.T) {
	t.Parallel()
	needAgent(t)
	for name, test := range map[string]struct {
		end  func(*demoRun)
		code int
	}{
		"exit":   {func(d *demoRun) { d.leavePod(); d.Type("exit 9\r") }, 0},
		"Ctrl-D": {func(d *demoRun) { d.leavePod(); d.Type("\x04") }, 0},
		"TERM":   {func(d *demoRun) { d.Signal(syscall.SIGTERM) }, 143},
		"HUP":    {func(d *demoRun) { d.leavePod(); d.Signal(syscall.SIGHUP) }, 129},
		"INT":    {func(d *demoRun) { d.Signal(syscall.SIGINT) }, 130},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startDemo(t)
			cmd := exec.CommandContext(t.Context(), "sh", "-c", d.line+`
kshell exec --detach web -- sleep 1000 && kshell node-shell --detach node1`)
			cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
			test.end(d)
			d.checkEnd(test.code)
		})
	}
}

// TestDemo_Environments runs the demo where a program or a variable is missing.
func TestDemo_Environments(t *testing.T) {
	t.Parallel()
	onlySh := t.TempDir()
	for _, name := range []string{"sh", "cat", "rm", "mkdir", "chmod", "ps", "date", "sleep"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(onlySh, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, env := range map[string]string{
		"no bash": "PATH=" + onlySh, "no HOME": "HOME=", "dumb": "TERM=dumb", "no TERM": "TERM=", "locale": "LC_ALL=C",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openDemo(t, screen100, []string{env})
			d.WaitFor(`[$#] $`)
			d.leavePod()
			d.enter("kshell exec web -- date +%Y", `[\r\n]20[0-9]{2}\r`)
			d.Type("exit\r")
			d.checkEnd(0)
			if i := strings.IndexFunc(d.Text(), func(r rune) bool { return r > '~' }); name == "locale" && i >= 0 {
				t.Errorf("not ASCII: %.20q", d.Text()[i:])
			}
		})
	}
}

func TestDemo_Narrow(t *testing.T) {
	t.Parallel()
	d := openDemo(t, pty.Winsize{Rows: 40, Cols: 20}, nil)
	before, _, _ := strings.Cut(d.WaitFor(`(?s)^.*export KUBECONFIG=`), "export")
	for line := range strings.SplitSeq(strings.TrimSpace(before), "\r\n") {
		if len(line) > 20 {
			t.Errorf("the line %q is longer than 20 columns", line)
		}
	}
	d.WaitFor(podPrompt)
	d.leavePod()
	d.Type("exit\r")
	d.checkEnd(0)
}

// TestDemo_Errors checks what is printed if the demo cannot start.
func TestDemo_Errors(t *testing.T) {
	t.Parallel()
	notADirectory := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(notADirectory, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("no terminal", func(t *testing.T) {
		t.Parallel()
		for _, flag := range []string{"--tour=false", "--tour"} {
			cmd, tmp := demoCommand(t.Context(), t, nil, flag)
			out, err := cmd.CombinedOutput()
			const want = "demo: a terminal is needed, and stdin is not one"
			if ExitCode(cmd.ProcessState) != 1 || !strings.Contains(string(out), want) {
				t.Errorf("%s: %v, %s", flag, err, out)
			}
			checkNothingLeft(t, tmp)
		}
	})
	t.Run("TMPDIR", func(t *testing.T) {
		t.Parallel()
		d := openDemo(t, screen100, []string{"TMPDIR=" + notADirectory})
		d.WaitFor(`demo: cannot create a temporary directory: [^\r]*not a directory ` +
			`\(set TMPDIR to a directory that is writable\)`)
		d.CheckExit(1)
	})
	t.Run("no kshell", func(t *testing.T) {
		t.Parallel()
		d := openDemo(t, screen100, nil, "--kshell", filepath.Join(t.TempDir(), "kshell"))
		d.WaitFor(`demo: cannot run kshell: [^\r]* does not exist \(make demo and make tour build it\)`)
		d.checkEnd(1)
	})
}

// numbers matches the numbers that the tour counts in the shell.
var numbers = regexp.MustCompile(`(?m)^([0-9]+)$`)

// checkTour checks what the tour has shown: the results of the commands, and that
// the shell is the same after the lost connection, without a missing number.
func checkTour(t *testing.T, text string) {
	t.Helper()
	text = strings.ReplaceAll(ansi.Strip(text), "\r", "")
	for _, want := range []string{
		`\nhello from web\nexit code: 3\n`,
		`(\nweb-[a-z0-9-]+: hello from web-[a-z0-9-]+){2}\n`,
		`connection lost`,
		`trying again in [0-9]+ s`,
		`connected again after [0-9]+ s: the same shell`,
		`\ncolor=blue\n`,
		`\nkshell: ~\? this list\n`,
		`session left`,
		`make demo`,
	} {
		if !regexp.MustCompile(want).MatchString(text) {
			t.Errorf("no match of %q in %q", want, text)
		}
	}
	last := 0
	for i, n := range numbers.FindAllStringSubmatch(text, -1) {
		if n[1] != fmt.Sprint(i+1) {
			t.Fatalf("number %s follows %d: %q", n[1], last, text)
		}
		last = i + 1
	}
	if last < 3 {
		t.Errorf("the tour counted to %d: %q", last, text)
	}
}

func TestTour_Auto(t *testing.T) {
	t.Parallel()
	needAgent(t)
	for name, test := range map[string]struct {
		size pty.Winsize
		env  string
	}{
		"":         {screen100, "X="},
		"NO_COLOR": {screen100, "NO_COLOR=1"},
		"dumb":     {screen100, "TERM=dumb"},
		"narrow":   {pty.Winsize{Rows: 24, Cols: 40}, "X="},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openDemo(t, test.size, []string{test.env}, "--tour", "--auto")
			code, ok := d.ExitWithin(3 * time.Minute)
			if !ok || code != 0 {
				t.Errorf("exit code %d, ended: %t, %q", code, ok, d.Text())
			}
			text := d.Text()
			if name != "narrow" {
				checkTour(t, text)
			}
			if colored := strings.Contains(text, "\x1b[36m# "); colored != (name == "" || name == "narrow") {
				t.Errorf("colored: %t", colored)
			}
			if name == "dumb" && strings.Contains(text, "\x1b[") {
				t.Errorf("escape sequences on a dumb terminal: %q", text)
			}
			checkNothingLeft(t, d.tmp)
		})
	}
}

// TestTour_NoTerminal runs the tour as a job of a CI does.
func TestTour_NoTerminal(t *testing.T) {
	t.Parallel()
	needAgent(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd, tmp := demoCommand(ctx, t, nil, "--tour", "--auto")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	checkTour(t, string(out))
	checkNothingLeft(t, tmp)
}

// TestTour_Keys presses Enter at each text.
func TestTour_Keys(t *testing.T) {
	t.Parallel()
	needAgent(t)
	d := openDemo(t, screen100, nil, "--tour")
	for range 7 {
		d.WaitForWithin(time.Minute, `\[Enter\]`)
		d.Type("\r")
	}
	d.WaitFor(`make demo`)
	d.checkEnd(0)
	checkTour(t, d.Text())
}

// TestTour_Leave leaves the tour with Ctrl-C, while it waits for Enter, and while
// the connection is lost.
func TestTour_Leave(t *testing.T) {
	t.Parallel()
	needAgent(t)
	for name, pressed := range map[string]int{"first text": 0, "third text": 2, "connection lost": 5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openDemo(t, screen100, nil, "--tour")
			for range pressed {
				d.WaitForWithin(time.Minute, `\[Enter\]`)
				d.Type("\r")
			}
			wanted := `\[Enter\]`
			if name == "connection lost" {
				wanted = `trying again in`
			}
			d.WaitForWithin(time.Minute, wanted)
			d.Type("\x03")
			d.checkEnd(0)
		})
	}
}

func TestTour_Signal(t *testing.T) {
	t.Parallel()
	d := openDemo(t, screen100, nil, "--tour")
	d.WaitFor(`\[Enter\]`)
	d.Signal(syscall.SIGTERM)
	d.checkEnd(143)
}
