package main

import (
	"cmp"
	"context"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
	"kshell/internal/cleanup"
	"kshell/internal/headlamp"
	"kshell/internal/interactive"
	"kshell/internal/kubeconfig"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/remote"
	"kshell/internal/settings"
)

// app holds what all commands share.
type app struct {
	streams
	printed  *errWriter // stdout, for the output of kshell itself: help, version, tables
	notice   *notice.Printer
	cleanup  *cleanup.Registry
	name     string // what the user types: kshell, or kubectl kshell
	kube     kubeconfig.Flags
	contexts lastOf // all --context, of which kube has the last
	http     string // --http-credentials
	kubectl  kubectlFlags
	help     helpFlags
	headlamp headlampFlags
	settings settings.Settings // set by load
	server   *remote.ServerState

	headlampServer *headlamp.Server // set by connect; nil if no Headlamp server was asked
	// headlampCluster is the name that the cluster has at the Headlamp server. It
	// is set by connect. It is "" if no Headlamp server is used, or if the context
	// of the kubeconfig is uploaded.
	headlampCluster string
	probeTimeout    time.Duration // replaces defaultProbeTimeout in tests
	warnings        *atomic.Int32 // the number of warnings from the server
	auditID         string        // of all requests to API servers
	reason          string        // --reason, the variable KSHELL_REASON, or the answer to askReason
	confirmed       optionalText  // --confirm-context
}

// limits and terminalLimits are time limits. Tests change them.
var (
	limits         remote.Limits
	terminalLimits interactive.Limits
)

// env returns the environment of remote commands.
func (a *app) env() remote.Env {
	return remote.Env{
		In: a.In, Out: a.Out, Err: a.Err,
		Notice: a.notice, Cleanup: a.cleanup, Server: a.server, Limits: limits,
	}
}

const (
	verboseFlag = "verbose"
	httpFlag    = "http-credentials"
)

// rootFlags are the flags that kshell --help lists.
const rootFlags = connectionGroup + `  -q, --quiet              print only errors
  -v, --verbose            print details, such as which container was chosen
      --version            print the version
`

// newRoot returns the command kshell with all its subcommands.
func newRoot(a *app) *cobra.Command {
	a.warnings, a.server, a.auditID = &atomic.Int32{}, &remote.ServerState{}, apiclient.NewAuditID()
	a.notice.Commands = connectionFlags{a.name, &a.kube, &a.headlamp}
	root := &cobra.Command{
		Use:   "kshell",
		Short: "Open shells and run commands in the pods and on the nodes of Kubernetes",
		Long: `kshell opens shells and runs commands in the pods and on the nodes of a Kubernetes cluster.
It reports how a command really ended, and reconnects a shell when the connection breaks.`,
		Example: `  kshell exec web                        open a shell in pod web
  kshell exec deploy/web -- ps           run a command in a pod of a deployment
  kshell exec deploy/web --all -- id     run it in all of its pods
  tar c . | kshell exec -i web -- tar x  pass local input to the command
  kshell node-shell worker-1             open a shell on a node
  kshell watch pods                      list pods, and print each change`,
		Args:          onlySubcommands,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:       version,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: a.name, commonFlags: rootFlags},
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.In)
	root.SetOut(a.printed)
	root.SetErr(a.Err)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(a.help.show)
	root.SetUsageFunc(func(cmd *cobra.Command) error { a.help.show(cmd, nil); return nil })
	flags := root.PersistentFlags()
	a.help.addTo(flags)
	flags.BoolVarP(&a.notice.Quiet, "quiet", "q", false, "print only errors")
	flags.CountVarP(&a.notice.Verbosity, verboseFlag, "v", "print details, such as which container was chosen and why")
	flags.Lookup(verboseFlag).NoOptDefVal = "+1"
	flags.StringVar(&a.http, httpFlag, "",
		"send credentials to a server whose address begins with http://: refuse, drop or send "+
			"(default: send them to this machine, refuse for any other)")
	flags.StringVar(&a.reason, reasonFlag, os.Getenv(reasonVariable),
		"why you run the command, for the audit log of the API server; default: the variable "+reasonVariable)
	flags.Lookup(reasonFlag).DefValue = "" // for the help
	a.headlamp.addTo(flags)
	a.kube.AddTo(flags)
	a.contexts.replace(flags.Lookup("context"))
	a.kubectl.addTo(flags)
	root.SetGlobalNormalizationFunc(normalizeFlagName)
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) { a.noteIgnoredFlags(cmd) }
	a.completeConnection(root)
	root.AddCommand(newExec(a), newSessions(a), newNodeShell(a), newClusters(a), newWatch(a))
	root.AddCommand(newDoctor(a), newConfig(a), newVersion())
	root.SetHelpCommand(newHelp())
	root.InitDefaultCompletionCmd()
	rejectExtraArgs(root)
	return root
}

