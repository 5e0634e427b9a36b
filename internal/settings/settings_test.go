package settings

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func variables(set map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := set[name]
		return value, ok
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const file = `
shell: zsh
contexts:
  prod: {namespace: web, shell: bash}
  empty:
`

func TestTheNearestSourceWins(t *testing.T) {
	path := write(t, file)
	tests := []struct {
		name, key, context string
		set                map[string]string
		want               Value
	}{
		{"the file", Shell, "dev", nil, Value{Shell, "zsh", path}},
		{"the context's part of it", Shell, "prod", nil, Value{Shell, "bash", path + ", context prod"}},
		{"a context without settings", Shell, "empty", nil, Value{Shell, "zsh", path}},
		{"a variable", Shell, "prod", map[string]string{"KSHELL_SHELL": "fish"}, Value{Shell, "fish", "variable KSHELL_SHELL"}},
		{"an empty variable is none", Shell, "dev", map[string]string{"KSHELL_SHELL": ""}, Value{Shell, "zsh", path}},
		{"nothing", Namespace, "dev", nil, Value{Namespace, "", "default"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Load(path, variables(tt.set))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, s.Get(tt.key, tt.context)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestLoad_MissingFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none", "config.yaml"), variables(nil))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestNone_VariablesOnly(t *testing.T) {
	s := None(variables(map[string]string{"KSHELL_SHELL": "fish"}))
	if got := s.Get(Shell, "x").Value; got != "fish" {
		t.Errorf("shell %q, want the variable's", got)
	}
	if got := s.Get(Namespace, "x"); got != (Value{Namespace, "", "default"}) {
		t.Errorf("namespace %+v, want none", got)
	}
}

func TestAMistakeInTheFileIsNotASettingLost(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"a typo", "shel: zsh", `there is no setting "shel"`},
		{"a typo for a context", "contexts: {a: {shel: zsh}}", `there is no setting "shel" of context "a"`},
		{"no text", "shell: [a]", `the setting "shell" is no text`},
		{"no YAML", "shell: 'x", "no YAML of keys and values: error converting YAML to JSON: yaml: found unexpected end of stream"},
		{"twice", "shell: a\nshell: b", "no YAML of keys and values: error converting YAML to JSON: yaml: unmarshal errors:"},
		{"contexts of another kind", "contexts: 3", "contexts holds no names with settings"},
		{"a context of another kind", "contexts: {a: 3}", `context "a" holds no settings`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.text)
			_, err := Load(path, variables(nil))
			var wrong *FileError
			if !errors.As(err, &wrong) || wrong.Words != tt.want || wrong.Path != path {
				t.Errorf("error %v, want %s: %s", err, path, tt.want)
			}
		})
	}
}

func TestAFileWithoutEndIsNotReadForEver(t *testing.T) {
	if _, err := os.Stat("/dev/zero"); err != nil {
		t.Skip("this system has no /dev/zero")
	}
	_, err := Load("/dev/zero", variables(nil))
	var wrong *FileError
	if !errors.As(err, &wrong) {
		t.Errorf("error %v", err)
	}
}
