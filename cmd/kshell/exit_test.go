package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/cleanup"
	"kshell/internal/kubeconfig"
	"kshell/internal/notice"
	"kshell/internal/pod"
	"kshell/internal/stream"
)

func targetError(t *testing.T) error {
	t.Helper()
	_, err := pod.ParseTarget("nothing/web")
	return err
}

func configError(t *testing.T, f kubeconfig.Flags, want kubeconfig.Kind) error {
	t.Helper()
	_, err := f.Load()
	var e *kubeconfig.Error
	if !errors.As(err, &e) || e.Kind != want {
		t.Fatalf("%v is not of kind %d", err, want)
	}
	return err
}

func TestEveryEndingHasItsExitCode(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		want   int
		silent bool // the code says it all
	}{
		{"success", nil, 0, true},
		{"the command's code", &stream.ExitError{Code: 1}, 1, true},
		{"the largest of them", &stream.ExitError{Code: 254}, 254, true},
		{"the command says 255 too", &stream.ExitError{Code: 255}, 255, true},
		{"the command says 2 too", &stream.ExitError{Code: 2}, 2, true},
		{"a code that would become 0", &stream.ExitError{Code: 256}, 255, true},
		{"a Windows code that would become 0", &stream.ExitError{Code: 0xC0000100}, 255, true},
		{"a Windows code", &stream.ExitError{Code: 0xC000013A}, 0xC000013A, true},

		{"no such command", &stream.RemoteError{Start: stream.StartNotFound}, 127, false},
		{"not executable", &stream.RemoteError{Start: stream.StartNotExecutable}, 126, false},
		{"another failure that the server reports", &stream.RemoteError{Message: "x"}, 255, false},

		{"wrong flags", &usageError{"x", "y"}, 2, false},
		{"a target that is none", targetError(t), 2, false},
		{"a flag's value that is wrong", configError(t, kubeconfig.Flags{Timeout: "soon"}, kubeconfig.Usage), 2, false},

		{"INT", cleanup.SignalError{Signal: syscall.SIGINT}, 130, true},
		{"TERM", cleanup.SignalError{Signal: syscall.SIGTERM}, 143, true},
		{"HUP", cleanup.SignalError{Signal: syscall.SIGHUP}, 129, true},
		{"QUIT", cleanup.SignalError{Signal: syscall.SIGQUIT}, 131, true},
		{"nobody reads the output", &stream.OutputError{Err: &os.PathError{Op: "write", Path: "x", Err: syscall.EPIPE}}, 141, true},

		{"the output's disk is full", &stream.OutputError{Err: syscall.ENOSPC}, 255, false},
		{"the input cannot be read", &stream.InputError{Err: syscall.EISDIR}, 255, false},
		{"the connection was lost", &stream.LostError{Err: errors.New("x")}, 255, false},
		{"the connection was lost while we wrote: not our output", &stream.LostError{Err: syscall.EPIPE}, 255, false},
		{"the server refused", &stream.HandshakeError{StatusCode: 403}, 255, false},
		{"the server selected nothing", &stream.ProtocolError{}, 255, false},
		{"the server cannot be reached", &stream.DialError{Err: syscall.ECONNREFUSED}, 255, false},
		{
			"no configuration", configError(t, kubeconfig.Flags{Kubeconfig: filepath.Join(t.TempDir(), "none")}, kubeconfig.FileNotFound),
			255, false,
		},
		{"a container that does not run", &pod.NotRunningError{}, 255, false},
		{"anything else", errors.New("x"), 255, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := exitCode(tt.err); got != tt.want {
				t.Errorf("exit code %d, want %d", got, tt.want)
			}
			if got := silent(tt.err); got != tt.silent {
				t.Errorf("silent %v, want %v", got, tt.silent)
			}
			if tt.err == nil {
				return
			}
			for _, wrapped := range []error{fmt.Errorf("x: %w", tt.err), notice.WithHint(tt.err, "y"), notice.WithMessage(tt.err, "z")} {
				if got := exitCode(wrapped); got != tt.want {
					t.Errorf("exit code %d when wrapped in a %T, want %d", got, wrapped, tt.want)
				}
			}
		})
	}
}

// The exit codes are a contract: what is promised in one place must be promised in all.
func TestTheExitCodesAreTheSameInCodeHelpAndReadme(t *testing.T) {
	want := rowsOf(exitTable)
	if len(want) < 7 {
		t.Fatalf("exitTable has only %d rows", len(want))
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Error(err)
	}
	tables := map[string]string{
		"exitCode's comment": docOf(t, "exit.go", "exitCode"),
		"README.md":          string(readme),
		"kshell --help":      helpOf(t),
		"kshell exec --help": helpOf(t, "exec"),
	}
	for where, text := range tables {
		if diff := cmp.Diff(want, rowsOf(text)); diff != "" {
			t.Errorf("%s (-exitTable +there):\n%s", where, diff)
		}
	}
}

// row is "7-9, n or 128+n", some space and the meaning.
var row = regexp.MustCompile(`^\d[\d+n-]*\s{2,}\S`)

// rowsOf are the rows of the table that begins with success, up to the first line that is none.
func rowsOf(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(line))
	}
	first := slices.IndexFunc(lines, func(l string) bool { return row.MatchString(l) && l[0] == '0' })
	if first < 0 {
		return nil
	}
	lines = lines[first:]
	if end := slices.IndexFunc(lines, func(l string) bool { return !row.MatchString(l) }); end >= 0 {
		lines = lines[:end]
	}
	return lines
}

func docOf(t *testing.T, file, function string) string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range parsed.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == function {
			return f.Doc.Text()
		}
	}
	t.Fatalf("there is no %s in %s", function, file)
	return ""
}

// helpOf is what COMMAND --help prints.
func helpOf(t *testing.T, command ...string) string {
	t.Helper()
	var out bytes.Buffer
	a := newApp()
	a.printed = &sticky{Writer: &out}
	root := newRoot(a)
	root.SetArgs(append(command, "--help"))
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
