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

// shellFlags are the surroundings of a command.
type shellFlags struct {
	shell   string
	env     []string
	workdir string
}

func (f *shellFlags) addTo(flags *pflag.FlagSet) {
	flags.StringVar(&f.shell, "shell", "", "the shell to open where no command is named; default: bash, sh or ash, what there is, and on Windows powershell or cmd")
	flags.StringArrayVar(&f.env, "env", nil, "set a variable for the command: NAME=VALUE, or NAME for its value here; may be repeated")
	flags.StringVar(&f.workdir, "workdir", "", "the command's working directory")
}

// surroundings are what shellFlags ask for: variables as NAME=VALUE.
type surroundings struct {
	env []string
	dir string
}

// none says whether the command can be run as it is.
func (s surroundings) none() bool { return len(s.env) == 0 && s.dir == "" }

var variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// check looks the variables up that are only named, and finds what is no variable.
func (f *shellFlags) check(cmd *cobra.Command) (surroundings, error) {
	s := surroundings{dir: f.workdir}
	for _, given := range f.env {
		name, value, ok := strings.Cut(given, "=")
		if !ok {
			value, ok = os.LookupEnv(name)
		}
		switch {
		case !variable.MatchString(name):
			return s, usage(cmd, fmt.Sprintf("--env %s: not the name of a variable", strconv.Quote(given)))
		case !ok:
			return s, usage(cmd, fmt.Sprintf("--env %s: there is no such variable here, and no value was given", name))
		}
		s.env = append(s.env, name+"="+value)
	}
	return s, nil
}

// carried are the variables of this terminal that a shell over there should know, as ssh has it. Those of the locale are marked as ones that
// the container may not have (exact.NewShell).
func carried(environ []string) []string {
	var known []string
	for _, v := range environ {
		name, value, _ := strings.Cut(v, "=")
		switch {
		case value == "":
		case name == "TERM", name == "COLORTERM":
			known = append(known, v)
		case name == "LANG", strings.HasPrefix(name, "LC_") && variable.MatchString(name):
			known = append(known, exact.IfLocaleExists+v)
		}
	}
	return known
}
