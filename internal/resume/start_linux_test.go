package resume

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"kshell/internal/agent"
)

func TestStart(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		s := newStart(t, "sh", "-c", `echo "$0 $*"; echo error >&2; exit 5`, "a", "b c")
		d := sh.begin(t, s)
		if err := d.run(); err != nil {
			t.Fatalf("%v (stderr: %s)", err, &d.stderr)
		}
		if d.Reused() {
			t.Error("an agent was reused")
		}
		a := d.attach()
		exit := a.wait()
		if got := a.out[agent.Stdout].String(); got != "a b c\n" || exit.Kind != agent.Exited || exit.Code != 5 {
			t.Errorf("stdout %q, exit %+v", got, exit)
		}
		if got := a.out[agent.Stderr].String(); got != "error\n" {
			t.Errorf("stderr %q", got)
		}
		d.wait()
		waitFor(t, "the agent removes its directory", func() bool { return len(names(t, s.Dirs[0])) == 0 })
		if d.stderr.Len() > 0 {
			t.Errorf("stderr of the script: %s", &d.stderr)
		}
	})
}

// tools are the tools that the script uses if the container has all of them.
var tools = []string{"cat", "chmod", "dd", "gzip", "mkdir", "rm", "rmdir", "uname"}

// without returns tools without some of them, and with others.
func without(names string, others ...string) []string {
	kept := slices.DeleteFunc(slices.Clone(tools), func(name string) bool {
		return slices.Contains(strings.Fields(names), name)
	})
	return append(kept, others...)
}

func TestStart_FewTools(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		for _, test := range []struct {
			name  string
			tools []string
			raw   bool   // the agent is not packed
			want  string // the error, or empty
		}{
			{"usual", tools, false, ""},
			{"gunzip", without("gzip"), false, ""},
			{"busybox", without("gzip", "busybox"), false, ""},
			{"neither gzip nor gunzip", without("gzip"), true, ""},
			{"head, no dd", without("dd", "head"), false, ""},
			{"no uname", without("uname", "head"), false, ""},
			{"neither uname nor head", without("uname"), false, ""},
			{"neither dd nor head", without("dd"), false, "missing: dd or head"},
			{"no chmod", without("chmod"), false, "missing: chmod"},
			{"no mkdir", without("mkdir"), false, "missing: mkdir"},
			{"nothing", nil, false, ""},
		} {
			t.Run(test.name, func(t *testing.T) {
				if sh.standalone() && (len(test.tools) < len(tools) || test.want != "") {
					return // the shell has these tools built in
				}
				s := newStart(t, "/bin/sh", "-c", "exit 5")
				var total int64
				s.Progress = func(_, n int64) { total = n }
				few := sh.withTools(t, test.tools...)
				if test.name == "gunzip" {
					write(t, filepath.Join(strings.TrimPrefix(few.env[0], "PATH="), "gunzip"), "#!/bin/sh\nexec /usr/bin/gzip -dc\n")
				}
				d := few.beginWith(t, s, onlyPath)
				err := d.run()
				var unable *UnableError
				switch {
				case test.want != "" || test.tools == nil:
					if !errors.As(err, &unable) || !strings.Contains(unable.Reason, test.want) {
						t.Errorf("error %v, want %s", err, test.want)
					}
				case err != nil:
					t.Fatalf("%v (stderr: %s)", err, &d.stderr)
				default:
					if exit := d.attach().wait(); exit.Code != 5 {
						t.Errorf("%+v", exit)
					}
					if raw := total > int64(len(s.Agent(runtime.GOARCH))); raw != test.raw {
						t.Errorf("%d bytes were uploaded; want a raw upload: %v", total, test.raw)
					}
				}
				d.close()
				waitFor(t, "nothing is left", func() bool { return len(names(t, s.Dirs[0])) == 0 })
			})
		}
		t.Run("a head that reads ahead, and no dd", func(t *testing.T) {
			if sh.standalone() {
				return // the shell has head built in
			}
			s := newStart(t, "true")
			few := sh.withTools(t, without("dd")...)
			write(t, filepath.Join(strings.TrimPrefix(few.env[0], "PATH="), "head"),
				"#!/bin/sh\n/bin/cat | /usr/bin/head \"$@\"\n")
			d := few.beginWith(t, s, onlyPath)
			var unable *UnableError
			if err := d.run(); !errors.As(err, &unable) || !strings.Contains(unable.Reason, "no dd or head") {
				t.Errorf("error %v", err)
			}
			d.close()
			if left := names(t, s.Dirs[0]); len(left) > 0 {
				t.Errorf("left: %q", left)
			}
		})
	})
}