// rejectExtraArgs makes the command "completion", which cobra adds, and its
// subcommands reject unknown arguments, as kshell's own commands do.
func rejectExtraArgs(root *cobra.Command) {
	for _, c := range root.Commands() {
		if c.Name() != "completion" {
			continue
		}
		c.Args = onlySubcommands
		c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		for _, shell := range c.Commands() {
			shell.Args = noArgs
		}
	}
}

// newHelp returns the command help. It replaces the help command of cobra,
// which accepts unknown commands.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Help about any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			target, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmp.Or(target, cmd.Root()), strings.Join(rest, " "))
			}
			target.InitDefaultVersionFlag() // cobra adds this flag only to the command that it runs
			return target.Help()
		},
	}
}

// onlySubcommands returns an error if args is not empty. cobra has then found
// no subcommand with the name args[0].
func onlySubcommands(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return unknownCommand(cmd, args[0])
}

// connectOptions are the options of connect.
type connectOptions struct {
	// completing means that the connection is for a completion: credential
	// plugins cannot prompt.
	completing bool
	// nodeShell means that the defaults of a Headlamp server for node shells
	// apply.
	nodeShell bool
	// diagnosing means that a request is always made to a Headlamp server, and that
	// the caller reports the notes of the connection.
	diagnosing bool
	// needsReason means that the command runs something in a container, creates a
	// pod or deletes one. The setting reason applies to it.
	needsReason bool
}

// connect loads the kubeconfig and the settings, and determines whether
// credentials are sent to the server. It accesses the network only if the
// connection goes through a Headlamp server.
func (a *app) connect(ctx context.Context, o connectOptions) (*kubeconfig.Connection, error) {
	loaded, err := a.load()
	if err != nil {
		return nil, err
	}
	return a.connectLoaded(ctx, loaded, o)
}

// connectLoaded is like connect for a kubeconfig that was loaded. The settings
// must have been read by readSettings.
func (a *app) connectLoaded(
	ctx context.Context, loaded *kubeconfig.Loaded, o connectOptions,
) (*kubeconfig.Connection, error) {
	if err := a.checkHTTPRule(a.settings.HTTP); err != nil {
		return nil, err
	}
	if o.needsReason {
		if err := a.requireReason(ctx); err != nil {
			return nil, err
		}
	}
	plan, err := a.headlamp.plan(&a.settings, &a.kube)
	if err != nil {
		return nil, err
	}
	var conn *kubeconfig.Connection
	if plan != nil {
		a.headlamp.used = true
		conn, err = a.connectHeadlamp(ctx, loaded, plan, o)
	} else {
		conn, err = a.connectDirect(loaded, o)
	}
	if err != nil {
		return nil, err
	}
	if !o.diagnosing {
		for _, note := range conn.Notes {
			a.notice.Note("%s", note)
		}
	}
	a.identify(conn.Config)
	conn.Config.WarningHandler = serverWarnings{a}
	if o.completing {
		conn.Config.WarningHandler = rest.NoWarnings{}
	}
	remote.ReportSlow(a.env(), conn.Config)
	if persister := conn.Config.AuthConfigPersister; persister != nil {
		conn.Config.AuthConfigPersister = &tokenKeeper{AuthProviderConfigPersister: persister, notice: a.notice}
	}
	a.notice.Detail("server %s, namespace %s", serverOf(conn.Config), conn.Namespace)
	a.notice.Detail("the audit ID of all requests is %s", a.auditID)
	return conn, nil
}

