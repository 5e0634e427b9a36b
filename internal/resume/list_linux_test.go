package resume

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"kshell/internal/agent"
)

// output runs a command that ends, and returns its output.
func (sh shell) output(t *testing.T, argv []string) ([]byte, error) {
	t.Helper()
	var stderr bytes.Buffer
	// Cleanup functions call output, too, when the context of the test has ended.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), waitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, sh.path, argv[1:]...)
	cmd.Env, cmd.Stderr = sh.env, &stderr
	out, err := cmd.Output()
	if stderr.Len() > 0 {
		t.Logf("stderr of %q: %s", argv[3:], &stderr)
	}
	return out, err
}

// list lists the sessions in dirs.
func (sh shell) list(t *testing.T, dirs ...string) []Info {
	t.Helper()
	out, err := sh.output(t, ListArgv(dirs))
	if err != nil {
		t.Fatal(err)
	}
	infos, _, err := ParseList(out)
	if err != nil {
		t.Fatal(err)
	}
	return infos
}

// startSession starts a session, and waits for the Welcome.
func (sh shell) startSession(t *testing.T, s *Start) *attached {
	t.Helper()
	d := sh.begin(t, s)
	if err := d.run(); err != nil {
		t.Fatalf("%v (stderr: %s)", err, &d.stderr)
	}
	a := d.attach()
	a.until(func() bool { return a.welcome != nil })
	t.Cleanup(func() {
		_, _ = sh.output(t, EndArgv(d.Dir(), s.ID)) // fails if the session has ended
	})
	return a
}

func TestList(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		first := newStart(t, "sh", "-c", "exec cat", "a b")
		first.TTY = true
		second := *first
		second.ID, second.Dirs = NewID(), append([]string{first.Dirs[0]}, DefaultDirs...)
		other := newStart(t, "cat")
		other.Stdin = true
		a, b, c := sh.startSession(t, first), sh.startSession(t, &second), sh.startSession(t, other)
		if a.d.Reused() || !b.d.Reused() || b.d.Dir() != a.d.Dir() || c.d.Reused() {
			t.Errorf("directories %s, %s, %s", a.d.Dir(), b.d.Dir(), c.d.Dir())
		}
		infos := sh.list(t, other.Dirs[0], "/no/such", first.Dirs[0])
		var ids []string
		for _, i := range infos {
			ids = append(ids, i.Session)
			if !i.SameMounts || i.Clients != 1 || i.Ended || i.PID == 0 || i.Build != first.Build || len(i.Command) == 0 {
				t.Errorf("%+v", i)
			}
			if want := map[bool]string{true: c.d.Dir(), false: a.d.Dir()}[i.Session == other.ID]; i.Dir != want {
				t.Errorf("directory %s, want %s", i.Dir, want)
			}
		}
		want := []string{first.ID, second.ID, other.ID}
		slices.Sort(ids)
		slices.Sort(want)
		if !slices.Equal(ids, want) {
			t.Errorf("sessions %q, want %q", ids, want)
		}

		// A session ends, and the directory stays for the other one.
		if _, err := sh.output(t, EndArgv(a.d.Dir(), first.ID)); err != nil {
			t.Fatal(err)
		}
		if exit := a.wait(); exit.Kind != agent.Signaled {
			t.Errorf("%+v", exit)
		}
		a.d.wait()
		if infos := sh.list(t, first.Dirs[0]); len(infos) != 1 || infos[0].Session != second.ID {
			t.Errorf("%+v", infos)
		}
		b.d.close()

		// Another client attaches to it.
		d := sh.run(t, AttachArgv(b.d.Dir(), second.ID))
		d.start = &second
		e := d.attach()
		e.until(func() bool { return e.welcome != nil })
		if !e.welcome.Terminal || e.welcome.Session != second.ID {
			t.Errorf("%+v", e.welcome)
		}
		if _, err := sh.output(t, EndArgv(b.d.Dir(), second.ID)); err != nil {
			t.Fatal(err)
		}
		e.wait()
		waitFor(t, "the agent removes its directory", func() bool { return len(names(t, first.Dirs[0])) == 0 })
	})
}

