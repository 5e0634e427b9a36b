package contract

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The flag --exact with each of its values.
const (
	modePlain = "--exact=never"
	modeExact = "--exact=always"
	modeAuto  = "--exact=auto"
)

// oddArguments are arguments that scripts often pass on incorrectly.
var oddArguments = []string{
	"", " ", "a b", "a\nb", "\n", "trailing\n", "*", "?", "[a-z]", "~", "$HOME", "$(id)", "`id`", "${x}", "$",
	"\\", `\n`, `a\`, "'", `"`, `it's "q"`, "-", "--", "-n", "-e", "-c", "--exact=never", "=", "a=b", "PATH=",
	"=x", "!", "!!", "#", "a#b", ";", "&", "|", "<", ">", "(", ")", "{", "}", "ü", "你好", "👋",
	"\x01", "\x1e", "\x1eabcdef", "\x7f", "\t", "\r", "%s", "%", "a+b", "&amp;", strings.Repeat("long ", 2000),
}

// transparentCommands returns commands that must not be able to detect exact
// mode. shell is the shell of the image.
func transparentCommands(shell string) map[string][]string {
	return map[string][]string{
		"arguments": append([]string{shell, "-c", "cat /proc/$$/cmdline; exit 0", shell}, oddArguments...),
		"arguments of the shell": append(
			[]string{shell, "-c", `for a; do printf '[%s]' "$a"; done`, shell},
			oddArguments...),
		"an argument that is not UTF-8": {shell, "-c", "cat /proc/$$/cmdline; exit 0", shell, "\xff\xfe"},
		"folder":                        {"readlink", "/proc/self/cwd"},
		"environment of env":            {"env"},
		"environment of a shell":        {shell, "-c", "cat /proc/$$/environ"},
		"environment of a file":         {"cat", "/proc/self/environ"},
		"open files":                    {"ls", "/proc/self/fd"},
		"stdin":                         {"readlink", "/proc/self/fd/0"},
		"signals and rights": {
			"grep",
			"-E",
			"^(Sig(Ign|Blk|Cgt)|Uid|Gid|Groups|Umask|Cap|NoNewPrivs|Seccomp)",
			"/proc/self/status",
		},
		"limits":                        {"cat", "/proc/self/limits"},
		"options of the shell":          {shell, "-c", "echo $-; set | grep -i '^kshell'; trap"},
		"variables of the shell":        {shell, "-c", "echo [$IFS] [$OPTIND] [$0] [$#] [$SHLVL] [$OLDPWD]"},
		"two lines":                     {shell, "-c", "echo a\necho b"},
		"a command named by path":       {"/bin/echo", "x"},
		"a command with an equals sign": {"a=b", "x"},
		"a builtin":                     {"cd", "/tmp"},
		"another builtin":               {"exit", "3"},
		"a keyword":                     {"if", "true"},
		"a dash":                        {"-c", "echo hi"},
		"an option":                     {"-x"},
		"an empty command":              {""},
		"a blank command":               {" "},
		"a dot":                         {"."},
		"a colon":                       {":"},
		"a command with a blank":        {"no such", "x"},
		"a command with a newline":      {"no\nsuch", "x"},
		"no such command":               {"no-such-command", "x"},
		"no such file":                  {"/no/such/file"},
		"a file in a file":              {"/etc/passwd/x"},
		"not executable":                {"/etc/passwd"},
		"a folder":                      {"/tmp"},
		"a relative path":               {"./no-such"},
		"killed":                        {shell, "-c", "kill -9 $$"},
		"terminated":                    {shell, "-c", "kill -TERM $$"},
		"interrupted":                   {shell, "-c", "kill -INT $$"},
		"its group killed":              {shell, "-c", "kill -TERM 0; sleep 1; echo survived"},
		"a broken pipe":                 {shell, "-c", "yes | head -1"},
		"255":                           {shell, "-c", "exit 255"},
		"stdout closed by itself":       {shell, "-c", "exec >&-; exit 9"},
		"both closed by itself":         {shell, "-c", "exec >&- 2>&-; exit 9"},
		"stderr into stdout":            {shell, "-c", "echo a; echo b >&2; exit 9"},
		"a shell of its own":            {shell, "-c", shell + " -c 'echo $-; exit 4'"},
	}
}

// SameBehavior checks that commands behave the same with and without exact
// mode: what they see, what they print, and how they end. shell is the shell of
// the image. If always is true, exact mode must support this shell, and
// --exact=always is used for each command that can be started. Commands whose
// names do not match the regular expression (the parameter only) are not run.
func SameBehavior(t *testing.T, p Program, pod, shell string, always bool, only *regexp.Regexp) {
	for name, command := range transparentCommands(shell) {
		if !only.MatchString(name) {
			continue
		}
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			run := func(mode string) Result {
				return p.Run(t, nil, append([]string{"exec", "-q", mode, pod, "--"}, command...)...)
			}
			want := run(modePlain)
			mode := modeAuto
			if always && !strings.HasPrefix(want.Err, "kshell: ") {
				mode = modeExact
			}
			checkSame(t, name, mode, run(mode), want)
		})
	}
}

func checkSame(t *testing.T, name, mode string, got, want Result) {
	t.Helper()
	if strings.HasPrefix(name, "environment") {
		want.Out, got.Out = sortVariables(want.Out), sortVariables(got.Out)
	}
	if got.Code != want.Code {
		t.Errorf("%s: exit code %d, plain %d", mode, got.Code, want.Code)
	}
	if got.Out != want.Out {
		t.Errorf("%s: stdout %s", mode, differences(got.Out, want.Out))
	}
	if got.Err != want.Err {
		t.Errorf("%s: stderr %s", mode, differences(got.Err, want.Err))
	}
}

// differences describes the lines that only one of two outputs has.
func differences(got, want string) string {
	g, w := splitLines(got), splitLines(want)
	onlyIn := func(a, b []string) []string {
		return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
	}
	return fmt.Sprintf("has %.800q, plain has %.800q", onlyIn(g, w), onlyIn(w, g))
}

// splitLines splits s after each newline. If s contains zero bytes, as a list
// of variables or arguments from /proc does, it splits after each zero byte
// instead.
func splitLines(s string) []string {
	end := "\n"
	if strings.Contains(s, "\x00") {
		end = "\x00"
	}
	return strings.SplitAfter(s, end)
}

// sortVariables sorts the variables of an environment, because their order is
// unspecified.
func sortVariables(environ string) string {
	list := splitLines(environ)
	slices.Sort(list)
	return strings.Join(list, "")
}

// NoInput checks that without -i, the stdin of a command is empty.
func NoInput(t *testing.T, p Program, flags []string, pod string) {
	for _, mode := range []string{modePlain, modeExact} {
		t.Run(mode[2:], func(t *testing.T) {
			r := p.Run(
				t,
				bytes.Repeat([]byte("x"), 100_000),
				append(append(append([]string{"exec"}, flags...), mode, pod, "--"), "wc", "-c")...)
			if strings.TrimSpace(r.Out) != "0" || r.Code != 0 || r.Err != "" {
				t.Errorf("%+v", r)
			}
		})
	}
}