// A tool that fails while the agent is received ends the script.
func TestStart_ToolFails(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		if sh.standalone() {
			return // it does not use these tools
		}
		for _, tool := range []string{"dd", "gzip", "chmod", "mkdir"} {
			for _, how := range []string{"exit 1", "kill -9 $$"} {
				t.Run(tool+" "+how, func(t *testing.T) {
					s := newStart(t, "true")
					few := sh.withTools(t, without(tool)...)
					script := "#!/bin/sh\ncase $* in *count=0*) ;; *) " + how + ";; esac\n"
					write(t, filepath.Join(strings.TrimPrefix(few.env[0], "PATH="), tool), script)
					d := few.beginWith(t, s, onlyPath)
					err := d.run()
					var unable *UnableError
					if !errors.As(err, &unable) {
						t.Errorf("error %v", err)
					}
					d.close()
					waitFor(t, "nothing is left", func() bool { return len(names(t, s.Dirs[0])) == 0 })
				})
			}
		}
	})
}

// If a directory cannot be used, the next one is used.
func TestStart_NextDirectory(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		first, second := t.TempDir(), t.TempDir()
		for _, test := range []struct{ name, mount, want string }{
			{"noexec", "mount -t tmpfs -o noexec none " + first, "files there cannot be executed|the agent does not run: "},
			{"read-only", "mount -t tmpfs -o ro none " + first, "no directory can be (written|created)"},
			{"full", "mount -t tmpfs -o size=300k none " + first, "the agent cannot be written: "},
			{"no inodes", "mount -t tmpfs -o nr_inodes=1 none " + first, "no directory can be created: "},
			{"no inode for the file", "mount -t tmpfs -o nr_inodes=2 none " + first, "files there cannot be executed"},
			{"read-only root", "mount --bind / / && mount -o remount,ro,bind / && mount -t tmpfs none " + second, ""},
		} {
			t.Run(test.name, func(t *testing.T) {
				sh := sh.withMounts(t, test.mount)
				s := newStart(t, "/bin/sh", "-c", "exit 5")
				s.Dirs = []string{"/no/such", first}
				if test.want != "" {
					d := sh.begin(t, s)
					var unable *UnableError
					if err := d.run(); !errors.As(err, &unable) || !regexp.MustCompile(test.want).MatchString(unable.Reason) {
						t.Errorf("error %v, want %s", err, test.want)
					}
					d.close()
				}
				s.Dirs = append(s.Dirs, second)
				d := sh.begin(t, s)
				if exit := d.mustRun().wait(); exit.Code != 5 || filepath.Dir(d.Dir()) != second {
					t.Errorf("%+v, directory %s", exit, d.Dir())
				}
				d.close()
				waitFor(t, "nothing is left", func() bool { return len(names(t, second)) == 0 })
			})
		}
	})
}

