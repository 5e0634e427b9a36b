//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// shared returns a new directory that every user can enter. It does not use
// t.TempDir, because that may be in a private directory.
func shared(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kshell-test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyFile copies a file with the program cp. If this process opened the copy
// for writing, a child process of another test might inherit the descriptor.
// The copy could not be executed (ETXTBSY) while that child process runs.
func copyFile(t *testing.T, from, to string, mode os.FileMode) string {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "cp", from, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	if err := os.Chmod(to, mode); err != nil {
		t.Fatal(err)
	}
	return to
}

// The home directory belongs to another user, as after su or in a container
// with a random uid, so that the settings and ~/.kube/config cannot be read.
func TestHome_AnotherUsers(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	dir := shared(t)
	kubeconfig := copyFile(t, s.Kubeconfig(), filepath.Join(dir, "config"), 0o644)
	path := copyFile(t, program(t), filepath.Join(dir, "kshell"), 0o755)
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0); err != nil {
		t.Fatal(err)
	}
	run := func(env string, args ...string) (output string, code int) {
		cmd := command(t, s, args...)
		cmd.Path, cmd.Dir = path, dir
		cmd.Env = append(cmd.Env, "HOME="+home, "XDG_CONFIG_HOME=", env)
		if os.Getuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := run("KUBECONFIG="+kubeconfig, "exec", "web", "--", "echo", "fine"); code != 0 || out != "fine\n" {
		t.Errorf("with KUBECONFIG: exit code %d, output %q", code, out)
	}
	trusted := []string{"--server", s.URL(), "--insecure-skip-tls-verify", "--token", s.Token("admin")}
	out, code := run("KUBECONFIG=", append(trusted, "exec", "web", "--", "echo", "fine")...)
	if code != 0 || out != "fine\n" {
		t.Errorf("with flags: exit code %d, output %q", code, out)
	}
	out, code = run("KUBECONFIG=", "exec", "web", "--", "echo", "fine")
	want := "kshell: cannot read kubeconfig " + home + "/.kube/config: permission denied\n"
	if code != 255 || !strings.HasPrefix(out, want) {
		t.Errorf("without a kubeconfig: exit code %d, output %q, want %q", code, out, want)
	}
}
