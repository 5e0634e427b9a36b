package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// kubectlFlags are the flags of every kubectl command that are no connection's, so that command lines for kubectl can be typed here.
type kubectlFlags struct {
	warningsAsErrors bool
}

// idle are those that are taken and change nothing: kshell caches, logs and profiles nothing, and has no version of a server's.
var idle = []string{"cache-dir", "kuberc", "log-flush-frequency", "match-server-version", "profile", "profile-output", "vmodule"}

func (f *kubectlFlags) addTo(flags *pflag.FlagSet) {
	flags.BoolVar(&f.warningsAsErrors, "warnings-as-errors", false, "take the server's warnings for errors: exit code 255 in place of 0")
	flags.String("cache-dir", "", "Default cache directory")
	flags.String("kuberc", "", "Path to the kuberc file to use for preferences")
	flags.Duration("log-flush-frequency", 5*time.Second, "Maximum number of seconds between log flushes")
	flags.Bool("match-server-version", false, "Require server version to match client version")
	flags.String("profile", "none", "Name of profile to capture")
	flags.String("profile-output", "profile.pprof", "Name of the file to write the profile to")
	flags.String("vmodule", "", "comma-separated list of pattern=N settings for file-filtered logging")
	for _, name := range idle {
		_ = flags.MarkHidden(name) // it is there: no error
	}
}

// mentionIdle says with -v what of the command line changes nothing.
func (a *app) mentionIdle(cmd *cobra.Command) {
	for _, name := range idle {
		if f := cmd.Flag(name); f != nil && f.Changed {
			a.notice.Detail("--%s is kubectl's, and changes nothing here", name)
		}
	}
}

// asKubectl makes the names of flags what they are here: a _ is a -, and --v is --verbose.
func asKubectl(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	if name == "v" {
		return verboseFlag
	}
	return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
}

// leveled has kubectl's ways to say a level, -v 6, --v 6 and -v6, as -v=6: here -v may stand alone. What follows -- is left as it is.
func leveled(args []string) []string {
	end := slices.Index(args, "--")
	if end < 0 {
		end = len(args)
	}
	var all []string
	for i := 0; i < end; i++ {
		arg := args[i]
		switch glued, short := strings.CutPrefix(arg, "-v"); {
		case (arg == "-v" || arg == "--v") && i+1 < end && isLevel(args[i+1]):
			i++
			arg = "-v=" + args[i]
		case short && isLevel(glued):
			arg = "-v=" + glued
		}
		all = append(all, arg)
	}
	return append(all, args[end:]...)
}

func isLevel(word string) bool {
	return word != "" && len(word) < 3 && strings.Trim(word, "0123456789") == ""
}

// warned is the error that the server's warnings are, if the user wants that.
func (a *app) warned() error {
	if n := a.warnings.Load(); a.kubectl.warningsAsErrors && n > 0 {
		return fmt.Errorf("the server has warned (--warnings-as-errors): %d", n)
	}
	return nil
}