// If an agent does not run, the next directory is used.
func TestStart_AgentDoesNotRun(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		s := newStart(t, "true")
		s.Dirs = append(s.Dirs, t.TempDir())
		broken := testStart(t, []byte("\x7fELF, broken"))
		s.Agent = func(string) []byte { return broken.Agent("amd64") }
		d := sh.begin(t, s)
		err := d.run()
		var unable *UnableError
		if !errors.As(err, &unable) || strings.Count(unable.Reason, ": the agent does not run: ") != 2 {
			t.Errorf("error %v", err)
		}
		d.close()
		for _, dir := range s.Dirs {
			if left := names(t, dir); len(left) > 0 {
				t.Errorf("left in %s: %q", dir, left)
			}
		}
	})
}

// The shell may have no /proc.
func TestStart_NoProc(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		sh = sh.withMounts(t, "mount -t tmpfs none /proc")
		s := newStart(t, "/bin/sh", "-c", "exit 5")
		d := sh.begin(t, s)
		if exit := d.mustRun().wait(); exit.Code != 5 {
			t.Errorf("%+v", exit)
		}
		waitFor(t, "nothing is left", func() bool { return len(names(t, s.Dirs[0])) == 0 })
	})
}

// The agent is also removed if the path of its directory contains a link.
func TestStart_LinkedDirectory(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		s := newStart(t, "/bin/sh", "-c", "exit 5")
		dir := s.Dirs[0]
		s.Dirs[0] = filepath.Join(t.TempDir(), "link")
		link(t, dir, s.Dirs[0])
		if exit := sh.begin(t, s).mustRun().wait(); exit.Code != 5 {
			t.Errorf("%+v", exit)
		}
		waitFor(t, "nothing is left", func() bool { return len(names(t, dir)) == 0 })
	})
}

// Another user has no home directory, and may not read the shell.
func TestStart_OtherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can run a process as another user")
	}
	eachShell(t, func(t *testing.T, sh shell) {
		sh.cred = &syscall.Credential{Uid: 12345, Gid: 12345}
		s := newStart(t, "/bin/sh", "-c", "exit 5")
		openDirs(t, s.Dirs[0], filepath.Dir(sh.path))
		if err := os.Chmod(s.Dirs[0], 0o777|os.ModeSticky); err != nil {
			t.Fatal(err)
		}
		d := sh.begin(t, s)
		if exit := d.mustRun().wait(); exit.Code != 5 {
			t.Errorf("%+v", exit)
		}
		d.close()
		waitFor(t, "nothing is left", func() bool { return len(names(t, s.Dirs[0])) == 0 })
	})
}

