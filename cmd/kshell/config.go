package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"kshell/internal/nodeshell"
	"kshell/internal/notice"
	"kshell/internal/settings"
)

func newConfig(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "What kshell is set to",
		Args:  onlySubcommands,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "view",
		Short: "Print the settings in force, and where each comes from",
		Long: `Print the settings in force for the context in use, and where each comes from.

They stand in a file, ` + settingsName + ` in the user's folder for configurations
(` + settingsVariable + ` names another, which must exist), and can be set for one context:

  shell: zsh              # opened by exec without a command
  escape-char: "%"        # as --escape-char
  keepalive: 30s          # as --keepalive
  contexts:
    prod:
      namespace: web      # in place of the one in the kubeconfig

Variables such as KSHELL_SHELL go before the file, flags before both.`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return a.viewConfig() },
	})
	return cmd
}

// Where the settings are.
const (
	settingsName     = "kshell/config.yaml"
	settingsVariable = "KSHELL_CONFIG"
)

// loadSettings reads the user's settings. A file that KSHELL_CONFIG names must
// be readable. The default file may be missing. If it exists and cannot be
// read, that is a warning: cron jobs, systemd units and CI often have no usable
// home directory. Invalid contents of either file are an error.
func (a *app) loadSettings() (*settings.File, error) {
	named := os.Getenv(settingsVariable)
	path := cmp.Or(named, defaultSettingsFile())
	if path == "" {
		return nil, nil // no file, and no error
	}
	loaded, err := settings.Load(path)
	var mistake *settings.FileError
	switch {
	case err == nil:
		return loaded, nil
	case errors.As(err, &mistake):
		return nil, err
	case named != "":
		return nil, notice.WithHint(
			fmt.Errorf("cannot read the settings file that %s names: %w", settingsVariable, err),
			"set "+settingsVariable+" to a file that can be read, or type `unset "+settingsVariable+"`",
		)
	}
	switch _, missing := os.Stat(path); { //nolint:gosec // the path is the user's own
	case missing == nil:
		a.notice.Warn("the settings file is ignored: %s", err)
	case errors.Is(missing, fs.ErrPermission): // the file may or may not exist
		a.notice.Detail("the settings file is ignored: %s", err)
	}
	return nil, nil // no file, and no error
}

// defaultSettingsFile returns the path of the settings file without
// KSHELL_CONFIG, or "" if the environment names no usable directory.
func defaultSettingsFile() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, filepath.FromSlash(settingsName))
}

func (a *app) viewConfig() error {
	target, err := a.connect()
	if err != nil {
		return err
	}
	s := a.settings
	switch {
	case a.kube.Namespace != "":
		s.Namespace.Text, s.Namespace.Source = a.kube.Namespace, "flag --namespace"
	case s.Namespace.Text == "":
		s.Namespace.Text, s.Namespace.Source = target.Namespace, "kubeconfig"
	}
	s.Shell.Text = cmp.Or(s.Shell.Text, "bash, sh or ash")
	s.EscapeChar.Text = cmp.Or(s.EscapeChar.Text, escapeDefault)
	s.Keepalive.Text = cmp.Or(s.Keepalive.Text, keepaliveDefault.String())
	s.NodeImage.Text = cmp.Or(s.NodeImage.Text, nodeshell.DefaultImage)
	rows := [][]string{{"SETTING", "VALUE", "SOURCE"}}
	for _, v := range s.All() {
		rows = append(rows, []string{v.Key, v.Text, v.Source})
	}
	a.printTable(rows)
	return nil
}

// printTable prints rows, of which the first is the header, on stdout. a.printed keeps
// a write error.
func (a *app) printTable(rows [][]string) {
	for _, line := range notice.Table(3, rows) {
		_, _ = fmt.Fprintln(a.printed, line)
	}
}
