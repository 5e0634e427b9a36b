package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptrace"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/apiclient"
	"kshell/internal/kubeconfig"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/remote"
	"kshell/internal/settings"
)

// The limits of clusters --check.
const (
	maxChecks    = 10 // at the same time
	checkTimeout = 5 * time.Second
)

// clustersFlags are the flags of clusters.
type clustersFlags struct {
	output string
	check  bool
}

// newClusters returns the command clusters.
func newClusters(a *app) *cobra.Command {
	var f clustersFlags
	cmd := &cobra.Command{
		Use:   "clusters",
		Short: "List the clusters that kshell can use",
		Long: `List the contexts of the kubeconfig, and the clusters of the Headlamp server that --headlamp or the setting
headlamp selects. * marks the one that kshell uses if no flag selects another.

AUTH is how the user of the context authenticates: by a token, a credential plugin, oidc, a certificate, a password, or
not at all (none). With -o json, each line is a JSON object.

With --check, kshell asks each server for its version, ten at a time, 5 s each. A credential plugin is run only if it
does not need to prompt. The exit code is 1 if no server answers.`,
		Example: `  kshell clusters              all contexts
  kshell clusters --check      which of them can be reached
  kshell clusters -o name      only the names
  kshell clusters --headlamp https://headlamp.example.com`,
		Annotations: map[string]string{commonFlags: `
Flags:
      --check              ask each server for its version
  -o, --output FORMAT      wide, json or name

Connection:
      --kubeconfig FILE    kubeconfig (default: KUBECONFIG, or ~/.kube/config)
      --headlamp URL       also the clusters of a Headlamp server
`},
		Args:                  noArgs,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			plan, err := planClusters(cmd, f)
			if err != nil {
				return err
			}
			return a.clusters(cmd.Context(), plan)
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&f.output, outputFlag, "o", "", "output format: wide, json or name")
	flags.BoolVar(&f.check, "check", false, "ask each server for its version")
	fixed := cobra.FixedCompletions(listFormats, cobra.ShellCompDirectiveNoFileComp)
	_ = cmd.RegisterFlagCompletionFunc(outputFlag, fixed) // the flag exists: no error
	noFiles(cmd, flags)
	return cmd
}

const outputFlag = "output"

// The values of -o of commands that print a list.
const (
	formatWide = "wide"
	formatJSON = "json"
	formatName = "name"
)

var listFormats = []string{formatWide, formatJSON, formatName}

// checkListFormat returns a usage error if format is neither "" nor one of
// listFormats.
func checkListFormat(format string) error {
	if format == "" || slices.Contains(listFormats, format) {
		return nil
	}
	return outcome.NewUsageError("unknown -o "+strconv.Quote(format), "one of "+strings.Join(listFormats, ", "))
}

// clustersPlan is a parsed command line of clusters.
type clustersPlan struct {
	format string // "" or one of listFormats
	check  bool
	// needsHeadlamp is one of headlampEntryFlags that is given, or "".
	needsHeadlamp string
}

// entryFlags are the connection flags that replace a part of a context.
// clusters would apply them to all contexts, and --check would send the same
// credentials to all servers.
var entryFlags = []string{
	"cluster", "user", "server", "token", "client-certificate", "client-key", "username", "password",
	"certificate-authority", "tls-server-name", "insecure-skip-tls-verify", "proxy-url",
}

// headlampEntryFlags are those of entryFlags that clusters accepts if a Headlamp
// server is selected: they apply only to this server and its clusters.
var headlampEntryFlags = []string{
	"user", "token", "client-certificate", "client-key", "certificate-authority", "tls-server-name",
	"insecure-skip-tls-verify", "proxy-url",
}

// planClusters returns the plan of a command line.
func planClusters(cmd *cobra.Command, f clustersFlags) (*clustersPlan, error) {
	if err := checkListFormat(f.output); err != nil {
		return nil, err
	}
	p := &clustersPlan{format: f.output, check: f.check}
	for _, name := range entryFlags {
		switch {
		case !changed(cmd, name):
		case slices.Contains(headlampEntryFlags, name):
			p.needsHeadlamp = name
		default:
			return nil, p.notWithClusters(name)
		}
	}
	return p, nil
}

// notWithClusters returns the error for one of entryFlags.
func (*clustersPlan) notWithClusters(name string) error {
	return outcome.NewUsageError("--"+name+" cannot be used with clusters, which lists all contexts",
		"to list only one context, type `kshell clusters --context NAME`")
}

// clusterRow is a cluster that kshell can use. Its JSON form is a line of
// -o json.
type clusterRow struct {
	Name      string `json:"name"`
	From      string `json:"from"`
	Server    string `json:"server"`
	Auth      string `json:"auth"`
	Namespace string `json:"namespace"`
	Current   bool   `json:"current"`           // a command without flags uses it
	Cluster   string `json:"cluster,omitempty"` // in the kubeconfig
	User      string `json:"user,omitempty"`    // in the kubeconfig
	*checkResult
}

