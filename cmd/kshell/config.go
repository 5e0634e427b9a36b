package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"kshell/internal/kubeconfig"
	"kshell/internal/nodeshell"
	"kshell/internal/notice"
	"kshell/internal/resume"
	"kshell/internal/settings"
	"kshell/internal/terminal"
)

// newConfig returns the command config.
func newConfig(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the settings of kshell",
		Args:  onlySubcommands,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "view",
		Short: "Print the effective settings and where each comes from",
		Long: `Print the effective settings for the current context and where each comes from.

Settings are read from ` + settingsName + ` in the user's configuration
directory, or from the file that ` + settingsVariable + ` names, which must exist. A
setting can be limited to one context:

  shell: zsh              # the shell that exec opens without a command
  escape-char: "%"        # same as --escape-char
  keepalive: 30s          # same as --keepalive
  node-image: NAME@DIGEST # same as --image of node-shell
  resume-dir: /data,/tmp  # same as --resume-dir
  contexts:
    prod:
      namespace: web          # replaces the namespace in the kubeconfig
      http-credentials: drop  # same as --http-credentials
      idle-keepalive: false   # same as --no-idle-keepalive
      resume: auto            # same as --resume
      headlamp: https://HOST      # same as --headlamp
      headlamp-cluster: NAME      # same as --headlamp-cluster
      headlamp-stateless: auto    # same as --headlamp-stateless
      guard: ask              # you must type the name of the context
      idle-timeout: 30m       # same as --idle-timeout
      record-notice: TEXT     # printed before each session on a terminal
      reason: required        # must be given; on a terminal, kshell asks for it

Environment variables such as KSHELL_SHELL override the file. Flags override
both. The variable KSHELL_REASON contains the reason itself, like --reason.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return a.viewConfig() },
	})
	return cmd
}

const (
	settingsName     = "kshell/config.yaml" // in the user's configuration directory
	settingsVariable = "KSHELL_CONFIG"      // the environment variable that names another file
)

// loadSettings reads the user's settings file. It returns nil if there is none,
// or if the file is ignored. It prints a warning if other users can change the
// file, because the file names programs and the image of privileged pods.
//
// A file that KSHELL_CONFIG names must be readable. The default file may be
// missing; if it cannot be read, loadSettings prints a warning, because cron
// jobs, systemd units and CI often have no usable home directory. Invalid
// contents of either file are an error.
func (a *app) loadSettings() (*settings.File, error) {
	fromEnv := os.Getenv(settingsVariable)
	path := cmp.Or(fromEnv, defaultSettingsFile())
	if path == "" {
		return nil, nil
	}
	loaded, err := settings.Load(path)
	var invalid *settings.FileError
	switch {
	case err == nil:
		if writers := loaded.OtherWriters(); writers != "" {
			a.notice.Warn("other users can change the settings file %s: %s", path, writers)
		}
		return loaded, nil
	case errors.As(err, &invalid):
		return nil, err
	case fromEnv != "":
		return nil, notice.WithHint(
			fmt.Errorf("cannot read the settings file that %s names: %w", settingsVariable, err),
			"set "+settingsVariable+" to a file that can be read, or type `unset "+settingsVariable+"`",
		)
	}
	switch _, statErr := os.Stat(path); { //nolint:gosec // the path is the user's own
	case statErr == nil:
		a.notice.Warn("the settings file is ignored: %s", err)
	case errors.Is(statErr, fs.ErrPermission): // it is not known whether the file exists
		a.notice.Detail("the settings file is ignored: %s", err)
	}
	return nil, nil
}

// defaultSettingsFile returns the path of the settings file that is used
// without KSHELL_CONFIG, or "" if the user has no configuration directory.
func defaultSettingsFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, filepath.FromSlash(settingsName))
}

// viewConfig prints the effective settings.
func (a *app) viewConfig() error {
	loaded, err := a.load()
	if err != nil {
		return err
	}
	s := a.settings
	a.headlamp.override(&s)
	if err := a.viewNamespace(&s, loaded); err != nil {
		return err
	}
	s.Shell.Text = cmp.Or(s.Shell.Text, "bash, sh or ash")
	s.EscapeChar.Text = cmp.Or(s.EscapeChar.Text, escapeDefault)
	s.Keepalive.Text = cmp.Or(s.Keepalive.Text, keepaliveDefault.String())
	s.Idle.Text = cmp.Or(s.Idle.Text, "true")
	s.HTTP.Text = cmp.Or(s.HTTP.Text, "send to this machine, else refuse")
	if s.NodeImage.Text == "" && s.Headlamp.Text != "" {
		s.NodeImage.Text = "that of the Headlamp server, else " + nodeshell.DefaultImage
	}
	s.NodeImage.Text = cmp.Or(s.NodeImage.Text, nodeshell.DefaultImage)
	s.Headlamp.Text = cmp.Or(s.Headlamp.Text, "none")
	s.Cluster.Text = cmp.Or(s.Cluster.Text, "that of the URL, the only one, or that with the name of the context")
	s.Stateless.Text = cmp.Or(s.Stateless.Text, statelessNever)
	s.Resume.Text = cmp.Or(s.Resume.Text, resumeNever)
	s.ResumeDir.Text = cmp.Or(s.ResumeDir.Text, strings.Join(resume.DefaultDirs, ","))
	s.Guard.Text = cmp.Or(s.Guard.Text, guardNever)
	s.IdleTimeout.Text = cmp.Or(s.IdleTimeout.Text, "0")
	s.Record.Text = cmp.Or(s.Record.Text, "false")
	s.Reason.Text = cmp.Or(s.Reason.Text, reasonOptional)
	rows := [][]string{{"SETTING", "VALUE", "SOURCE"}}
	for _, v := range s.All() {
		rows = append(rows, []string{v.Key, v.Text, v.Source})
	}
	if source := a.headlamp.tokenSource(); source != "" {
		rows = append(rows, []string{"headlamp-token", "(not shown)", source})
	}
	a.printTable(rows)
	return nil
}

// viewNamespace sets the namespace in s to the one that is used.
func (a *app) viewNamespace(s *settings.Settings, loaded *kubeconfig.Loaded) error {
	plan, err := a.headlamp.plan(&a.settings, &a.kube)
	if err != nil {
		return err
	}
	var conn *kubeconfig.Connection
	if plan != nil {
		conn, err = loaded.ConnectTo(kubeconfig.Server{URL: plan.address.Base, Source: plan.source})
	} else {
		conn, err = loaded.Connect()
	}
	if err != nil {
		return err
	}
	for _, note := range conn.Notes {
		a.notice.Note("%s", note)
	}
	switch {
	case a.kube.Namespace != "":
		s.Namespace.Text, s.Namespace.Source = a.kube.Namespace, "flag --namespace"
	case s.Namespace.Text != "":
	case conn.Namespace == "":
		s.Namespace.Text, s.Namespace.Source = "that of the cluster, else default", "Headlamp server"
	default:
		s.Namespace.Text, s.Namespace.Source = conn.Namespace, "kubeconfig"
	}
	return nil
}

// printTable prints rows to stdout. The first row is the header. a.printed
// keeps a write error.
func (a *app) printTable(rows [][]string) {
	ascii := notice.ASCIIOnly() && terminal.IsTerminal(a.Out)
	for _, line := range notice.TableIn(terminal.Columns(a.Out), 3, rows) {
		if ascii {
			line = notice.ASCII(line)
		}
		_, _ = fmt.Fprintln(a.printed, line)
	}
}
