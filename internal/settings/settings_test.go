package settings

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// env returns an os.LookupEnv that knows only the given variables.
func env(variables map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := variables[name]
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

const contents = `
shell: zsh
contexts:
  prod: {namespace: web, shell: bash}
  empty:
`

func TestSettings_Precedence(t *testing.T) {
	path := write(t, contents)
	file, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		file      *File
		context   string
		variables map[string]string
		shell     Value
		namespace Value
	}{
		{
			"file", file, "dev", nil,
			Value{"shell", "zsh", path, false},
			Value{"namespace", "", "default", false},
		},
		{
			"context in the file", file, "prod", nil,
			Value{"shell", "bash", path + ", context prod", true},
			Value{"namespace", "web", path + ", context prod", true},
		},
		{
			"context without settings", file, "empty", nil,
			Value{"shell", "zsh", path, false},
			Value{"namespace", "", "default", false},
		},
		{
			"variable", file, "prod",
			map[string]string{"KSHELL_SHELL": "fish", "KSHELL_NAMESPACE": "db"},
			Value{"shell", "fish", "variable KSHELL_SHELL", false},
			Value{"namespace", "db", "variable KSHELL_NAMESPACE", false},
		},
		{
			"empty variable", file, "dev",
			map[string]string{"KSHELL_SHELL": ""},
			Value{"shell", "zsh", path, false},
			Value{"namespace", "", "default", false},
		},
		{
			"no file", nil, "prod",
			map[string]string{"KSHELL_SHELL": "fish"},
			Value{"shell", "fish", "variable KSHELL_SHELL", false},
			Value{"namespace", "", "default", false},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := tt.file.Settings(tt.context, env(tt.variables))
			if diff := cmp.Diff([]Value{tt.shell, tt.namespace}, []Value{s.Shell, s.Namespace}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestSettings_EveryKey checks that each key sets the field of the same name.
func TestSettings_EveryKey(t *testing.T) {
	path := write(t, "namespace: a\nshell: b\nescape-char: c\nkeepalive: d\nidle-keepalive: false\n"+
		"http-credentials: drop\nnode-image: e\nheadlamp: f\nheadlamp-cluster: g\nheadlamp-stateless: h\n"+
		"resume: i\nresume-dir: j\nreason: k\nguard: l\nidle-timeout: m\nrecord-notice: true\n")
	file, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	got := file.Settings("", env(nil))
	want := Settings{
		Namespace:  Value{"namespace", "a", path, false},
		Shell:      Value{"shell", "b", path, false},
		EscapeChar: Value{"escape-char", "c", path, false},
		Keepalive:  Value{"keepalive", "d", path, false},
		Idle:       Value{"idle-keepalive", "false", path, false},
		HTTP:       Value{"http-credentials", "drop", path, false},
		NodeImage:  Value{"node-image", "e", path, false},
		Headlamp:   Value{"headlamp", "f", path, false},
		Cluster:    Value{"headlamp-cluster", "g", path, false},
		Stateless:  Value{"headlamp-stateless", "h", path, false},
		Resume:     Value{"resume", "i", path, false},
		ResumeDir:  Value{"resume-dir", "j", path, false},
		Guard:      Value{"guard", "l", path, false},
		Reason:     Value{"reason", "k", path, false},

		IdleTimeout: Value{"idle-timeout", "m", path, false},
		Record:      Value{"record-notice", "true", path, false},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var listed []string
	for _, v := range got.All() {
		listed = append(listed, v.Key)
	}
	if diff := cmp.Diff(keys, listed); diff != "" {
		t.Errorf("All (-want +got):\n%s", diff)
	}
	if got := file.Settings("", env(map[string]string{"KSHELL_REASON": "INC-1"})); got.Reason.Text != "k" {
		t.Errorf("the variable with the reason changed the setting: %+v", got.Reason)
	}
	if v, _ := env(map[string]string{"KSHELL_ESCAPE_CHAR": "%"})(variable("escape-char")); v != "%" {
		t.Errorf("variable of escape-char: %s", variable("escape-char"))
	}
}

func TestLoad_MissingFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none", "config.yaml"))
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
}

func TestLoad_InvalidContents(t *testing.T) {
	const notMapping = "the file is not a YAML mapping of keys to values: error converting YAML to JSON: yaml: "
	tests := []struct{ name, text, want string }{
		{"unknown key", "shel: zsh", `unknown setting "shel"`},
		{"unknown key in a context", "contexts: {a: {shel: zsh}}", `unknown setting "shel" of context "a"`},
		{"list as value", "shell: [a]", `the value of setting "shell" is not a string`},
		{"boolean as value", "keepalive: true", `the value of setting "keepalive" is not a string`},
		{"number as value", "keepalive: 30", `the value of setting "keepalive" is not a string`},
		{"key in another case", "Shell: zsh", `unknown setting "Shell"`},
		{"not YAML", "shell: 'x", notMapping + "found unexpected end of stream"},
		{"duplicate key", "shell: a\nshell: b", notMapping + "unmarshal errors:"},
		{"contexts is a number", "contexts: 3", `"contexts" is not a mapping of context names to settings`},
		{"context is a number", "contexts: {a: 3}", `context "a" is not a mapping of keys to values`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, tt.text)
			_, err := Load(path)
			var invalid *FileError
			if !errors.As(err, &invalid) || invalid.Reason != tt.want || invalid.Path != path {
				t.Errorf("got error %v, want %s: %s", err, path, tt.want)
			}
		})
	}
}

func TestLoad_EndlessFile(t *testing.T) {
	if _, err := os.Stat("/dev/zero"); err != nil {
		t.Skip("this system has no /dev/zero")
	}
	_, err := Load("/dev/zero")
	var invalid *FileError
	if !errors.As(err, &invalid) {
		t.Errorf("got error %v, want a *FileError", err)
	}
}
