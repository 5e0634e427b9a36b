package exact

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// specialNames lists the variables that a shell sets or interprets.
var specialNames = strings.Fields(`_ BASHOPTS BASHPID BASH_ARGV0 BASH_COMPAT BASH_ENV BASH_VERSINFO BASH_VERSION
	BASH_XTRACEFD CDPATH COLUMNS COMP_WORDBREAKS DIRSTACK ENV EPOCHREALTIME EPOCHSECONDS ERRNO EUID EXECIGNORE FCEDIT
	FIGNORE FPATH FUNCNAME GLOBIGNORE GLOBSORT GROUPS HISTCMD HISTFILE HISTSIZE HOME HOSTNAME HOSTTYPE IFS KSHEGID KSHGID
	KSHUID KSH_VERSION LANG LC_ALL LINENO LINES MACHTYPE MAIL MAILCHECK MAILPATH OLDPWD OPTARG OPTERR OPTIND OSTYPE
	PATH_LOCALE PATHSEP PGRP PIPESTATUS POSIXLY_CORRECT PPID PROMPT_COMMAND PS1 PS2 PS3 PS4 PWD RANDOM REPLY SECONDS SHELL
	SHELLOPTS SHLVL SRANDOM TERM TIMEFORMAT TMOUT TMPDIR UID USER_ID`)

// isScriptName reports whether name is a name that script.Shorten assigns.
func isScriptName(name string) bool { return len(name) == 2 && name[0] == 'k' }