// checkResult is the result of --check for a cluster.
type checkResult struct {
	Reachable bool   `json:"reachable"`
	Version   string `json:"version,omitempty"`
	Error     string `json:"error,omitempty"` // if it is not reachable
}

// The values of clusterRow.From.
const (
	fromKubeconfig = "kubeconfig"
	fromHeadlamp   = "headlamp"
	fromAccount    = "service account" // of the pod in which kshell runs
)

// clusterEntry is a cluster that kshell can use, and how it connects with it.
type clusterEntry struct {
	row     clusterRow
	connect func() (*kubeconfig.Connection, error) // does not access the network
}

// clusters executes a plan.
func (a *app) clusters(ctx context.Context, p *clustersPlan) error {
	loaded, err := a.kube.Read()
	if err != nil {
		return err
	}
	file, err := a.loadSettings()
	if err != nil {
		return err
	}
	a.settings = file.Settings(loaded.Context(), os.LookupEnv)
	// This checks the flag. connectContext checks the setting of each context.
	if err := a.checkHTTPRule(settings.Value{}); err != nil {
		return err
	}
	headlampPlan, err := a.headlamp.plan(&a.settings, &a.kube)
	if err != nil {
		return err
	}
	if headlampPlan == nil && p.needsHeadlamp != "" {
		return p.notWithClusters(p.needsHeadlamp)
	}
	entries, err := a.contextEntries(file, headlampPlan)
	if err != nil {
		return err
	}
	var headlampErr error
	if headlampPlan != nil {
		var more []clusterEntry
		more, headlampErr = a.headlampEntries(ctx, loaded, headlampPlan)
		entries = append(entries, more...)
	}
	rows := make([]clusterRow, len(entries))
	for i := range entries {
		rows[i] = entries[i].row
	}
	if p.check {
		silenceStderr() // client-go passes it to credential plugins
		err = a.checkClusters(ctx, entries, rows)
	}
	if ctx.Err() != nil {
		return outcome.ContextCause(ctx, ctx.Err())
	}
	if len(rows) > 0 || headlampErr == nil {
		a.printClusters(p, rows)
	}
	return cmp.Or(headlampErr, err)
}

// contextEntries returns the contexts of the kubeconfig. If plan is not nil,
// there may be none.
func (a *app) contextEntries(file *settings.File, plan *headlampPlan) ([]clusterEntry, error) {
	kube := a.kube
	if plan != nil { // the flags for TLS are those of the Headlamp server
		kube.User, kube.Token, kube.ProxyURL, kube.ClientCert, kube.ClientKey = "", "", "", "", ""
		kube.CAFile, kube.TLSServerName, kube.Insecure = "", "", false
	}
	contexts, err := kube.Contexts()
	if err != nil && (plan == nil || kube.Context != "") {
		return nil, err
	}
	entries := make([]clusterEntry, len(contexts))
	for i, c := range contexts {
		own := file.Settings(c.Name, os.LookupEnv)
		row := clusterRow{
			Name: c.Name, From: fromKubeconfig, Server: c.Server, Auth: c.Auth, Namespace: c.Namespace,
			Current: c.Current && (plan == nil || a.headlamp.byFlag()), Cluster: c.Cluster, User: c.User,
		}
		if c.Name == kubeconfig.InCluster {
			row.From = fromAccount
		}
		if own.Namespace.Text != "" && a.kube.Namespace == "" {
			row.Namespace = own.Namespace.Text
		}
		entries[i] = clusterEntry{row, func() (*kubeconfig.Connection, error) {
			return a.connectContext(&c, own.HTTP)
		}}
	}
	return entries, nil
}

// connectContext returns the connection of a context. httpRule is the setting
// http-credentials for this context. The flag takes precedence.
func (a *app) connectContext(c *kubeconfig.Context, httpRule settings.Value) (*kubeconfig.Connection, error) {
	if err := a.checkHTTPRule(httpRule); err != nil {
		return nil, err
	}
	conn, err := c.Connect()
	if err != nil {
		return nil, err
	}
	if err := conn.UseHTTPCredentials(cmp.Or(a.http, httpRule.Text)); err != nil {
		return nil, err
	}
	return conn, a.routeDirect(conn)
}

