package exact

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// splitNUL splits a list of NUL-terminated strings, such as /proc/PID/environ.
func splitNUL(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(list, "\x00"), "\x00")
}

func TestScript_EnvironmentUnchanged(t *testing.T) {
	tests := map[string][]string{
		"usual in a container": {
			"HOSTNAME=web-1", "HOME=/root", "KUBERNETES_SERVICE_HOST=10.0.0.1", "KUBERNETES_PORT=tcp://10.0.0.1:443",
		},
		"only PATH":               {},
		"set by shells":           {"PWD=/elsewhere", "OLDPWD=/old", "SHLVL=7", "_=/usr/bin/env"},
		"one set by shells":       {"SHLVL=0"},
		"PWD is not a directory":  {"PWD=notapath"},
		"empty values":            {"A=", "PWD=", "SHLVL=", "_=", "my.var="},
		"odd names":               {"my.var=1", "a-b=2", "1st=3", "a b=4", "a*=5", "%=6", "ä=7", "x:y=8"},
		"an odd name with a dash": {"-x=1", "--help=2", "-=3"},
		"newlines":                {"A=one\ntwo\n", "PWD=a\nb", "my.var=x\ny\n", "OLDPWD=\n", "Z=\n\nPWD=no\nB=no"},
		"quotes":                  {`A='"$x` + "`id`", `PWD='"$x\` + "`id`", `my.var='"$x\`, "_=;exit 9", "SHLVL=$(exit 9)"},
		"spaces":                  {"A=  a  b ", "my.var=  a  b ", "PWD= "},
		"globs":                   {"A=*", "my.var=/*", "PWD=/*", "a.*=?"},
		"control characters":      {"A=\x01\x1e\x7f", "PATH_LOCALE=\x01"},
		"equals":                  {"A==", "my.var=a=b", "PWD=="},
		"bytes":                   {"A=\xff\xfe\x80", "my.var=\xff\xfe\x80", "PWD=\xff\xfe"},
		"a locale": {
			"LANG=C.UTF-8", "LC_ALL=C.UTF-8", "A=\xff\xfeä", "my.var=\xff\xfeä", "é=1", "PWD=/ä\xff",
		},
		"long": {"A=" + strings.Repeat("x", 50_000), "my.var=" + strings.Repeat("\n", 200)},
		"used by shells": {
			"IFS=x", "PS1=p", "PS2=", "PS4=q", "OPTIND=3", "OPTARG=a", "OPTERR=0", "PPID=1", "LINENO=5", "SECONDS=x",
			"UID=1000", "GROUPS=5", "SHELL=/bin/x", "ENV=/dev/null", "CDPATH=/tmp", "MAIL=/m", "TERM=xterm",
		},
		"used by the script": {"k_n=1", "k_env=2", "k_code=3", "k_line=4", "k_feed=5", "k_value=6"},
		"used by libraries":  {"LD_BIND_NOW=1", "MALLOC_ARENA_MAX=1", "TZ=UTC"},
		"functions":          {"BASH_FUNC_f%%=() { echo f; }", "BASH_FUNC_cat%%=() { echo no; }"},
		"options of shells": {
			"POSIXLY_CORRECT=1", "SHELLOPTS=posix", "BASHOPTS=extglob", "BASH_ENV=/no", "BASH_VERSION=1",
		},
	}
	eachShell(t, func(t *testing.T, shell shell) {
		for name, env := range tests {
			t.Run(name, func(t *testing.T) {
				env := append(slices.Clone(shell.env), env...)
				r := shell.run(t, Options{}, []string{"/bin/cat", "/proc/self/environ"}, withEnv(env...))
				slices.Sort(env)
				got := splitNUL(r.stdout.String())
				slices.Sort(got)
				if d := cmp.Diff(env, got); d != "" {
					state, code := r.State()
					t.Errorf("state %d, code %d (-want +got):\n%s%s", state, code, d, &r.stderr)
				}
			})
		}
		t.Run("no PATH", func(t *testing.T) {
			r := shell.run(t, Options{}, []string{"/bin/cat", "/proc/self/environ"}, withEnv("A=1"))
			if shell.name != "busybox" { // the shell of busybox exports its default PATH
				r.check(0, "A=1\x00")
			}
		})
	})
}

func TestScript_ArgumentsUnchanged(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for _, env := range [][]string{shell.env, append(slices.Clone(shell.env), "odd.name=1")} {
			args := []string{
				"sh", "-c", "cat /proc/$$/cmdline; true", "", "a\nb\n", `"'\`, "$x", "$(id)", "`id`", "*", "/*",
				"-n", "--", "-", "k=v", "=", " a  b ", "\xff\x01", "~", "!", ";", "&", "#",
				"\\n", "%s", strings.Repeat("long", 10_000),
			}
			shell.run(t, Options{}, args, withEnv(env...)).check(0, strings.Join(args, "\x00")+"\x00")
		}
	})
}

// direct runs args as a container runtime does, without the script.
func (sh shell) direct(t *testing.T, dir string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(args[0])
	if err != nil {
		t.Fatal(err)
	}
	stdin, _, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stdin.Close() }()
	session := &syscall.SysProcAttr{Setsid: true}
	cmd := &exec.Cmd{Path: path, Args: args, Env: sh.env, Dir: dir, Stdin: stdin, SysProcAttr: session}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// The command has the same signals, descriptors, directory, limits and umask as
// without the script.
func TestScript_ProcessUnchanged(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		dir := t.TempDir()
		for _, args := range [][]string{
			{"/usr/bin/grep", "-E", "^(Sig(Ign|Blk|Cgt)|Umask|Cap|NoNewPrivs|Uid|Gid|Groups)", "/proc/self/status"},
			{"/bin/ls", "/proc/self/fd"},
			{"/bin/readlink", "/proc/self/cwd"},
			{"/bin/cat", "/proc/self/limits", "/proc/self/oom_score_adj", "/proc/self/cmdline", "/proc/self/comm"},
			{"/bin/sh", "-c", `read -r a </proc/$$/stat; set -- $a; [ "$5" = "$6" ] && echo "a group of its own session"`},
		} {
			direct := shell.direct(t, dir, args...)
			shell.run(t, Options{Stdin: strings.NewReader("")}, args, withDir(dir)).check(0, direct)
			shell.run(t, Options{}, args, withDir(dir)).check(0, direct)
		}
		shell.run(t, Options{Stdin: strings.NewReader("")}, sh("kill -INT $$; echo not this")).check(130, "")
	})
}

func TestScript_NoCommand(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		dir := t.TempDir()
		write(t, dir, "not-executable", []byte("#!/bin/sh\n"))
		env := []string{"PATH=" + shell.pathValue() + ":" + dir}
		for _, name := range []string{
			"no-such-command", "/no/such/command", "./not-executable", "not-executable", dir, "/", "",
			"cd", "export", ":", ".", "exec", "eval", "set", "wait",
			"feed", "serve", "found", "send", "exists", "finish", "launch", "release", "others", "k_n", "*", "a b", "$x",
		} {
			r := shell.run(t, Options{Stdin: &endlessReader{}}, []string{name}, withDir(dir), withEnv(env...))
			if state, _ := r.State(); state != NoCommand || r.stdout.Len()+r.stderr.Len() > 0 {
				t.Errorf("%q: state %d, want NoCommand (%d); %q, %q", name, state, NoCommand, &r.stdout, &r.stderr)
			}
		}
	})
}

func TestScript_PathSearch(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		dir := t.TempDir()
		for i, sub := range []string{"with space", "a*b", "$x", "*"} {
			if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
				t.Fatal(err)
			}
			name := filepath.Join(sub, "tool"+string(rune('0'+i)))
			writeScript(t, dir, name, "echo '"+name+`' | tr ' $*' '_ds'; exit 4`)
		}
		writeScript(t, dir, "feed", "echo not the function") // the script has a function of the same name
		writeScript(t, dir, "cd", "echo not the builtin")
		writeScript(t, dir, "k=v", `echo "an assignment? $0"`)
		env := []string{"PATH=::/no/such:" + strings.Join([]string{
			dir + "/with space", dir + "/a*b", shell.pathValue(), dir + "/$x", dir + "/*", dir,
		}, ":")}
		for name, out := range map[string]string{
			"tool0": "with_space/tool0\n", "tool1": "asb/tool1\n", "tool2": "dx/tool2\n", "tool3": "s/tool3\n",
		} {
			shell.run(t, Options{}, []string{name}, withDir(dir), withEnv(env...)).check(4, out)
		}
		shell.run(t, Options{}, []string{"feed"}, withDir(dir), withEnv(env...)).check(0, "not the function\n")
		shell.run(t, Options{}, []string{"cd"}, withDir(dir), withEnv(env...)).check(0, "not the builtin\n")
		r := shell.run(t, Options{}, []string{dir + "/k=v"}, withEnv(append(env, "odd.name=1")...))
		r.check(0, "an assignment? "+dir+"/k=v\n")
		shell.run(t, Options{}, []string{"with space/tool0"}, withDir(dir), withEnv(env...)).check(4, "with_space/tool0\n")
	})
}

