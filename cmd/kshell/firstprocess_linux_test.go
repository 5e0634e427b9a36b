package main

import (
	"bufio"
	"bytes"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"kshell/internal/outcome"
)

// The kernel drops a fatal signal that the first process of a container sends to
// itself. kshell then exits with 128+n.
func TestSignal_FirstProcess(t *testing.T) {
	t.Parallel()
	cmd := command(t, startSandbox(t), "exec", "web", "--", "sh", "-c", "echo up; exec sleep 1000")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWPID,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip("no PID namespace can be created: ", err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "up\n" {
		t.Fatalf("read %q, %v; stderr %q", line, err, stderr.String())
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != outcome.ExitSignal+int(syscall.SIGTERM) {
		t.Errorf("%v, want exit code 143; stderr %q", err, stderr.String())
	}
}
