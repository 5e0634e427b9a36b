//go:build unix

package contract

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// withSettings returns p with a settings file.
func (p Program) withSettings(t *testing.T, settings string) Program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "settings.yaml")
	if err := os.WriteFile(path, []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Env = append(slices.Clip(p.Env), "KSHELL_CONFIG="+path)
	return p
}

// traced runs test with the name of a new file, and checks how often a command
// in pod web has added a line to the file.
func traced(t *testing.T, p Program, want int, test func(command []string)) {
	t.Helper()
	file := fmt.Sprintf("/tmp/kshell-guard-%d", time.Now().UnixNano())
	test([]string{"--", "sh", "-c", "echo ran >>" + file + "; exit 4"})
	r := p.Run(t, nil, "exec", "web", "--", "sh", "-c", "cat "+file+" 2>/dev/null; rm -f "+file)
	if got := strings.Count(r.Out, "ran\n"); got != want || r.Code != 0 {
		t.Errorf("the command ran %d times, want %d; %+v", got, want, r)
	}
}

// Guard checks the settings guard and reason. name is the name of the current
// context.
func Guard(t *testing.T, p Program, name string) {
	guarded := p.withSettings(t, "contexts:\n  "+name+": {guard: ask}\n")
	const question = `type the name of the context to continue: `
	for _, c := range []struct {
		name, typed string
		args        []string
		code, runs  int
	}{
		{"the name is typed", name + "\r", []string{"exec", "web"}, 4, 1},
		{"another name is typed", "x" + name + "\r", []string{"exec", "web"}, 2, 0},
		{"only Enter is typed", "\r", []string{"exec", "web"}, 2, 0},
		{"Ctrl-D", "\x04", []string{"exec", "web"}, 2, 0},
		{"Ctrl-C", "\x03", []string{"exec", "web"}, 130, 0},
		{"in all pods", name + "\r", []string{"exec", "pod/web", "--all"}, 4, 1},
		{"in no pods", "y\r", []string{"exec", "pod/web", "--all"}, 2, 0},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			traced(t, p, c.runs, func(command []string) {
				w := guarded.Open(t, slices.Concat(c.args, command)...)
				w.WaitFor("kshell: context " + name + ": the command sh -c .* in (pod/web|1 pod), namespace default\r\n")
				w.WaitFor(question)
				w.Type(c.typed)
				w.CheckExit(c.code)
			})
		})
	}
	t.Run("a_shell", func(t *testing.T) {
		t.Parallel()
		w := guarded.Open(t, "exec", "web")
		w.WaitFor("kshell: context " + name + ": a shell in pod/web, namespace default\r\n")
		w.WaitFor(question)
		w.Type(name + "\r")
		w.WaitFor(`[$#] `)
		w.exitShell(3)
	})
	t.Run("stdin_is_data", func(t *testing.T) {
		t.Parallel()
		sh := guarded
		sh.Path = "/bin/sh"
		w := sh.Open(t, "-c", `printf 'not the name\n' | "$0" exec -i web -- sed 's/^/got: /'`, guarded.Path)
		w.WaitFor(question)
		w.Type(name + "\r")
		w.WaitFor("got: not the name\r\n")
		w.CheckExit(0)
	})
	t.Run("stderr_is_a_file", func(t *testing.T) {
		t.Parallel()
		sh := guarded
		sh.Path = "/bin/sh"
		w := sh.Open(t, "-c", `"$0" exec web -- echo out''put 2>/dev/null`, guarded.Path)
		w.WaitFor(question)
		w.Type(name + "\r")
		w.WaitFor("output\r\n")
		w.CheckExit(0)
	})
	t.Run("without_a_terminal", func(t *testing.T) { guardWithoutTerminal(t, p, guarded, name) })
	t.Run("reason", func(t *testing.T) { requiredReason(t, p, name) })
}

// guardWithoutTerminal checks --confirm-context.
func guardWithoutTerminal(t *testing.T, p, guarded Program, name string) {
	for _, c := range []struct {
		name       string
		p          Program
		flags      []string
		code, runs int
		err        string
	}{
		{"no flag", guarded, nil, 2, 0, "hint: --confirm-context " + name + "\n"},
		{"the flag", guarded, []string{"--confirm-context", name}, 4, 1, ""},
		{"another name", guarded, []string{"--confirm-context", "x"}, 2, 0, `the context is "` + name + `"`},
		{"an empty name", guarded, []string{"--confirm-context="}, 2, 0, `the context is "` + name + `"`},
		{"no setting", p, []string{"--confirm-context", name}, 4, 1, ""},
		{"no setting, another name", p, []string{"--confirm-context", "x"}, 2, 0, `the context is "` + name + `"`},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			traced(t, p, c.runs, func(command []string) {
				args := slices.Concat([]string{"exec", "-i"}, c.flags, []string{"web"}, command)
				r := c.p.Run(t, []byte(name+"\n"), args...)
				if r.Code != c.code || !strings.Contains(r.Err, c.err) {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

// requiredReason checks the setting reason.
func requiredReason(t *testing.T, p Program, name string) {
	required := p.withSettings(t, "contexts:\n  "+name+": {reason: required}\n")
	for _, c := range []struct {
		name, typed string
		code, runs  int
	}{
		{"typed", "INC-1\r", 4, 1},
		{"nothing", "\r", 2, 0},
		{"Ctrl-C", "\x03", 130, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			traced(t, p, c.runs, func(command []string) {
				w := required.Open(t, append([]string{"exec", "web"}, command...)...)
				w.WaitFor("kshell: reason for the audit log: ")
				w.Type(c.typed)
				w.CheckExit(c.code)
			})
		})
	}
	t.Run("without_a_terminal", func(t *testing.T) {
		t.Parallel()
		traced(t, p, 1, func(command []string) {
			r := required.Run(t, nil, append([]string{"exec", "web"}, command...)...)
			if r.Code != 2 || !strings.Contains(r.Err, "hint: --reason TEXT") {
				t.Errorf("%+v", r)
			}
			r = required.Run(t, nil, append([]string{"exec", "--reason", "INC-1", "web"}, command...)...)
			if r.Code != 4 || r.Err != "" {
				t.Errorf("%+v", r)
			}
		})
	})
}
