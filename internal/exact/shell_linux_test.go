package exact

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestTerminalScript(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		for _, test := range []struct {
			name, dir string
			args      []string
			want      string
			state     State
			code      int
		}{
			{
				"a command", "/",
				[]string{"sh", "-c", `echo "$A|${LC_TIME-unset}|$(pwd)|$*"; exit 5`, "sh", "x  y", ""},
				"two words|unset|/|x  y \n", Running, 5,
			},
			{"no such directory", "/no/such", []string{"sh"}, "", NoDirectory, 0},
			{"no such command", "", []string{"no-such"}, "", NoCommand, 0},
		} {
			s := NewShell([]string{"A=two words", IfKnown + "LC_TIME=xx_YY.UTF-8"}, test.dir)
			var out bytes.Buffer
			args := s.Command(test.args)
			cmd := exec.CommandContext(t.Context(), sh.path, args[1:]...)
			terminal := s.Output(&out)
			cmd.Env, cmd.Stdout, cmd.Stderr = sh.env, terminal, terminal
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			if out.String() != test.want || s.State() != test.state || cmd.ProcessState.ExitCode() != test.code {
				t.Errorf("%s: %q, state %v, %v; want %q, %v, %d",
					test.name, out.String(), s.State(), err, test.want, test.state, test.code)
			}
		}
	})
}

// The value of TERM is unchanged, unless the terminfo database has no entry for
// it and one for xterm-256color or xterm.
func TestTerminalScript_Terminfo(t *testing.T) {
	const ghostty, color = "xterm-ghostty", "xterm-256color"
	tests := []struct {
		name string
		dirs map[string][]string // entries of the directories etc, share, home and own ($TERMINFO)
		env  string
		want string
	}{
		{"no database", nil, IfKnown + "TERM=" + ghostty, ghostty},
		{"empty database", map[string][]string{"etc": {}}, IfKnown + "TERM=" + ghostty, ghostty},
		{"known", map[string][]string{"etc": {"xterm", color}, "share": {ghostty}}, IfKnown + "TERM=" + ghostty, ghostty},
		{"known in home", map[string][]string{"etc": {color}, "home": {ghostty}}, IfKnown + "TERM=" + ghostty, ghostty},
		{"known in TERMINFO", map[string][]string{"etc": {color}, "own": {ghostty}}, IfKnown + "TERM=" + ghostty, ghostty},
		{"256 colors", map[string][]string{"etc": {"xterm"}, "share": {color}}, IfKnown + "TERM=" + ghostty, color},
		{"only xterm", map[string][]string{"share": {"xterm", "vt100"}}, IfKnown + "TERM=" + ghostty, "xterm"},
		{"two directories", map[string][]string{"share": {"x/xterm", "78/xterm"}}, IfKnown + "TERM=" + ghostty, "xterm"},
		{"unusual name", map[string][]string{"share": {"xterm"}}, IfKnown + "TERM=/a *$(b)", "xterm"},
		{"set by --env", map[string][]string{"share": {"xterm"}}, "TERM=" + ghostty, ghostty},
	}
	eachShell(t, func(t *testing.T, sh shell) {
		for _, tt := range tests {
			root := t.TempDir()
			for dir, names := range tt.dirs {
				writeTerminfo(t, filepath.Join(root, dir), names)
			}
			args := NewShell([]string{tt.env}, "").Command([]string{"sh", "-c", `printf %s "$TERM" >"$0"`, root + "/result"})
			args[2] = strings.NewReplacer("/etc/terminfo", root+"/etc", "~/.terminfo", root+"/home",
				"/lib/terminfo", root+"/lib", "/usr/share/terminfo", root+"/share").Replace(args[2])
			cmd := exec.CommandContext(t.Context(), sh.path, args[1:]...)
			cmd.Env = slices.Concat(sh.env, []string{"TERM=xterm", "TERMINFO=" + filepath.Join(root, "own")})
			if out, err := cmd.CombinedOutput(); err != nil || bytes.Contains(out, []byte("[:")) { // an error of test
				t.Fatalf("%s: %v: %s", tt.name, err, out)
			}
			if got, _ := os.ReadFile(root + "/result"); string(got) != tt.want {
				t.Errorf("%s: TERM is %q, want %q", tt.name, got, tt.want)
			}
		}
	})
}

// writeTerminfo writes a terminfo database of these entries. The directory of an
// entry is the first character of its name, unless the name contains another.
func writeTerminfo(t *testing.T, dir string, names []string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if !strings.Contains(name, "/") {
			name = name[:1] + "/" + name
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProbeCommand_NotInContainer(t *testing.T) {
	eachShell(t, func(t *testing.T, sh shell) {
		cmd := exec.CommandContext(t.Context(), sh.path, ProbeCommand()[1:]...)
		cmd.Env = sh.env
		var exit *exec.ExitError
		if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() == NoneLeft {
			t.Errorf("%v", err)
		}
	})
}

// The command runs with a made-up /proc, as process 1000 without a parent.
func TestProbeCommand_Processes(t *testing.T) {
	const self, first, child = "1000 (sh) R 0", "1 (sleep) S 0", "1001 (ps) S 1000"
	tests := []struct {
		name  string
		stats []string
		want  int
	}{
		{"no /proc", nil, 2},
		{"no other command", []string{self, first, child}, NoneLeft},
		{"another command", []string{self, first, "7 (cat) S 0"}, 0},
		{"a zombie", []string{self, first, "7 (cat) Z 0"}, NoneLeft},
	}
	eachShell(t, func(t *testing.T, sh shell) {
		for _, tt := range tests {
			proc := t.TempDir()
			for _, stat := range tt.stats {
				pid, _, _ := strings.Cut(stat, " ")
				dir := filepath.Join(proc, pid)
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(stat+" 0 0\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			script := strings.NewReplacer("/proc", proc, "$PPID", "0", "$$", "1000").Replace(ProbeCommand()[2])
			cmd := exec.CommandContext(t.Context(), sh.path, "-c", script)
			cmd.Env = sh.env
			err := cmd.Run()
			if got := cmd.ProcessState.ExitCode(); got != tt.want {
				t.Errorf("%s: exit code %d (%v), want %d", tt.name, got, err, tt.want)
			}
		}
	})
}
