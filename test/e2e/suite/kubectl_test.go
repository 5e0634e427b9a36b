package suite

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"kshell/test/contract"
)

// TestKubectl_Cases runs each contract case with kubectl exec as well. Stdout,
// the remote stderr and the exit code must be the same, or the case must list a
// reason why they differ.
func TestKubectl_Cases(t *testing.T) {
	inCI(t)
	ours, theirs := program(cluster.Kubeconfig()), kubectl()
	compared, listed := 0, 0
	for _, c := range contract.Cases() {
		t.Run(strings.ReplaceAll(c.Name, " ", "_"), func(t *testing.T) {
			args := append([]string{"exec"}, c.Args...)
			var stdin []byte
			if c.In != "" {
				stdin = []byte(c.In)
			}
			a, b := ours.Run(t, stdin, args...), theirs.Run(t, stdin, args...)
			same := a.Out == b.Out && a.Code == b.Code && remoteStderr(a.Err) == remoteStderr(b.Err)
			switch {
			case c.Differs == "" && !same:
				t.Errorf("%q\nkshell:  code %d, stdout %.300q, stderr %.300q\nkubectl: code %d, stdout %.300q, stderr %.300q",
					args, a.Code, a.Out, a.Err, b.Code, b.Out, b.Err)
			case c.Differs != "" && same:
				t.Errorf("%q: there is no difference, but one is listed: %s", args, c.Differs)
			case c.Differs != "":
				listed++
				t.Logf("differs: %s", c.Differs)
			default:
				compared++
			}
		})
	}
	t.Logf("%d commands are the same, %d differ on purpose", compared, listed)
	if compared < 120 {
		t.Errorf("only %d commands are compared", compared)
	}
}

// ownMessages are prefixes of the two programs' own messages.
var ownMessages = []string{
	"kshell: ", "hint: ", // of kshell
	"command terminated with exit code", "Defaulted container", "Unable to use a TTY", // of kubectl
}

// remoteStderr returns the lines of stderr that the remote command wrote.
func remoteStderr(stderr string) string {
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		own := false
		for _, prefix := range ownMessages {
			own = own || strings.HasPrefix(line, prefix)
		}
		if !own {
			b.WriteString(line)
		}
	}
	return b.String()
}

// flagOfKubectl matches a line of kubectl's help, such as -q, --quiet=false:
var flagOfKubectl = regexp.MustCompile(`(?m)^ +(?:-(\w), )?--([\w-]+)=(.*):$`)

// TestKubectl_Flags checks that kshell exec accepts every flag of kubectl exec,
// long and short, as listed in kubectl's help.
func TestKubectl_Flags(t *testing.T) {
	inCI(t)
	ours, theirs := program(cluster.Kubeconfig()), kubectl()
	flags := flagOfKubectl.FindAllStringSubmatch(
		theirs.Run(t, nil, "exec", "--help").Out+theirs.Run(t, nil, "options").Out,
		-1,
	)
	if len(flags) < 36 {
		t.Errorf("kubectl lists only %d flags: %v", len(flags), flags)
	}
	for _, f := range flags {
		short, name, value := f[1], f[2], strings.Trim(f[3], "'[]")
		args := []string{"exec", "--" + name + "=" + value}
		if short != "" {
			args = append(args, "-"+short+"="+cmp.Or(value, "x"))
		}
		if r := ours.Run(t, nil, append(args, "--help")...); r.Code != 0 || r.Err != "" {
			t.Errorf("%q: exit code %d, stderr %q", args, r.Code, r.Err)
		}
	}
}

// TestKubectl_Plugin checks that kubectl runs kshell as a plugin, under one
// name for commands and another one for completion.
func TestKubectl_Plugin(t *testing.T) {
	inCI(t)
	dir := t.TempDir()
	for _, name := range []string{"kubectl-kshell", "kubectl_complete-kshell"} {
		must(t, os.Symlink(kshell, filepath.Join(dir, name)))
	}
	run := func(args ...string) (string, int) {
		cmd := kubectl().Command(t.Context(), t, args...)
		cmd.Env = append(cmd.Env, "PATH="+dir+":"+os.Getenv("PATH"))
		out, _ := cmd.Output() // run returns the exit code instead of the error
		return string(out), cmd.ProcessState.ExitCode()
	}
	if out, code := run("kshell", "exec", "web", "--", "sh", "-c", "echo hi; exit 7"); out != "hi\n" || code != 7 {
		t.Errorf("a command: %q, exit code %d", out, code)
	}
	if out, code := run("__complete", "kshell", "exec", "multi", "-c", ""); !strings.HasPrefix(out, "a\nb\n:") ||
		code != 0 {
		t.Errorf("completion: %q, exit code %d", out, code)
	}
}