// identify makes clients of cfg send the name and version of kshell, the reason
// and the audit ID with each request.
func (a *app) identify(cfg *rest.Config) {
	cfg.UserAgent = userAgent(a.reason)
	apiclient.SetAuditID(cfg, a.auditID)
}

// connectDirect returns the connection to the server of the context.
func (a *app) connectDirect(loaded *kubeconfig.Loaded, o connectOptions) (*kubeconfig.Connection, error) {
	conn, err := loaded.Connect()
	if err != nil {
		return nil, err
	}
	if err := conn.UseHTTPCredentials(a.httpRule()); err != nil {
		return nil, err
	}
	if o.completing {
		conn.Config = withoutPrompts(conn.Config)
	}
	a.useNamespaceSetting(conn)
	return conn, a.routeDirect(conn)
}

// httpRule returns the rule for credentials over http, or ""; see
// kubeconfig.Connection.UseHTTPCredentials.
func (a *app) httpRule() string { return cmp.Or(a.http, a.settings.HTTP.Text) }

// checkHTTPRule returns an error if the rule of the flag or of setting is
// unknown.
func (a *app) checkHTTPRule(setting settings.Value) error {
	if a.http != "" && !slices.Contains(kubeconfig.HTTPRules, a.http) {
		return outcome.NewUsageError("unknown --"+httpFlag+" "+strconv.Quote(a.http),
			"one of "+strings.Join(kubeconfig.HTTPRules, ", "))
	}
	if setting.Text == "" { // the default depends on the address
		return nil
	}
	_, err := setting.OneOf(kubeconfig.HTTPSend, kubeconfig.HTTPRefuse, kubeconfig.HTTPDrop)
	return err
}

// useNamespaceSetting makes conn use the setting namespace, unless -n is given.
func (a *app) useNamespaceSetting(conn *kubeconfig.Connection) {
	if namespace := a.settings.Namespace.Text; a.kube.Namespace == "" && namespace != "" {
		conn.Namespace = namespace
	}
}

// load reads the kubeconfig and the settings.
func (a *app) load() (*kubeconfig.Loaded, error) {
	loaded, err := a.kube.Read()
	if err != nil {
		return nil, err
	}
	_, err = a.readSettings(loaded)
	if err != nil {
		return nil, err
	}
	return loaded, nil
}

// readSettings reads the settings for the context of loaded. It returns the
// settings file, or nil if no settings file exists.
func (a *app) readSettings(loaded *kubeconfig.Loaded) (*settings.File, error) {
	file, err := a.loadSettings()
	if err != nil {
		return nil, err
	}
	a.settings = file.Settings(loaded.Context(), os.LookupEnv)
	return file, nil
}

// serverOf returns the address of the API server, without user info.
func serverOf(cfg *rest.Config) string {
	address, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return "with an invalid address" // cannot happen: kubeconfig has checked it
	}
	address.User = nil
	return strings.TrimSuffix(address.String(), "/")
}

// tokenKeeper stores the tokens that an auth-provider has obtained. If they
// cannot be stored, it warns once, and the command continues with the new
// tokens. kubectl fails in this case.
type tokenKeeper struct {
	rest.AuthProviderConfigPersister
	notice *notice.Printer
	failed sync.Once
}

// Persist implements rest.AuthProviderConfigPersister.
func (k *tokenKeeper) Persist(tokens map[string]string) error {
	if err := k.AuthProviderConfigPersister.Persist(tokens); err != nil {
		k.failed.Do(func() {
			k.notice.WarnAlways("the new tokens could not be written to the kubeconfig, "+
				"and the next command may need a new login: %s", err)
		})
	}
	return nil
}

// serverWarnings writes the API server's warnings (deprecations, admission) to
// stderr.
type serverWarnings struct{ *app }

var _ rest.WarningHandler = serverWarnings{}

// HandleWarningHeader implements rest.WarningHandler. The warnings of API
// servers have the code 299.
func (w serverWarnings) HandleWarningHeader(code int, _, text string) {
	if code == 299 && text != "" {
		w.warnings.Add(1)
		w.notice.Warn("%s", text)
	}
}