// testedNames returns the special names, and every word of the scripts that
// could be the name of a variable, except PATH and LD_PRELOAD.
func testedNames() []string {
	names := map[string]bool{}
	words := regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*`)
	for _, name := range words.FindAllString(strings.Join(sentScripts(), ""), -1) {
		names[name] = name != "PATH" && name != "LD_PRELOAD"
	}
	for _, name := range specialNames {
		names[name] = true
	}
	return slices.DeleteFunc(slices.Sorted(maps.Keys(names)), func(name string) bool { return !names[name] })
}

// testedValues lists the values to which the tests set the variables.
var testedValues = []string{
	"", "5", "x y", "xpg_echo:nocasematch:failglob:lastpipe:execfail", "errexit:nounset:noglob:allexport:monitor",
	"$(exit 9);`exit 9`'\"\\", "a\nb",
}

// variables returns variables with these names, which all have the same value.
func variables(names []string, value string) []string {
	env := make([]string, len(names))
	for i, name := range names {
		env[i] = name + "=" + value
	}
	return env
}

// diffEnvironments lists the variables that only one of two environments has.
func diffEnvironments(want, got []string) string {
	var b strings.Builder
	for sign, lists := range map[string][2][]string{"-": {want, got}, "+": {got, want}} {
		for _, v := range lists[0] {
			if !slices.Contains(lists[1], v) {
				fmt.Fprintf(&b, "%s %.200q\n", sign, v)
			}
		}
	}
	if b.Len() == 0 && len(want) != len(got) {
		return fmt.Sprintf("%d variables, want %d", len(got), len(want))
	}
	return b.String()
}

// startable returns env without the variables that keep the shell from
// starting: shells other than bash exit if OPTIND is not a number.
func (sh shell) startable(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(v string) bool {
		return strings.HasPrefix(v, "OPTIND=") && sh.name != "bash"
	})
}

// TestVariables_NamesUsedByScript sets the variables that the script uses, and
// those that a shell interprets, in the container and for the command. The
// command receives them, and all its other variables, unchanged.
func TestVariables_NamesUsedByScript(t *testing.T) {
	names := testedNames()
	print := []string{"/bin/cat", "/proc/self/environ"}
	eachShell(t, func(t *testing.T, shell shell) {
		each := func(t *testing.T, value string, names []string) {
			own := variables(names, value)
			for where, c := range map[string]struct{ of, given []string }{
				"in the container": {own, nil},
				"for the command":  {nil, own},
				"in both":          {variables(names, "other"), own},
				"with input":       {own, own},
			} {
				c.of = shell.startable(c.of)
				o := Options{Env: c.given}
				if where == "with input" {
					o.Stdin = strings.NewReader("")
				}
				r := shell.run(t, o, print, withEnv(slices.Concat(shell.env, c.of)...))
				want := slices.Concat(shell.env, c.of)
				if c.given != nil {
					want = slices.Concat(shell.env, c.given)
				}
				if d := diffEnvironments(want, splitNUL(r.stdout.String())); d != "" {
					state, code := r.State()
					t.Errorf("%s: state %d, code %d (-wanted, +found):\n%s%s", where, state, code, d, &r.stderr)
				}
				if d := diffEnvironments(want, splitNUL(shell.onTerminal(t, c.of, c.given, print))); d != "" {
					t.Errorf("%s, on a terminal (-wanted, +found):\n%s", where, d)
				}
			}
		}
		t.Run("one by one", func(t *testing.T) {
			t.Parallel()
			for _, name := range names {
				if isScriptName(name) {
					r := shell.run(t, Options{Env: []string{name + "=0", "B=1"}}, print)
					if got := splitNUL(r.stdout.String()); !slices.Contains(got, name+"=0") || !slices.Contains(got, "B=1") {
						state, code := r.State()
						t.Errorf("%s: state %d, code %d, %q", name, state, code, got)
					}
				}
			}
		})
		for _, value := range testedValues {
			t.Run(value, func(t *testing.T) {
				t.Parallel()
				each(t, value, names)
				if *runs < 256 {
					return
				}
				for _, name := range names {
					each(t, value, []string{name})
				}
			})
		}
	})
}

// onTerminal runs args through the script for a terminal, and returns the
// stdout of args. The parameter "of" lists variables of the container; the
// parameter "given" lists variables for the command.
func (sh shell) onTerminal(t *testing.T, of, given, args []string) string {
	t.Helper()
	s := NewShell(given, "")
	var out, stderr bytes.Buffer // separate, because bash prints warnings about its environment to stderr
	cmd := exec.CommandContext(t.Context(), sh.path, s.Command(args)[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = slices.Concat(sh.env, of), &out, s.Output(&stderr)
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String()
}

// In a container without env, the shell sets the variables itself. If it cannot
// set one, the command is not started.
func TestVariables_WithoutEnvTool(t *testing.T) {
	names := testedNames()
	eachShell(t, func(t *testing.T, shell shell) {
		path := "PATH=" + shell.tools(t, "dd", "tr")
		each := func(names ...string) {
			given := variables(names, "5")
			r := shell.run(t, Options{Env: given}, []string{"/bin/cat", "/proc/self/environ"}, withEnv(path))
			switch state, code := r.State(); state {
			case NotStarted:
			case Ended:
				got := splitNUL(r.stdout.String())
				for _, v := range given {
					if code != 0 || !slices.Contains(got, v) {
						t.Errorf("code %d, %s is missing: %q", code, v, got)
					}
				}
			default:
				t.Errorf("%s: state %d", names, state)
			}
		}
		var scriptNames []string
		for _, name := range names {
			if isScriptName(name) {
				scriptNames = append(scriptNames, name)
			}
		}
		each(scriptNames...)
		for i, name := range specialNames {
			important := slices.Contains([]string{"IFS", "UID", "PPID", "OPTIND", "SHELLOPTS", "RANDOM"}, name)
			if *runs >= 256 || i%4 == 0 || important {
				each(name)
			}
		}
		r := shell.run(t, Options{Env: variables(scriptNames, "5")}, []string{"/bin/true"}, withEnv(path))
		r.check(0, "")
	})
}

// The script looks up the command in the PATH that is set for the command, as
// env does.
func TestVariables_Path(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		dir := t.TempDir()
		writeScript(t, dir, "tool", "echo found; exit 4")
		for _, tools := range [][]string{shell.env, {"PATH=" + shell.tools(t, "dd")}} {
			env := []string{"PATH=/no/such", "A=1", "PATH=" + dir}
			r := shell.run(t, Options{Env: env}, []string{"tool"}, withEnv(tools...))
			r.check(4, "found\n")
			r = shell.run(t, Options{Env: []string{"PATH=/no/such"}}, []string{"true"}, withEnv(tools...))
			if state, _ := r.State(); state != NoCommand {
				t.Errorf("state %d, want NoCommand (%d)", state, NoCommand)
			}
		}
	})
}

func TestDirectory_NameLikeAnOption(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for _, name := range []string{"-", "-P", "--", "~", "$x", "a b", "+1"} {
			dir := t.TempDir()
			env := append(slices.Clone(shell.env), "OLDPWD=/", "CDPATH=/", "HOME=/")
			r := shell.run(t, Options{Dir: name}, []string{"true"}, withDir(dir), withEnv(env...))
			if state, _ := r.State(); state != NoDirectory {
				t.Errorf("%q: state %d, want NoDirectory", name, state)
			}
			if err := exec.Command("mkdir", "--", dir+"/"+name).Run(); err != nil {
				t.Fatal(err)
			}
			r = shell.run(t, Options{Dir: name}, []string{"readlink", "/proc/self/cwd"}, withDir(dir), withEnv(env...))
			r.check(0, dir+"/"+name+"\n")
		}
	})
}