func TestAttach_Gone(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		dir := t.TempDir()
		for _, name := range []string{dir, dir + "/no such", "/etc", "/no'\n$(exit 9)\"", "-x"} {
			for _, argv := range [][]string{AttachArgv(name, "a1"), EndArgv(name, "a1")} {
				out, err := sh.output(t, argv)
				var exit *exec.ExitError
				if !errors.As(err, &exit) || exit.ExitCode() != 3 || len(out) > 0 {
					t.Errorf("%q: %q, %v", argv, out, err)
				}
			}
		}
	})
}

// Old directories of agents without sessions are removed. Nothing else is.
func TestList_Removes(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		s := newStart(t, "cat")
		s.TTY = true
		a := sh.startSession(t, s)
		info := sh.list(t, s.Dirs[0])[0]
		killAgent(t, a, int(info.PID))
		if got := sh.list(t, s.Dirs[0]); len(got) > 0 || len(names(t, a.d.Dir())) != 1 {
			t.Errorf("%+v, files %q; want only the agent", got, names(t, a.d.Dir()))
		}
		partial := filepath.Join(s.Dirs[0], ".kshell-agent-0123456789ab-partial")
		write(t, filepath.Join(partial, "agent"), "#!/no/such\n")
		foreign := filepath.Join(s.Dirs[0], ".kshell-agent-0123456789ab-foreign")
		write(t, filepath.Join(foreign, "a file"), "x")
		named := filepath.Join(s.Dirs[0], ".kshell-agent-x\ny")
		write(t, filepath.Join(named, "agent"), "x")
		write(t, filepath.Join(s.Dirs[0], ".kshell-agent-0123456789ab-file"), "x")
		linked := t.TempDir()
		write(t, filepath.Join(linked, "agent"), "x")
		link(t, linked, filepath.Join(s.Dirs[0], ".kshell-agent-0123456789ab-link"))
		for _, dir := range []string{partial, foreign, named, linked} {
			age(t, dir)
		}
		sh.list(t, s.Dirs[0])
		if _, err := os.Stat(partial); err == nil {
			t.Error("the directory of a partial agent was not removed")
		}
		for _, path := range []string{filepath.Join(foreign, "a file"), filepath.Join(named, "agent"), linked, a.d.Dir()} {
			if _, err := os.Stat(path); err != nil {
				t.Error(err)
			}
		}
		age(t, a.d.Dir())
		out, err := sh.output(t, ListArgv(s.Dirs))
		if err != nil {
			t.Fatal(err)
		}
		if _, removed, err := ParseList(out); err != nil || !slices.Equal(removed, []string{a.d.Dir()}) {
			t.Errorf("removed %q, want the directory of the dead agent; error %v", removed, err)
		}
		if _, err := os.Stat(a.d.Dir()); err == nil {
			t.Error("the directory of a dead agent was not removed")
		}
	})
}

// killAgent kills the serving process of a session, whose command is process
// pid.
func killAgent(t *testing.T, a *attached, pid int) {
	t.Helper()
	if err := syscall.Kill(parentOf(t, pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	a.d.wait()
}

// age makes all files in a directory five minutes old.
func age(t *testing.T, dir string) {
	t.Helper()
	old := time.Now().Add(-5 * time.Minute)
	for _, name := range append(names(t, dir), ".") {
		if err := os.Chtimes(filepath.Join(dir, name), old, old); err != nil {
			t.Fatal(err)
		}
	}
}

// write writes an executable file, and its directory if needed.
func write(t *testing.T, file, text string) {
	t.Helper()
	_ = os.Mkdir(filepath.Dir(file), 0o700)
	// While the file is open for writing, no other process may start: it would
	// inherit the open file, and such a file cannot be executed.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
}

// parentOf returns the parent of a process.
func parentOf(t *testing.T, pid int) int {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "ps", "-o", "ppid=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	parent, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return parent
}
