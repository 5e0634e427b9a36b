package main

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kshell/internal/exact"
)

// shellFlags select the shell, and the environment of the command.
type shellFlags struct {
	shell   string
	env     []string
	workdir string
}

func (f *shellFlags) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&f.shell, "shell", "",
		"shell to open if no command is specified; default: bash, sh or ash, or on Windows powershell or cmd")
	flags.StringArrayVar(&f.env, "env", nil,
		"set an environment variable for the command: NAME=VALUE, or NAME for the local value; may be repeated")
	flags.StringVar(&f.workdir, "workdir", "", "working directory of the command")
}

// commandEnv is the environment of a command.
type commandEnv struct {
	vars []string // NAME=VALUE
	dir  string   // "": that of the container
}

// empty reports whether e changes nothing in the environment of the container.
func (e commandEnv) empty() bool { return len(e.vars) == 0 && e.dir == "" }

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// check returns the environment of the command. A variable that is given
// without a value has the value that it has in kshell's own environment.
func (f *shellFlags) check(cmd *cobra.Command) (commandEnv, error) {
	e := commandEnv{dir: f.workdir}
	for _, given := range f.env {
		name, value, ok := strings.Cut(given, "=")
		if !ok {
			value, ok = os.LookupEnv(name)
		}
		switch {
		case !variableName.MatchString(name):
			return e, usage(cmd, fmt.Sprintf("--env %s: invalid variable name", strconv.Quote(given)))
		case !ok:
			return e, usage(cmd, fmt.Sprintf("--env %s: the variable is not set, and no value is given", name))
		}
		e.vars = append(e.vars, name+"="+value)
	}
	return e, nil
}

// forwardedEnv returns the variables of environ that kshell sets in a remote
// shell, as ssh does: those that describe the terminal, and those of the
// locale. TERM and the variables of the locale have the prefix exact.IfKnown,
// because the container may not know the terminal or have the locale.
func forwardedEnv(environ []string) []string {
	var env []string
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		switch {
		case value == "":
		case name == "COLORTERM":
			env = append(env, v)
		case name == "TERM", name == "LANG", strings.HasPrefix(name, "LC_") && variableName.MatchString(name):
			env = append(env, exact.IfKnown+v)
		}
	}
	return env
}