// openDirs lets all users enter directories of the test.
func openDirs(t *testing.T, dirs ...string) {
	t.Helper()
	for _, dir := range dirs {
		for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
			if err := os.Chmod(dir, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// If the script is ended before the agent runs, it leaves no file.
func TestStart_Cut(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		for name, end := range map[string]func(d *dialogue){
			"the connection ends": func(d *dialogue) { d.stdin.Close() },
			"all streams end":     func(d *dialogue) { d.stdin.Close(); d.stdout.Close() },
			"HUP":                 func(d *dialogue) { d.signal(syscall.SIGHUP) },
			"TERM":                func(d *dialogue) { d.signal(syscall.SIGTERM) },
			"INT":                 func(d *dialogue) { d.signal(syscall.SIGINT) },
		} {
			for at := range int64(3) { // the number of blocks that were received
				t.Run(fmt.Sprint(name, at), func(t *testing.T) {
					s := newStart(t, "true")
					var blocks int64
					s.Progress = func(sent, _ int64) { blocks = (sent + blockSize - 1) / blockSize }
					d := sh.begin(t, s)
					for d.send(); blocks < at || !d.prepared; {
						if err := d.step(); err != nil {
							t.Fatal(err)
						}
					}
					waitFor(t, "the directory is made", func() bool { return at == 0 || len(names(t, s.Dirs[0])) > 0 })
					end(d)
					d.wait()
					for _, name := range names(t, s.Dirs[0]) {
						t.Errorf("left: %s with %q; the script: %s", name, names(t, filepath.Join(s.Dirs[0], name)), d.cmd.ProcessState)
					}
				})
			}
		}
	})
}

// signal sends a signal to the processes of the script until it has ended. A shell
// may lose a signal that arrives while it starts a process.
func (d *dialogue) signal(number syscall.Signal) {
	d.t.Helper()
	waitFor(d.t, "the script ends", func() bool {
		_ = syscall.Kill(-d.cmd.Process.Pid, number)
		select {
		case <-d.exited:
			return true
		case <-time.After(100 * time.Millisecond):
			return false
		}
	})
}

// Nothing that the user passes, and no variable of the container, is a part of
// the script.
func TestStart_Quoting(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		odd := []string{
			"", "a\nb\n", `"'\`, "$x", "$(touch evil)", "`touch evil`", "*", "-n", "--", "-", "k=v", "=", " a  b ", "~", "!",
			";", "&", "#", "\xff\x01", "\\n", "%s", "id=x", "dir=/", "'; touch evil; '",
		}
		s := newStart(t, append([]string{"/bin/sh", "-c", `printf '%s\0' "$@" "$A" "$B"; ls`, "-x"}, odd...)...)
		s.Env = []string{"A=" + strings.Join(odd, "|"), "B=-- $(touch evil)\n'"}
		parent := t.TempDir()
		s.Dirs = []string{filepath.Join(parent, "-a b'\"$(touch evil)`touch evil`;*?[x]&|<>#~!"), filepath.Join(parent, "b")}
		for _, dir := range s.Dirs {
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
		}
		sh.env = append(sh.env, "BASH_FUNC_dd%%=() { touch evil; }", "BASH_FUNC_test%%=() { touch evil; }", "IFS=/",
			"TMOUT=1", "k_n=1", "ka=$(touch evil)", "PS4=$(touch evil)", "SHELLOPTS=xtrace", "ENV=/no/such")
		d := sh.begin(t, s)
		a := d.mustRun()
		a.wait()
		want := strings.Join(append(slices.Clone(odd), strings.TrimPrefix(s.Env[0], "A="), s.Env[1][2:]), "\x00") + "\x00"
		if got := a.out[agent.Stdout].String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if filepath.Dir(d.Dir()) != s.Dirs[0] {
			t.Errorf("directory %s", d.Dir())
		}
		for _, dir := range append(s.Dirs, parent, d.cmd.Dir) {
			if found := names(t, dir); slices.Contains(found, "evil") {
				t.Errorf("%s: %q", dir, found)
			}
		}
	})
}

// The command has the environment, directory, umask, signals and limits of a
// command that the runtime starts.
func TestStart_ProcessUnchanged(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		sh.env = append(sh.env, "PWD=/elsewhere", "OLDPWD=/old", "SHLVL=7", "_=x", "IFS=x", "odd.name=1", "EMPTY=", "LF=a\nb",
			"HOME=/root", "OPTIND=3", "PS4=q")
		for _, args := range [][]string{
			{"/bin/cat", "/proc/self/environ"},
			{"/usr/bin/grep", "-E", "^(Sig(Ign|Blk|Cgt)|Umask|Cap|NoNewPrivs|Uid|Gid|Groups)", "/proc/self/status"},
			{"/bin/readlink", "/proc/self/cwd"},
			{"/bin/cat", "/proc/self/limits", "/proc/self/oom_score_adj", "/proc/self/cmdline", "/proc/self/comm"},
		} {
			d := sh.begin(t, newStart(t, args...))
			a := d.mustRun()
			a.wait()
			direct := &exec.Cmd{Path: args[0], Args: args, Env: sh.env, Dir: d.cmd.Dir}
			want, err := direct.Output()
			if err != nil {
				t.Fatal(err)
			}
			if got := a.out[agent.Stdout].String(); sortNUL(got) != sortNUL(string(want)) {
				t.Errorf("%q:\n%q\nwant\n%q", args, got, want)
			}
		}
	})
}

// The command has no descriptors of the script or the agent.
func TestStart_Descriptors(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		a := sh.begin(t, newStart(t, "/bin/ls", "/proc/self/fd")).mustRun()
		a.wait()
		if got := a.out[agent.Stdout].String(); got != "0\n1\n2\n3\n" { // 3 is the directory
			t.Errorf("descriptors %q", got)
		}
	})
}

// sortNUL returns a list of NUL-terminated strings in order.
func sortNUL(list string) string {
	parts := strings.Split(list, "\x00")
	slices.Sort(parts)
	return strings.Join(parts, "\x00")
}

// An agent in a directory of Fallback is reused only if no directory of Dirs is
// writable.
func TestStart_Fallback(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		first := newStart(t, "cat")
		first.TTY = true
		a := sh.startSession(t, first)
		second := newStart(t, "cat")
		second.TTY, second.Fallback = true, first.Dirs
		b := sh.startSession(t, second)
		if b.d.Reused() || filepath.Dir(b.d.Dir()) != second.Dirs[0] {
			t.Errorf("a directory of Dirs is writable: directory %s", b.d.Dir())
		}
		third := *second
		third.ID, third.Dirs = NewID(), []string{"/no/such"}
		c := sh.startSession(t, &third)
		if !c.d.Reused() || c.d.Dir() != a.d.Dir() {
			t.Errorf("no directory of Dirs is writable: directory %s, want %s", c.d.Dir(), a.d.Dir())
		}
	})
}

// Only an agent of the same build, in a directory of the same user, is reused.
func TestStart_Reuse(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		s := newStart(t, "cat")
		s.TTY = true
		evil := filepath.Join(t.TempDir(), "evil")
		fake := "#!/bin/sh\n>" + evil + "\necho 'kshell-agent 1 " + s.Build + "'\n"
		dirs := func(name string) string { return filepath.Join(s.Dirs[0], s.namePrefix()+name) }
		if err := syscall.Mkfifo(dirs("0fifo"), 0o777); err != nil {
			t.Fatal(err)
		}
		write(t, dirs("1file"), fake)
		write(t, filepath.Join(dirs("2broken"), "agent"), "#!/bin/sh\necho kshell-agent 1 other\n")
		elsewhere := t.TempDir()
		write(t, filepath.Join(elsewhere, "agent"), fake)
		link(t, elsewhere, dirs("3link"))
		if os.Getuid() == 0 {
			write(t, filepath.Join(dirs("4other"), "agent"), fake)
			write(t, filepath.Join(dirs("5other"), "agent"), fake)
			for _, name := range []string{dirs("4other"), filepath.Join(dirs("5other"), "agent")} {
				if err := os.Chown(name, 12345, 12345); err != nil {
					t.Fatal(err)
				}
			}
		}
		a := sh.startSession(t, s)
		if _, err := os.Stat(evil); err == nil || a.d.Reused() {
			t.Errorf("reused %v, the agent of another user was run: %v", a.d.Reused(), err == nil)
		}
		second := *s
		second.ID = NewID()
		b := sh.startSession(t, &second)
		if !b.d.Reused() || b.d.Dir() != a.d.Dir() {
			t.Errorf("reused %v: %s", b.d.Reused(), b.d.Dir())
		}
		if _, err := os.Stat(evil); err == nil {
			t.Error("the agent of another user was run")
		}
	})
}

// A connection that is lost when the agent has started, before kshell knows it,
// leaves a session that waits for its first client. The next start attaches to
// it.
func TestStart_Again(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		s := newStart(t, "/bin/sh", "-c", "echo once; exit 5")
		lost := sh.begin(t, s)
		if err := lost.run(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the session has its socket", func() bool {
			_, err := os.Stat(filepath.Join(lost.Dir(), "s-"+s.ID))
			return err == nil
		})
		lost.close()
		d := sh.begin(t, s)
		a := d.mustRun()
		if exit := a.wait(); exit.Code != 5 || a.out[agent.Stdout].String() != "once\n" || !d.Reused() {
			t.Errorf("%+v, output %q, reused %v", exit, &a.out[agent.Stdout], d.Reused())
		}
		waitFor(t, "nothing is left", func() bool { return len(names(t, s.Dirs[0])) == 0 })
	})
}

// The bytes that follow the dialogue belong to the agent, however they arrive.
func TestStart_NothingReadAhead(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		s := newStart(t, "/bin/sh", "-c", "wc -c")
		s.Stdin = true
		for range 3 { // the first start uploads the agent, unless it was removed
			s.ID = NewID()
			d := sh.begin(t, s)
			a := d.mustRun()
			const size = 300_000
			for left := size; left > 0; {
				a.until(func() bool { return a.welcome != nil && a.InputRoom() > 0 })
				left -= a.Input(make([]byte, left))
				a.receive(nil)
			}
			a.EndInput()
			a.receive(nil)
			a.wait()
			if got := strings.TrimSpace(a.out[agent.Stdout].String()); got != fmt.Sprint(size) {
				t.Errorf("the command has read %s bytes", got)
			}
		}
	})
}

// The script reads the limits of cgroup v1 and v2.
func TestStart_Headroom(t *testing.T) {
	const tight = "33554432\n" // 32 MiB
	eachShell(t, func(t *testing.T, sh shell) {
		for _, test := range []struct {
			name  string
			files map[string]string
			want  string // the error, or empty
		}{
			{"no cgroup", nil, ""},
			{"v2", map[string]string{
				"memory.max": "max\n", "memory.current": tight, "memory.stat": "anon 1\n",
				"pids.max": "max\n", "pids.current": "9\n",
			}, ""},
			{"v2, cache", map[string]string{
				"memory.max": "67108864\n", "memory.current": "60000000\n", "memory.stat": "anon 1\ninactive_file 50000000\nx 1\n",
			}, ""},
			{"v2, memory", map[string]string{
				"memory.max": "67108864\n", "memory.current": "60000000\n", "memory.stat": "anon 1\ninactive_file 10000000\nx 1\n",
			}, "only 16 MiB of memory are free"},
			{"v2, an empty file", map[string]string{
				"memory.max": "16777216\n", "memory.current": "0\n", "pids.max": "",
			}, "only 16 MiB"},
			{"v2, processes", map[string]string{"pids.max": "20\n", "pids.current": "5\n"}, "only 15 more processes"},
			{"v1", map[string]string{
				"memory/memory.limit_in_bytes": "9223372036854771712\n", "memory/memory.usage_in_bytes": tight,
				"pids/pids.max": "max\n",
			}, ""},
			{"v1, memory", map[string]string{
				"memory/memory.limit_in_bytes": "67108864\n", "memory/memory.usage_in_bytes": "60000000\n",
				"memory/memory.stat": "cache 5\ntotal_inactive_file 10000000\n",
			}, "only 16 MiB"},
			{"v1, processes", map[string]string{"pids/pids.max": "20\n", "pids/pids.current": "10\n"}, "only 10 more processes"},
		} {
			t.Run(test.name, func(t *testing.T) {
				s := newStart(t, "/bin/sh", "-c", "exit 5")
				cgroup := t.TempDir()
				for name, text := range test.files {
					file := filepath.Join(cgroup, name)
					write(t, file, text)
				}
				d := sh.beginWith(t, s, strings.NewReplacer("/sys/fs/cgroup", cgroup))
				err := d.run()
				var unable *UnableError
				switch {
				case test.want == "" && err == nil:
					d.attach().wait()
				case test.want == "" || !errors.As(err, &unable) || !strings.Contains(unable.Reason, test.want):
					t.Errorf("error %v, want %q", err, test.want)
				}
				d.close()
				waitFor(t, "nothing is left", func() bool { return len(names(t, s.Dirs[0])) == 0 })
			})
		}
	})
}
