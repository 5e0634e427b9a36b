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

// sessionFlags are the flags for sessions: pings, reconnecting and the escape
// character.
type sessionFlags struct {
	keepalive        time.Duration
	noIdleKeepalive  bool
	escape           string
	reconnect        string
	reconnectTimeout time.Duration
	connectTimeout   time.Duration
	idleTimeout      time.Duration
	idleTimeoutGiven bool
	keepaliveGiven   bool // on the command line
	idleGiven        bool
	escapeGiven      bool
}

// The default values, which flags and settings override.
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

var reconnectModes = []string{reconnectAuto, reconnectAlways, reconnectNever}

// reconnectMode returns the value of --reconnect.
func (f *sessionFlags) reconnectMode() remote.ReconnectMode {
	switch f.reconnect {
	case reconnectAlways:
		return remote.ReconnectAlways
	case reconnectNever:
		return remote.ReconnectNever
	}
	return remote.ReconnectAuto
}

// escapeNone is the value of --escape-char that disables the escape character.
const escapeNone = "none"

func (f *sessionFlags) addTo(flags *pflag.FlagSet) {
	flags.DurationVar(&f.keepalive, "keepalive", keepaliveDefault,
		"ping the server before it has been silent for this time; the connection is lost after 20 s of silence, "+
			"or 8 s after this time if that is later (120 s while the network is out); "+
			"0 disables pings")
	flags.BoolVar(&f.noIdleKeepalive, "no-idle-keepalive", false,
		"let the server end a session that is idle for 4 hours; independent of --keepalive")
	flags.StringVar(&f.escape, "escape-char", escapeDefault,
		"escape character at the beginning of a line on a terminal (~? lists the keys); none disables it")
	flags.StringVar(&f.reconnect, "reconnect", reconnectAuto,
		"reconnect after a lost connection: auto (a shell on a terminal), always (also run a command again), never")
	flags.DurationVar(&f.connectTimeout, "connect-timeout", connectTimeoutDefault,
		"how long to retry to connect before the command starts; 0 means no retries")
	flags.DurationVar(&f.reconnectTimeout, "reconnect-timeout", 10*time.Minute,
		"how long to try to reconnect; 0 means no limit")
	flags.DurationVar(&f.idleTimeout, idleTimeoutFlag, 0,
		"end a session on a terminal in which no key is typed for this time; with --resume, leave it running; "+
			"0 means no limit")
}

const idleTimeoutFlag = "idle-timeout"

// applySettings applies the settings whose flags are not given. An error
// contains the name of the setting.
func (f *sessionFlags) applySettings(s settings.Settings) error {
	if v := s.EscapeChar; v.Text != "" && !f.escapeGiven {
		f.escape = v.Text
		if !f.escapeValid() {
			return fmt.Errorf("setting %s from %s is not one character: %s", v.Key, v.Source, strconv.Quote(v.Text))
		}
	}
	if v := s.Keepalive; v.Text != "" && !f.keepaliveGiven {
		interval, err := time.ParseDuration(v.Text)
		if err != nil || interval < 0 {
			return fmt.Errorf("setting %s from %s is not a duration such as 30s: %s", v.Key, v.Source, strconv.Quote(v.Text))
		}
		f.keepalive = interval
	}
	if v := s.IdleTimeout; v.Text != "" && !f.idleTimeoutGiven {
		limit, err := time.ParseDuration(v.Text)
		if err != nil || limit < 0 {
			return fmt.Errorf("setting %s from %s is not a duration such as 30m: %s",
				v.Key, v.Source, strconv.Quote(v.Text))
		}
		f.idleTimeout = limit
	}
	if v := s.Idle; v.Text != "" && !f.idleGiven {
		on, err := strconv.ParseBool(v.Text)
		if err != nil {
			return fmt.Errorf("setting %s from %s is not true or false: %s", v.Key, v.Source, strconv.Quote(v.Text))
		}
		f.noIdleKeepalive = !on
	}
	return nil
}

// escapeValid reports whether the escape character is a printable ASCII
// character or none.
func (f *sessionFlags) escapeValid() bool {
	return f.escape == escapeNone || len(f.escape) == 1 && f.escape[0] > ' ' && f.escape[0] <= '~'
}

// check returns a usage error for invalid flags.
func (f *sessionFlags) check(cmd *cobra.Command) error {
	f.keepaliveGiven, f.escapeGiven = cmd.Flags().Changed("keepalive"), cmd.Flags().Changed("escape-char")
	f.idleTimeoutGiven = cmd.Flags().Changed(idleTimeoutFlag)
	f.idleGiven = cmd.Flags().Changed("no-idle-keepalive")
	if !f.escapeValid() {
		return outcome.NewUsageError(
			"--escape-char "+strconv.Quote(f.escape)+" is not one character",
			"--escape-char '~', or --escape-char none",
		)
	}
	if !slices.Contains(reconnectModes, f.reconnect) {
		return outcome.NewUsageError(
			"unknown --reconnect "+strconv.Quote(f.reconnect), "one of "+strings.Join(reconnectModes, ", "),
		)
	}
	return cmp.Or(
		notNegative("keepalive", f.keepalive), notNegative("reconnect-timeout", f.reconnectTimeout),
		notNegative("connect-timeout", f.connectTimeout), notNegative(idleTimeoutFlag, f.idleTimeout),
	)
}

// escapeChar returns the escape character, or terminal.NoEscape.
func (f *sessionFlags) escapeChar() byte {
	if f.escape == escapeNone || f.escape == "" {
		return terminal.NoEscape
	}
	return f.escape[0]
}

// checkRepeatable returns an error if the command may be run again after a lost
// connection, but has input, which can be read only once. With --resume=always,
// it is not run again.
func (p *execPlan) checkRepeatable(cmd *cobra.Command) error {
	if p.session.reconnect != reconnectAlways || p.tty || !p.stdin || p.resume.mode == resumeAlways {
		return nil
	}
	return outcome.NewUsageError(
		"--reconnect=always runs the command again, but its input can be read only once",
		cmd.CommandPath()+" without -i, or --reconnect=auto",
	)
}