// checkClusters sets the checkResult of each row. If no cluster is reachable, it
// returns an error with the exit code 1.
func (a *app) checkClusters(ctx context.Context, entries []clusterEntry, rows []clusterRow) error {
	progress := a.notice.Progress()
	defer progress.End()
	var wg sync.WaitGroup
	var done atomic.Int32
	free := make(chan struct{}, maxChecks)
	for i := range entries {
		free <- struct{}{}
		wg.Go(func() {
			defer a.cleanup.OnPanic()
			defer func() { <-free }()
			version, err := a.checkCluster(ctx, entries[i].connect)
			rows[i].checkResult = &checkResult{Reachable: err == nil, Version: version}
			if err != nil {
				rows[i].Error = notice.Clean(err.Error())
			}
			if n := done.Add(1); progress.InPlace() {
				progress.Update(fmt.Sprintf("checked %d of %d clusters", n, len(rows)))
			}
		})
	}
	wg.Wait()
	if !slices.ContainsFunc(rows, func(r clusterRow) bool { return r.Reachable }) {
		return &outcome.ReportedError{ExitCode: 1, Err: errors.New("no cluster can be reached")}
	}
	return nil
}

// checkCluster returns the version of the server of a connection, or the reason
// why it is not known. If the credential plugin takes longer than checkTimeout,
// the goroutine that runs it continues until the process ends, because a plugin
// cannot be interrupted.
func (a *app) checkCluster(ctx context.Context, connect func() (*kubeconfig.Connection, error)) (string, error) {
	conn, err := connect()
	if err != nil {
		return "", err
	}
	if p := conn.Config.ExecProvider; p != nil && p.InteractiveMode == clientcmdapi.AlwaysExecInteractiveMode {
		return "", fmt.Errorf("the credential plugin %s must prompt, and --check does not prompt", p.Command)
	}
	cfg := remote.WithoutPrompts(conn.Config, "--check does not prompt")
	a.identify(cfg)
	cfg.Timeout = min(cmp.Or(cfg.Timeout, checkTimeout), checkTimeout)
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	var sending atomic.Bool // whether the credential plugin has ended, and the request is being sent
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GetConn: func(string) { sending.Store(true) }})
	type answer struct {
		version string
		err     error
	}
	answered := make(chan answer, 1)
	go func() {
		defer a.cleanup.OnPanic()
		version, err := serverVersion(ctx, cfg)
		answered <- answer{version, err}
	}()
	select {
	case got := <-answered:
		return got.version, got.err
	case <-ctx.Done():
	}
	if cfg.ExecProvider != nil && !sending.Load() {
		return "", fmt.Errorf("the credential plugin %s did not end within %v", cfg.ExecProvider.Command, checkTimeout)
	}
	return "", &apiclient.TimeoutError{Server: serverOf(cfg), After: checkTimeout}
}

// serverVersion returns the version of the API server of cfg, such as v1.37.2.
func serverVersion(ctx context.Context, cfg *rest.Config) (string, error) {
	scheme, v1 := runtime.NewScheme(), schema.GroupVersion{Version: "v1"}
	metav1.AddToGroupVersion(scheme, v1) // the type Status
	cfg = rest.CopyConfig(cfg)
	cfg.WarningHandler = rest.NoWarnings{}
	cfg.GroupVersion = &v1
	cfg.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	shared, err := apiclient.New(cfg)
	if err != nil {
		return "", err
	}
	defer shared.CloseIdleConnections()
	client, err := rest.RESTClientForConfigAndClient(cfg, shared)
	if err != nil {
		return "", err
	}
	result := client.Get().AbsPath("/version").MaxRetries(0).Do(ctx)
	if err := result.Error(); err != nil {
		return "", apiclient.Plain(err)
	}
	raw, err := result.Raw()
	var info struct {
		GitVersion string `json:"gitVersion"`
	}
	if err != nil || json.Unmarshal(raw, &info) != nil || info.GitVersion == "" {
		return "", errors.New("the answer does not come from a Kubernetes API server")
	}
	return info.GitVersion, nil
}

// printClusters prints rows to stdout. a.printed keeps a write error.
func (a *app) printClusters(p *clustersPlan, rows []clusterRow) {
	switch p.format {
	case formatName:
		for _, r := range rows {
			_, _ = fmt.Fprintln(a.printed, notice.Clean(r.Name))
		}
	case formatJSON:
		for _, r := range rows {
			_, _ = a.printed.Write(notice.JSON(r))
		}
	default:
		a.printTable(clustersTable(p, rows))
	}
}

// clustersTable returns the rows of the table, and its header.
func clustersTable(p *clustersPlan, rows []clusterRow) [][]string {
	header := []string{"  NAME", "FROM", "SERVER", "AUTH", "NAMESPACE"}
	if p.format == formatWide {
		header = append(header, "CLUSTER", "USER")
	}
	if p.check {
		header = append(header, "REACHABLE")
	}
	table := [][]string{header}
	for _, r := range rows {
		mark := "  "
		if r.Current {
			mark = "* "
		}
		line := []string{mark + r.Name, r.From, r.Server, r.Auth, r.Namespace}
		if p.format == formatWide {
			line = append(line, r.Cluster, r.User)
		}
		if p.check {
			reachable := "yes, " + r.Version
			if !r.Reachable {
				reachable = "no: " + r.Error
			}
			line = append(line, reachable)
		}
		table = append(table, line)
	}
	return table
}
