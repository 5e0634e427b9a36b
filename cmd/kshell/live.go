package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"kshell/internal/outcome"
	"kshell/internal/remote"
	"kshell/internal/settings"
	"kshell/internal/terminal"
)

// liveFlags are the flags that keep a session alive or end it.
type liveFlags struct {
	keepalive        time.Duration
	noIdleKeepalive  bool
	escape           string
	reconnect        string
	reconnectTimeout time.Duration
	connectTimeout   time.Duration
	keepaliveGiven   bool // set on the command line
	escapeGiven      bool
}

// The values without a flag or a setting.
const (
	keepaliveDefault      = 10 * time.Second
	connectTimeoutDefault = 10 * time.Second
	escapeDefault         = "~"
)

// The values of --reconnect.
const (
	reconnectAuto   = "auto"
	reconnectAlways = "always"
	reconnectNever  = "never"
)

var reconnects = []string{reconnectAuto, reconnectAlways, reconnectNever}

// reconnectMode returns the policy of --reconnect.
func (f *liveFlags) reconnectMode() remote.ReconnectMode {
	switch f.reconnect {
	case reconnectAlways:
		return remote.ReconnectAlways
	case reconnectNever:
		return remote.ReconnectNever
	}
	return remote.ReconnectAuto
}

// escapeNone switches the escape character off.
const escapeNone = "none"

func (f *liveFlags) addTo(flags *pflag.FlagSet) {
	flags.DurationVar(&f.keepalive, "keepalive", keepaliveDefault,
		"ping the server before it has been silent for this long; after 20 s of silence the connection counts as lost; 0 disables pings")
	flags.BoolVar(&f.noIdleKeepalive, "no-idle-keepalive", false, "let the server end a session in which nothing has happened for 4 hours (independent of --keepalive)")
	flags.StringVar(&f.escape, "escape-char", escapeDefault,
		"on a terminal, begins kshell's own keys at the beginning of a line (~? lists them); none disables them")
	flags.StringVar(&f.reconnect, "reconnect", reconnectAuto, "take a lost connection up again: auto (a shell on a terminal), always (run another command again, too), never")
	flags.DurationVar(&f.connectTimeout, "connect-timeout", connectTimeoutDefault,
		"how long to retry a connection that cannot be opened, before anything runs; 0 means no retries")
	flags.DurationVar(&f.reconnectTimeout, "reconnect-timeout", 10*time.Minute,
		"how long to try to reconnect a shell; 0 means no limit")
}

// applySettings applies the settings whose flags are not given. An error names
// the setting.
func (f *liveFlags) applySettings(s settings.Settings) error {
	if v := s.EscapeChar; v.Text != "" && !f.escapeGiven {
		f.escape = v.Text
		if !f.escapeFits() {
			return fmt.Errorf("setting %s from %s is not one character: %s", v.Key, v.Source, strconv.Quote(v.Text))
		}
	}
	if v := s.Keepalive; v.Text != "" && !f.keepaliveGiven {
		every, err := time.ParseDuration(v.Text)
		if err != nil || every < 0 {
			return fmt.Errorf("setting %s from %s is not a duration such as 30s: %s", v.Key, v.Source, strconv.Quote(v.Text))
		}
		f.keepalive = every
	}
	return nil
}

func (f *liveFlags) escapeFits() bool {
	return f.escape == escapeNone || len(f.escape) == 1 && f.escape[0] > ' ' && f.escape[0] <= '~'
}

func (f *liveFlags) check(cmd *cobra.Command) error {
	f.keepaliveGiven, f.escapeGiven = cmd.Flags().Changed("keepalive"), cmd.Flags().Changed("escape-char")
	if !f.escapeFits() {
		return outcome.NewUsageError("--escape-char "+strconv.Quote(f.escape)+" is not one character", "--escape-char '~', or none")
	}
	if !slices.Contains(reconnects, f.reconnect) {
		return outcome.NewUsageError("unknown --reconnect "+strconv.Quote(f.reconnect), "one of "+strings.Join(reconnects, ", "))
	}
	return cmp.Or(
		notNegative(cmd, "keepalive", f.keepalive), notNegative(cmd, "reconnect-timeout", f.reconnectTimeout),
		notNegative(cmd, "connect-timeout", f.connectTimeout),
	)
}

func (f *liveFlags) escapeChar() byte {
	if f.escape == escapeNone || f.escape == "" {
		return terminal.NoEscape
	}
	return f.escape[0]
}

// checkRepeat returns an error if the command may have to run again, but its input can
// be read only once.
func (p *execPlan) checkRepeat(cmd *cobra.Command) error {
	if p.live.reconnect != reconnectAlways || p.tty || !p.stdin {
		return nil
	}
	return outcome.NewUsageError(
		"--reconnect=always runs the command again, and its input is read only once",
		cmd.CommandPath()+" without -i, or --reconnect=auto",
	)
}