// writeScript writes an executable file. While the file is open for writing, it
// prevents the start of other processes: such a process would inherit the open
// file, and a file that is open for writing cannot be executed ("text file
// busy").
func writeScript(t *testing.T, dir, name, text string) {
	t.Helper()
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	write(t, dir, name, []byte("#!/bin/sh\n"+text+"\n"))
	if err := os.Chmod(filepath.Join(dir, name), 0o700); err != nil {
		t.Fatal(err)
	}
}

// tools returns a new directory that contains only links to sh and these tools.
func (sh shell) tools(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		link(t, path, filepath.Join(dir, name))
	}
	link(t, sh.path, filepath.Join(dir, "sh"))
	return dir
}

// standalone reports whether the shell has tools such as dd built in and
// prefers them to the tools in PATH.
func (sh shell) standalone() bool {
	cmd := &exec.Cmd{Path: sh.path, Args: []string{"sh", "-c", "exec dd count=0"}, Env: []string{"PATH=/no/such"}}
	return cmd.Run() == nil
}

// With mksh, a command with input is not started, because it would not see the
// end of its input. A command without input runs in exact mode.
func TestScript_Mksh(t *testing.T) {
	if _, err := exec.LookPath("mksh"); err != nil && os.Getenv("KSHELL_TEST_SHELLS") != "all" {
		t.Skip("this machine has no mksh")
	}
	mksh := findShell(t, "mksh")
	r := mksh.run(t, Options{Stdin: strings.NewReader("hello\n")}, []string{"/bin/cat"})
	if state, _ := r.State(); state != Unsupported || r.stdout.Len() > 0 {
		t.Errorf("state %d, stdout %q; want Unsupported", state, &r.stdout)
	}
	print := []string{"/bin/cat", "/proc/self/environ"}
	for _, env := range [][]string{
		nil, {"_=/usr/bin/env", "odd.name=1"}, {"PWD=/elsewhere", "OLDPWD=/old", "SHLVL=7", "KSH_VERSION=1", "ka=1", "kb=2"},
	} {
		env = append(slices.Clone(mksh.env), env...)
		r = mksh.run(t, Options{}, print, withEnv(env...))
		if d := diffEnvironments(env, splitNUL(r.stdout.String())); d != "" {
			state, code := r.State()
			t.Errorf("state %d, code %d (-wanted, +found):\n%s%s", state, code, d, &r.stderr)
		}
		if d := diffEnvironments(env, splitNUL(mksh.onTerminal(t, env[1:], nil, print))); d != "" {
			t.Errorf("on a terminal (-wanted, +found):\n%s", d)
		}
	}
	// The variable KSH_VERSION in the environment does not mean that the shell
	// is mksh.
	eachShell(t, func(t *testing.T, shell shell) {
		shell.run(t, Options{}, []string{"/bin/sh", "-c", "exit 5"}, withEnv("KSH_VERSION=1", shell.env[0])).check(5, "")
	})
}

