package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/spf13/cobra"

	"kshell/internal/notice"
	"kshell/internal/outcome"
)

// The linker sets version and commit, from git. If commit is empty, thisVersion uses
// the commit that the go command recorded in the binary.
var (
	version = "dev"
	commit  = ""
)

// versionInfo describes this binary. Its JSON is the output of "kshell version
// -o json".
type versionInfo struct {
	Version   string `json:"version"`
	Commit    string `json:"commit"` // "" if it is not known
	GoVersion string `json:"goVersion"`
	Platform  string `json:"platform"` // GOOS/GOARCH
	Agents    string `json:"agents"`   // the build ID of the session agents, or "" if the binary contains none
}

// thisVersion returns the description of this binary.
func thisVersion() versionInfo {
	info := versionInfo{
		Version:   version,
		Commit:    commit,
		GoVersion: runtime.Version(),
		Platform:  runtime.GOOS + "/" + runtime.GOARCH,
		Agents:    agentBuild(),
	}
	if build, ok := debug.ReadBuildInfo(); ok && info.Commit == "" {
		for _, s := range build.Settings {
			if s.Key == "vcs.revision" {
				info.Commit = s.Value
			}
		}
	}
	return info
}

// String returns the output of "kshell version" without its last line feed.
func (v versionInfo) String() string {
	text := fmt.Sprintf("kshell %s (%s %s)", v.Version, v.GoVersion, v.Platform)
	if v.Commit != "" {
		text += "\ncommit " + v.Commit
	}
	if v.Agents == "" {
		return text + "\nno session agents"
	}
	return text + "\nsession agents " + v.Agents
}

func newVersion() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `Print the version, the commit, and the build ID of the session agents, the
programs that exec --resume copies into containers. No server is asked.`,
		Example: `  kshell version
  kshell version -o json  one line of JSON, for programs`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch format {
			case outputText:
				fmt.Fprintln(cmd.OutOrStdout(), thisVersion())
			case outputJSON:
				_, _ = cmd.OutOrStdout().Write(notice.JSON(thisVersion())) // execute reports the error
			default:
				return outcome.NewUsageError("unknown -o "+strconv.Quote(format), "one of "+outputText+", "+outputJSON)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&format, outputFlag, "o", outputText, "output format: text or json")
	_ = cmd.RegisterFlagCompletionFunc(outputFlag, // no error: the flag exists
		cobra.FixedCompletions([]string{outputText, outputJSON}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// noArgs returns an error if there is an argument.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usage(cmd, "unexpected argument "+strconv.Quote(args[0]))
	}
	return nil
}
