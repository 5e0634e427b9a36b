package exact

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
)

// overStdin makes the remote read its script from stdin and, if argsToo is
// true, also args.
func overStdin(args []string, argsToo bool) setup {
	return func(r *shellRun) { r.cmd.Args = r.CommandOverStdin(args, argsToo) }
}

func TestScript_OverStdin(t *testing.T) {
	in := randomBytes(300_001)
	odd := []string{
		"sh", "-c", "cat /proc/$$/cmdline; exit 5", "it's", "", "a\nb\n", `"\`, "$x", "$(id)", "-n", " a  b ", "\xff\x01",
	}
	long := slices.Concat(odd, []string{strings.Repeat("x", 120_000), strings.Repeat("y", 120_000)})
	eachShell(t, func(t *testing.T, shell shell) {
		for name, c := range map[string]struct {
			args    []string
			argsToo bool
		}{
			"the script":          {odd, false},
			"the command":         {odd, true},
			"a command of 240 kB": {long, true},
			"a missing command":   {[]string{"no-such"}, true},
		} {
			r := shell.run(t, Options{}, nil, overStdin(c.args, c.argsToo))
			if name == "a missing command" {
				if state, _ := r.State(); state != NoCommand {
					t.Errorf("state %d, want NoCommand", state)
				}
				continue
			}
			r.check(5, strings.Join(c.args, "\x00")+"\x00")
		}
		env := []string{
			shell.env[0], "odd.name=1", "PWD=/elsewhere", "ka=1", "A=a\nb", "B=" + strings.Repeat("b", 20_000),
		}
		for _, argsToo := range []bool{false, true} {
			print := []string{"/bin/cat", "/proc/self/environ"}
			r := shell.run(t, Options{}, nil, overStdin(print, argsToo), withEnv(env...))
			if d := diffEnvironments(env, splitNUL(r.stdout.String())); d != "" {
				t.Errorf("(-wanted, +found)\n%s", d)
			}
			r = shell.run(t, Options{Stdin: bytes.NewReader(in)}, nil, overStdin(sh("cat; exit 6"), argsToo))
			r.check(6, string(in))
		}
	})
}

// A script that is not complete, or that cannot be read, is not run.
func TestScript_OverStdinIncomplete(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		r := shell.start(t, Options{}, nil, overStdin([]string{"/bin/true"}, false))
		go func() {
			defer close(r.stdinSent)
			_, _ = io.CopyN(r.pipes[0], r.Stdin(), 1000)
			_ = r.pipes[0].Close()
		}()
		if state := r.waitForEnd(); state != NotStarted {
			t.Errorf("state %d, want NotStarted (%d)", state, NotStarted)
		}
		if shell.standalone() {
			return
		}
		env := withEnv("PATH=" + shell.tools(t, "cat"))
		r = shell.start(t, Options{}, nil, overStdin([]string{"/bin/true"}, false), env, func(r *shellRun) {
			for i, arg := range r.cmd.Args { // the script looks for dd and head there, too
				r.cmd.Args[i] = strings.ReplaceAll(arg, ":/usr/bin:/bin", "")
			}
		})
		go r.sendStdin(1 << 62)
		if state := r.waitForEnd(); state != NotStarted {
			t.Errorf("without dd and head: state %d, want NotStarted (%d)", state, NotStarted)
		}
	})
}