func TestScript_FewTools(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		in := string(randomBytes(300_001))
		upload := []string{"/bin/sh", "-c", "/usr/bin/sha256sum; exit 5"}
		sums := sum([]byte(in)) + "  -\n"

		t.Run("neither dd nor head", func(t *testing.T) {
			env := withEnv("PATH=" + shell.tools(t, "cat", "tr", "env", "sleep"))
			r := shell.run(t, Options{Stdin: strings.NewReader(in)}, upload, env)
			if shell.standalone() {
				r.check(5, sums)
			} else if state, _ := r.State(); state != Unsupported || r.stdout.Len() > 0 {
				t.Errorf("state %d, want Unsupported; %q", state, &r.stdout)
			}
			shell.run(t, Options{}, []string{"/bin/sh", "-c", "exit 5"}, env).check(5, "") // no input, so no tool is needed
		})
		t.Run("head, no dd", func(t *testing.T) {
			path := "PATH=" + shell.tools(t, "head", "cat", "tr", "env", "sleep")
			r := shell.run(t, Options{Stdin: strings.NewReader(in)}, upload, withEnv(path))
			r.check(5, sums)
		})
		t.Run("a dd without fullblock", func(t *testing.T) {
			dir := shell.tools(t, "head", "cat", "tr", "env", "sleep")
			writeScript(t, dir, "dd", `case $* in *fullblock*) exit 1; esac`)
			shell.run(t, Options{Stdin: strings.NewReader(in)}, upload, withEnv("PATH="+dir)).check(5, sums)
		})
		t.Run("a head that reads ahead, and no dd", func(t *testing.T) {
			dir := shell.tools(t, "cat", "tr", "env", "sleep")
			writeScript(t, dir, "head", `/bin/cat | /usr/bin/head "$@"`)
			r := shell.run(t, Options{Stdin: strings.NewReader(in)}, upload, withEnv("PATH="+dir))
			if shell.standalone() {
				r.check(5, sums)
			} else if state, _ := r.State(); state != Unsupported {
				t.Errorf("state %d, want Unsupported", state)
			}
		})
		t.Run("no cat, tr, env, sleep", func(t *testing.T) {
			path := "PATH=" + shell.tools(t, "dd")
			r := shell.run(t, Options{Stdin: strings.NewReader(in)}, upload, withEnv(path, "A=1"))
			r.check(5, sums)
			shell.run(t, Options{Stdin: &endlessReader{}}, []string{"/bin/sh", "-c", "exit 6"}, withEnv(path)).check(6, "")
			print := []string{"/bin/sh", "-c", `echo "$A $PWD"; /usr/bin/env | /bin/grep -c .`}
			shell.run(t, Options{}, print, withEnv(path, "A=1"), withDir("/")).check(0, "1 /\n3\n")
		})
		t.Run("no env, odd names", func(t *testing.T) {
			path := "PATH=" + shell.tools(t, "dd", "cat", "tr", "sleep")
			r := shell.run(t, Options{}, []string{"/bin/sh", "-c", "exit 6"}, withEnv(path, "odd.name=1"))
			r.check(6, "") // the command runs, but without the variable odd.name
		})
	})
}

