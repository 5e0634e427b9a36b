package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// kubectlFlags are the flags that every kubectl command has, except those of
// the connection. kshell accepts them so that command lines for kubectl work.
type kubectlFlags struct {
	warningsAsErrors bool
}

// ignoredFlags are accepted, hidden in the help, and have no effect: kshell has
// no cache, buffered log or profile, and does not depend on the version of the
// server.
var ignoredFlags = []string{
	"cache-dir", "log-flush-frequency", "match-server-version", "profile", "profile-output", "vmodule",
}

func (f *kubectlFlags) addTo(flags *pflag.FlagSet) {
	flags.BoolVar(&f.warningsAsErrors, "warnings-as-errors", false,
		"treat warnings from the server as errors: exit with code 255 instead of 0")
	flags.String("cache-dir", "", "")
	flags.Duration("log-flush-frequency", 5*time.Second, "")
	flags.Bool("match-server-version", false, "")
	flags.String("profile", "none", "")
	flags.String("profile-output", "profile.pprof", "")
	flags.String("vmodule", "", "")
	for _, name := range ignoredFlags {
		_ = flags.MarkHidden(name) // the flag exists: no error
	}
}

// noteIgnoredFlags prints, with -v, which flags of the command line have no
// effect.
func (a *app) noteIgnoredFlags(cmd *cobra.Command) {
	for _, name := range ignoredFlags {
		if f := cmd.Flag(name); f != nil && f.Changed && f.Hidden {
			a.notice.Detail("--%s is accepted because kubectl has it, but has no effect in kshell", name)
		}
	}
}

// normalizeFlagName returns the spelling of a flag's name that kshell defines.
// As in kubectl, the user may also type _ for - in a name, and --v for -v.
func normalizeFlagName(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	if name == "v" {
		return verboseFlag
	}
	return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
}

// normalizeVerbosity replaces kubectl's ways to set the level of -v, which are
// -v 6, --v 6 and -v6, with -v=6, because kshell's -v needs no level. Arguments
// after -- are not changed.
func normalizeVerbosity(args []string) []string {
	end := slices.Index(args, "--")
	if end < 0 {
		end = len(args)
	}
	var all []string
	for i := 0; i < end; i++ {
		arg := args[i]
		switch level, short := strings.CutPrefix(arg, "-v"); {
		case (arg == "-v" || arg == "--v") && i+1 < end && isLevel(args[i+1]):
			i++
			arg = "-v=" + args[i]
		case short && isLevel(level):
			arg = "-v=" + level
		}
		all = append(all, arg)
	}
	return append(all, args[end:]...)
}

// isLevel reports whether word is a number of one or two digits. Longer numbers
// are more likely to be the name of a pod.
func isLevel(word string) bool {
	return word != "" && len(word) < 3 && strings.Trim(word, "0123456789") == ""
}

// warningsError returns an error if the server has sent warnings and
// --warnings-as-errors is set.
func (a *app) warningsError() error {
	switch n := a.warnings.Load(); {
	case !a.kubectl.warningsAsErrors || n == 0:
		return nil
	case n == 1:
		return errors.New("the server sent a warning (--warnings-as-errors)")
	default:
		return fmt.Errorf("the server sent %d warnings (--warnings-as-errors)", n)
	}
}
