package main

import (
	"fmt"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"kshell/internal/settings"
)

func newConfig(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "What kshell is set to",
		Args:  noSuchCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "view",
		Short: "Print the settings in force, and where each comes from",
		Long: `Print the settings in force for the context in use, and where each comes from.

They stand in a file, ` + settingsName + ` in the user's folder for configurations
(` + settingsVariable + ` names another), and can be set for one context:

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

// loadSettings reads the user's.
func loadSettings() (*settings.Settings, error) {
	path := os.Getenv(settingsVariable)
	if path == "" {
		folder, err := os.UserConfigDir()
		if err != nil { // no home: no file
			folder = os.DevNull
		}
		path = filepath.Join(folder, filepath.FromSlash(settingsName))
	}
	return settings.Load(path, os.LookupEnv)
}

func (a *app) viewConfig() error {
	target, err := a.connect()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(a.printed, 0, 8, 3, ' ', 0)
	_, _ = fmt.Fprintln(table, "SETTING\tVALUE\tSOURCE") // a.printed remembers
	for _, key := range settings.Keys() {
		v := a.prefs.Get(key, target.Context)
		switch {
		case key == settings.Namespace && a.kube.Namespace != "":
			v.Value, v.Source = a.kube.Namespace, "flag --namespace"
		case key == settings.Namespace && v.Value == "":
			v.Value, v.Source = target.Namespace, "kubeconfig"
		case key == settings.Shell && v.Value == "":
			v.Value = "bash, sh or ash"
		case key == settings.EscapeChar && v.Value == "":
			v.Value = escapeDefault
		case key == settings.Keepalive && v.Value == "":
			v.Value = keepaliveDefault.String()
		case key == settings.NodeImage && v.Value == "":
			v.Value = nodeImageDefault
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", v.Key, clean(v.Value), clean(v.Source))
	}
	return table.Flush()
}