func TestScript_EndsIfCommandNotStarted(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		env := withEnv("PATH=" + shell.tools(t, "cat", "tr", "env", "sleep"))
		for _, name := range []string{"/bin/true", "no-such-command"} {
			from := time.Now()
			r := shell.run(t, Options{Stdin: &endlessReader{}}, []string{name}, env)
			if took := time.Since(from); took > 4*time.Second {
				t.Errorf("%s: the run took %s", name, took)
			}
			if code := r.cmd.ProcessState.ExitCode(); code < 0 {
				t.Errorf("%s: the script was killed: %s", name, r.cmd.ProcessState)
			}
		}
	})
}

func TestScript_VariablesAndDirectory(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, "a *b"), 0o700); err != nil {
			t.Fatal(err)
		}
		o := Options{
			Env: []string{"A=", "B=new \n'\"$x*", "SHLVL=3", "PS1=new", "B=newest"},
			Dir: filepath.Join(dir, "a *b"),
		}
		for _, odd := range [][]string{{}, {"odd.name=1", "PS1=old"}} {
			env := slices.Concat(shell.env, []string{"B=old", "PWD=/x"}, odd)
			r := shell.run(t, o, []string{"/bin/cat", "/proc/self/environ"}, withEnv(env...))
			got := splitNUL(r.stdout.String())
			slices.Sort(got)
			want := append(slices.Clone(shell.env), "A=", "B=newest", "SHLVL=3", "PS1=new")
			if len(odd) > 0 {
				want = append(want, odd[0])
			}
			slices.Sort(want)
			pwd := func(s string) bool { return strings.HasPrefix(s, "PWD=") }
			if d := cmp.Diff(want, slices.DeleteFunc(got, pwd)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		}
		shell.run(t, o, sh("readlink /proc/self/cwd; exit $#", "1", "2")).check(2, o.Dir+"\n")
		r := shell.run(t, Options{Dir: dir + "/no"}, []string{"true"})
		if state, _ := r.State(); state != NoDirectory {
			t.Errorf("state %d, want NoDirectory", state)
		}
	})
}
