//go:build unix

package contract

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"kshell/test/faultproxy"
)

// ResumeSame checks that commands behave the same with --resume=always and in a
// plain exec: what they see, what they print, and how they end. shell is the
// shell of the image.
func ResumeSame(t *testing.T, w ResumeSetup, pod, shell string) {
	for name, command := range transparentCommands(shell) {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			want := w.Run(t, nil, slices.Concat([]string{"exec", "-q", modePlain}, w.Flags, []string{pod, "--"}, command)...)
			got := w.Run(t, nil, append(w.resumed(t, "-q", pod, "--"), command...)...)
			if strings.HasPrefix(want.Err, "kshell: ") && strings.HasPrefix(got.Err, "kshell: ") {
				want.Err, got.Err = "", "" // the command could not be started
			}
			if name == "open files" { // the sandbox passes on descriptors of the test; the agent does not
				want.Out = "0\n1\n2\n3\n"
			}
			checkSame(t, name, "--resume", got, want)
		})
	}
}

// running is a program whose stdout is watched.
type running struct {
	cmd    *exec.Cmd
	stdin  *os.File
	stdout *lockedBuffer
	stderr *lockedBuffer
	wait   func() error
}

// begin starts the program. If input is true, its stdin is a pipe.
func (w ResumeSetup) begin(t *testing.T, input bool, args ...string) *running {
	t.Helper()
	r := &running{cmd: w.Command(t.Context(), t, args...), stdout: &lockedBuffer{}, stderr: &lockedBuffer{}}
	r.cmd.Stdout, r.cmd.Stderr = r.stdout, r.stderr
	if input {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.cmd.Stdin, r.stdin = read, write
		defer func() { _ = read.Close() }()
		t.Cleanup(func() { _ = write.Close() })
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.wait = sync.OnceValue(r.cmd.Wait)
	t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // it has exited, unless the test has failed
		_ = r.wait()
	})
	return r
}

// waitFor waits until stdout contains the text.
func (r *running) waitFor(t *testing.T, text string) {
	t.Helper()
	withTimeLimit(t, "output "+text, func() bool { return strings.Contains(r.stdout.String(), text) })
}

// check waits for the exit of the program, and checks its exit code and stdout.
func (r *running) check(t *testing.T, code int, stdout string) {
	t.Helper()
	_ = r.wait()
	if got := ExitCode(r.cmd.ProcessState); got != code || r.stdout.String() != stdout {
		t.Errorf("exit code %d, want %d; stdout %.300q, want %.300q; stderr %s", got, code, r.stdout, stdout, r.stderr)
	}
}

// resumeCommand cuts the connection of a command with input and output.
func resumeCommand(t *testing.T, w ResumeSetup) {
	proxy, server := w.Through(t)
	pod := w.Pod(t)
	r := w.begin(t, true, w.resumed(t, slices.Concat(server, []string{
		"-i", "--keepalive=2s", pod, "--", "sh", "-c",
		"echo run >>runs; while read -r line; do echo \"got $line\"; done; cat runs; exit 7",
	})...)...)
	want := ""
	for i, cut := range []func(){
		func() {},
		func() { proxy.Cut(faultproxy.Both, faultproxy.RST) },
		func() { proxy.Cut(faultproxy.Both, faultproxy.FIN) },
		func() { proxy.Cut(faultproxy.Server, faultproxy.RST) }, // half-open
	} {
		cut()
		line := strings.Repeat("x", i*10_000) + "\n"
		if _, err := r.stdin.WriteString(line); err != nil {
			t.Fatal(err)
		}
		want += "got " + line
		r.waitFor(t, want)
	}
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	_ = r.stdin.Close()
	r.check(t, 7, want+"run\n")
	if !regexp.MustCompile(sameCommand).MatchString(r.stderr.String()) {
		t.Errorf("stderr %s", r.stderr)
	}
	w.checkNothingLeft(t, pod)
}

