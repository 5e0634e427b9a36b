package main

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"kshell/internal/cleanup"
	"kshell/internal/interactive"
	"kshell/internal/kubeconfig"
	"kshell/internal/notice"
	"kshell/internal/remote"
	"kshell/internal/settings"
)

// app is what every command shares.
type app struct {
	streams
	printed  *sticky // stdout for what is kshell's own to print: help, version, completion
	notice   *notice.Printer
	cleanup  *cleanup.Registry
	kube     kubeconfig.Flags
	kubectl  kubectlFlags
	warnings *atomic.Int32     // that the server has given
	called   string            // what the user types for it: kshell, or kubectl kshell
	settings settings.Settings // set by connect
	server   *remote.ServerState
}

// limits and terminalLimits are time limits that tests change.
var (
	limits         remote.Limits
	terminalLimits interactive.Limits
)

// env returns what all commands share.
func (a *app) env() remote.Env {
	return remote.Env{In: a.In, Out: a.Out, Err: a.Err, Notice: a.notice, Cleanup: a.cleanup, Server: a.server, Limits: limits}
}

const verboseFlag = "verbose"

func newRoot(a *app) *cobra.Command {
	a.warnings, a.server = &atomic.Int32{}, &remote.ServerState{}
	root := &cobra.Command{
		Use:   "kshell",
		Short: "Shells and commands in the pods and nodes of a Kubernetes cluster",
		Long: `kshell opens shells and runs commands in the pods and nodes of a Kubernetes cluster. It is truthful about how a
command ended, and lives through broken connections.`,
		Example: `  kshell exec web                        a shell in pod web
  kshell exec deploy/web -- ps           a command in a pod of deployment web
  tar c . | kshell exec -i web -- tar x  with its input from here`,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:       version,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: a.called},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.In)
	root.SetOut(a.printed)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, err.Error()) })
	root.SetHelpFunc(help)
	root.SetUsageFunc(func(cmd *cobra.Command) error { help(cmd, nil); return nil })
	flags := root.PersistentFlags()
	flags.BoolVarP(&a.notice.Quiet, "quiet", "q", false, "say nothing but errors")
	flags.CountVarP(&a.notice.Verbosity, verboseFlag, "v", "say more: what was chosen, and why")
	flags.Lookup(verboseFlag).NoOptDefVal = "+1"
	a.kube.AddTo(flags)
	a.kubectl.addTo(flags)
	root.SetGlobalNormalizationFunc(asKubectl)
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) { a.mentionIdle(cmd) }
	a.completeConnection(root)
	root.AddCommand(newExec(a), newNodeShell(a), newConfig(a), newVersion())
	root.SetHelpCommand(newHelp())
	root.InitDefaultCompletionCmd()
	strict(root)
	return root
}

// strict makes the commands that cobra brings along refuse what they do not know, as ours do.
func strict(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args = noSuchCommand
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		for _, shell := range c.Commands() {
			shell.Args = noArgs
		}
	}
}

func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			named, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return usage(cmd.Root(), "there is no command "+strconv.Quote(strings.Join(args, " ")))
			}
			named.InitDefaultHelpFlag() // as cobra does for a command that it runs
			named.InitDefaultVersionFlag()
			return named.Help()
		},
	}
}

// noSuchCommand returns an error if there is an argument: it is not a known command.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usage(cmd, "there is no command "+strconv.Quote(args[0]))
}

// connect loads the configuration, and tells the user what kubeconfig had to choose.
func (a *app) connect() (*kubeconfig.Connection, error) {
	target, err := a.kube.Load()
	if err != nil {
		return nil, err
	}
	file, err := a.loadSettings()
	if err != nil {
		return nil, err
	}
	a.settings = file.Settings(target.Context, os.LookupEnv)
	if namespace := a.settings.Namespace.Text; a.kube.Namespace == "" && namespace != "" {
		target.Namespace = namespace
	}
	for _, note := range target.Notes {
		a.notice.Note("%s", note)
	}
	target.Config.UserAgent = "kshell/" + version
	target.Config.WarningHandler = serverWarnings{a}
	remote.ReportSlow(a.env(), target.Config)
	if persister := target.Config.AuthConfigPersister; persister != nil {
		target.Config.AuthConfigPersister = &tokenKeeper{AuthProviderConfigPersister: persister, notice: a.notice}
	}
	a.notice.Detail("server %s, namespace %s", serverOf(target.Config), target.Namespace)
	return target, nil
}

// serverOf returns the server's address without user info.
func serverOf(cfg *rest.Config) string {
	address, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return "with an invalid address" // does not happen: kubeconfig has checked it
	}
	address.User = nil
	return strings.TrimSuffix(address.String(), "/")
}

// tokenKeeper stores the tokens that an auth-provider has obtained. If they cannot be
// stored, it warns once, and the command continues with the new tokens. (kubectl
// fails.)
type tokenKeeper struct {
	rest.AuthProviderConfigPersister
	notice *notice.Printer
	failed sync.Once
}

// Persist implements rest.AuthProviderConfigPersister.
func (k *tokenKeeper) Persist(tokens map[string]string) error {
	if err := k.AuthProviderConfigPersister.Persist(tokens); err != nil {
		k.failed.Do(func() {
			k.notice.WarnAlways("the new tokens could not be written to the kubeconfig, and the next command may need a new login: %s", err)
		})
	}
	return nil
}

// serverWarnings writes the API server's warnings (deprecations, admission) to stderr.
type serverWarnings struct{ *app }

var _ rest.WarningHandler = serverWarnings{}

// HandleWarningHeader implements rest.WarningHandler. 299 is the code of the API server's own warnings.
func (w serverWarnings) HandleWarningHeader(code int, _, text string) {
	if code == 299 && text != "" {
		w.warnings.Add(1)
		w.notice.Warn("%s", text)
	}
}
