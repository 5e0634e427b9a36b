package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kshell/internal/outcome"
	"kshell/internal/similar"
)

// usage returns a usage error whose hint is to print the help of cmd.
func usage(cmd *cobra.Command, message string) error {
	return outcome.NewUsageError(message, cmd.CommandPath()+" --help")
}

// flagError returns the usage error for err, an error of the parser of cmd's
// flags.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &unknown) && unknown.GetSpecifiedShortnames() == "":
		all := outcome.NewUsageError(err.Error(), cmd.CommandPath()+" --"+helpAllFlag)
		return didYouMean(unknown.GetSpecifiedName(), visibleFlags(cmd), "--", all)
	case !errors.As(err, &invalid):
		return usage(cmd, err.Error())
	}
	flag, value := "--"+invalid.GetFlag().Name, invalid.GetValue()
	message := flag + " " + strconv.Quote(value) + " is not "
	switch invalid.GetFlag().Value.Type() {
	case "duration":
		hint := "write it as 30s, 2m or 1h"
		if _, err := strconv.ParseUint(value, 10, 63); err == nil {
			hint = fmt.Sprintf("%s %ss (or %sm, %sh)", flag, value, value, value)
		}
		return outcome.NewUsageError(message+"a duration", hint)
	case "int":
		return usage(cmd, message+"a number")
	case "bool":
		return usage(cmd, message+"true or false")
	}
	return usage(cmd, err.Error())
}

// didYouMean returns err, which reports that the name wanted does not exist. If some
// of names are similar to wanted, the hint of the error suggests them, each after
// prefix.
func didYouMean(wanted string, names []string, prefix string, err error) error {
	question := similar.DidYouMean(wanted, names, prefix)
	if question == "" {
		return err
	}
	return outcome.NewUsageError(err.Error(), question)
}

// visibleFlags returns the names of the flags of cmd that are not hidden.
func visibleFlags(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	return names
}

// unknownCommand returns the usage error for name, which is not a subcommand of
// cmd. Its hint suggests subcommands with similar names.
func unknownCommand(cmd *cobra.Command, name string) error {
	err := usage(cmd, "unknown command "+strconv.Quote(name))
	cmd.SuggestionsMinimumDistance = 2
	found := cmd.SuggestionsFor(name)
	if name == "" || len(found) == 0 {
		return err
	}
	for i := range found {
		found[i] = "`" + cmd.CommandPath() + " " + found[i] + "`"
	}
	return outcome.NewUsageError(err.Error(), similar.Question(found))
}

// notNegative returns a usage error if d, the value of a flag, is negative.
func notNegative(flag string, d time.Duration) error {
	if d >= 0 {
		return nil
	}
	return outcome.NewUsageError(fmt.Sprintf("--%s %s: must not be negative", flag, shortDuration(d)),
		fmt.Sprintf("--%s %s", flag, shortDuration(-d)))
}

// shortDuration returns d without units that are zero: 1h for 1h0m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// lastOf is the value of a flag whose last value counts. It also keeps the
// others, for commands that accept several.
type lastOf struct {
	pflag.Value
	all []string
}

// replace makes v the value of f. The value that f has had gets the last one.
func (v *lastOf) replace(f *pflag.Flag) { v.Value, f.Value = f.Value, v }

// Set implements pflag.Value.
func (v *lastOf) Set(text string) error {
	v.all = append(v.all, text)
	return v.Value.Set(text)
}

// unique returns all values, without duplicates and empty ones.
func (v *lastOf) unique() []string {
	var values []string
	for _, text := range v.all {
		if text != "" && !slices.Contains(values, text) {
			values = append(values, text)
		}
	}
	return values
}