func resumeSignals(t *testing.T, w ResumeSetup) {
	for _, signal := range []syscall.Signal{interrupt(), syscall.SIGTERM} {
		pod := w.Pod(t)
		r := w.begin(t, false, w.resumed(t, pod, "--", "sh", "-c",
			`trap 'echo int; exit 3' INT; trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.1; done`)...)
		r.waitFor(t, "up\n")
		if err := r.cmd.Process.Signal(signal); err != nil {
			t.Error(err)
		}
		_ = r.wait()
		if got := ExitCode(r.cmd.ProcessState); got != 128+int(signal) ||
			!slices.Contains([]string{"up\nint\n", "up\nterm\n"}, r.stdout.String()) {
			t.Errorf("%v: exit code %d, stdout %q, stderr %s", signal, got, r.stdout, r.stderr)
		}
		w.checkNothingLeft(t, pod)
	}
}

func resumeTimeout(t *testing.T, w ResumeSetup) {
	pod := w.Pod(t)
	r := w.Run(t, nil, w.resumed(t, "--timeout=3s", pod, "--", "sh", "-c",
		`trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.1; done`)...)
	if r.Code != 124 || r.Out != "up\nterm\n" {
		t.Errorf("%+v", r)
	}
	w.checkNothingLeft(t, pod)
}

// resumeUnfinishedInput kills kshell while the command reads. The command does not
// see an end of its input, and its output and code can be had by --attach.
func resumeUnfinishedInput(t *testing.T, w ResumeSetup) {
	w, dir := w.inDir(t)
	pod := w.Pod(t)
	r := w.begin(t, true, w.resumed(t, "--resume-timeout=3s", "-i", pod, "--", "sh", "-c",
		"read -r line; echo \"got $line\"; cat; echo ended >ended; sleep 1")...)
	if _, err := r.stdin.WriteString("a line\nmore"); err != nil {
		t.Fatal(err)
	}
	r.waitFor(t, "got a line\nmore")
	if err := r.cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = r.wait()
	args := slices.Concat([]string{"exec"}, w.Flags, []string{"--attach", pod, w.onlySession(t, dir, pod)})
	if dir != "" {
		args = slices.Insert(args, 1, "--resume-dir", dir)
	}
	again := w.begin(t, false, args...)
	again.waitFor(t, "got a line\nmore")
	_ = again.cmd.Process.Kill()
	_ = again.wait()
	w.checkNothingLeft(t, pod) // it was ended at the time limit
	if r := w.Run(t, nil, "exec", modePlain, pod, "--", "ls"); strings.Contains(r.Out, "ended") {
		t.Error("the command has seen the end of an input that was not finished")
	}
}

func resumeIdle(t *testing.T, w ResumeSetup) {
	pod := w.Pod(t)
	w.startDetached(t, "--resume-timeout=2s", pod, "--", "sleep", "1000")
	w.checkNothingLeft(t, pod)
}

func resumeExact(t *testing.T, w ResumeSetup) {
	pod := w.Pod(t)
	want := lines(200_000)
	r := w.Run(t, []byte("input\n"), w.resumed(t, modeExact, "-i", pod, "--", "sh", "-c",
		"cat >&2; seq 1 200000; exit 5")...)
	if r.Code != 5 || !bytes.Equal([]byte(r.Out), want) || r.Err != "input\n" {
		t.Errorf("exit code %d, %d bytes, want %d, stderr %q", r.Code, len(r.Out), len(want), r.Err)
	}
}

func resumeOnce(t *testing.T, w ResumeSetup) {
	proxy, server := w.Through(t)
	pod := w.Pod(t)
	r := w.begin(t, false, w.resumed(t, slices.Concat(server, []string{
		"--reconnect=always", pod, "--", "sh", "-c",
		"echo run >>runs; echo up; sleep 3; cat runs; exit 6",
	})...)...)
	r.waitFor(t, "up\n")
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	r.check(t, 6, "up\nrun\n")
}
