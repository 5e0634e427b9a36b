// Package kubeconfig resolves the connection flags of kubectl, kubeconfig files
// and a pod's service account to a server, credentials and a namespace.
//
// It does not know pods, sockets, terminals or cobra. It prints nothing, and it
// keeps no state between two calls of Load.
//
// Invariants:
//   - Flags and files mean the same as in kubectl: merging, credentials,
//     proxies and validation are done by clientcmd.
//   - Load reads each file once if there is no error, so the kubeconfig can be
//     a pipe (`<(…)`). Load writes no file: clientcmd's migration of old
//     kubeconfigs is disabled. A later request may write the kubeconfig:
//     client-go's oidc provider stores new tokens in it through
//     Connection.Config.AuthConfigPersister.
//   - Without any configuration Load fails. It never falls back to
//     http://localhost:8080.
//   - HTTP clients for Connection.Config follow no redirect to another scheme,
//     host or port. (The client with which client-go's oidc provider calls the
//     identity provider does follow redirects; it is not made from
//     Connection.Config.)
//   - A credential plugin runs only if the kuberc file of kubectl allows it.
//   - Credentials are used for an http:// address only after a call of
//     Connection.UseHTTPCredentials that allows it.
//   - No error contains a token, a key or a line of a file. Messages of parsers
//     are used only if malformed.go lists them, because others may quote the
//     file.
package kubeconfig

import (
	"cmp"
	"slices"
	"strings"

	_ "k8s.io/client-go/plugin/pkg/client/auth/oidc" // the auth-provider oidc
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/apiclient"
	"kshell/internal/script"
)

// InCluster is the value of Connection.Context if the credentials are those of
// the service account of the pod in which this program runs.
const InCluster = "(in-cluster)"

const defaultNamespace = "default"

// Connection is a server, the credentials for it, and a namespace.
type Connection struct {
	// Config is complete except for UserAgent and WarningHandler, which the
	// caller sets. Config.Timeout is --request-timeout; 0 means no limit. With
	// an auth-provider, Config.AuthConfigPersister stores new tokens in the
	// kubeconfig; if that fails, the request fails. For an http:// address,
	// Config has no credentials: see UseHTTPCredentials.
	Config *rest.Config
	// Namespace is -n, else the namespace of the context, else that of the pod
	// in which this program runs, else "default".
	Namespace string
	// Context is the name of the context, InCluster, or "" if --server or
	// --cluster is given and there is no context.
	Context string
	// Notes are messages for the user about decisions of Load that no flag or
	// file has requested. They are sentences without a final period. Usually
	// there are none.
	Notes []string

	http    *httpCredentials // nil for https, or without credentials
	dropped bool             // see CredentialsDropped
}

// Load reads the files and applies the flags. Every error is an *Error.
//
// The files are, as for kubectl: --kubeconfig, else those in KUBECONFIG that
// exist, else ~/.kube/config. If neither a file nor a flag selects a cluster,
// Load uses the pod's service account, if there is one. Clientcmd's in-cluster
// loader is not used, because it ignores --as and logs to stderr.
func (f *Flags) Load() (*Connection, error) {
	loaded, err := f.Read()
	if err != nil {
		return nil, err
	}
	return loaded.Connect()
}

// Loaded is the contents of the kubeconfig files, with the flags.
type Loaded struct {
	flags Flags
	files sources
	raw   *clientcmdapi.Config
}

// Read reads the files for Load. It does not check what they contain. Every
// error is an *Error.
func (f *Flags) Read() (*Loaded, error) {
	if err := f.checkTimeout(); err != nil {
		return nil, err
	}
	files := f.sources()
	raw, err := files.load()
	if err != nil {
		return nil, err
	}
	return &Loaded{*f, files, raw}, nil
}

// Context returns the name of the context, InCluster, or ""; see
// Connection.Context. The files may not define a context of this name.
func (l *Loaded) Context() string {
	if name := l.flags.contextName(l.raw); name != "" || !l.usesAccount() {
		return name
	}
	return InCluster
}

// usesAccount reports whether the service account of the pod is used.
func (l *Loaded) usesAccount() bool {
	f := &l.flags
	return f.contextName(l.raw) == "" && f.Server == "" && !f.namesEntry() && f.serviceAccount().exists()
}

// Connect returns the connection that the files and the flags select; see Load.
func (l *Loaded) Connect() (*Connection, error) {
	f, raw := &l.flags, l.raw
	context := l.Context()
	var notes []string
	switch {
	case l.usesAccount():
		notes = l.files.inClusterNotes(raw)
		raw = f.serviceAccount().config()
	case context == "" && f.Cluster == "" && f.Server == "":
		return nil, l.files.noClusterError(raw)
	}
	conn, err := f.connect(raw, l.files)
	if err != nil {
		return nil, err
	}
	conn.Context, conn.Notes = context, append(notes, conn.Notes...)
	conn.Namespace = f.namespace(raw, f.serviceAccount())
	return conn, nil
}

// connect returns the connection that the flags select in raw, without a
// namespace and the name of the context.
func (f *Flags) connect(raw *clientcmdapi.Config, files sources) (*Connection, error) {
	if err := f.check(raw, files); err != nil {
		return nil, err
	}
	config, err := f.clientConfig(raw, files, f.overrides())
	if err != nil {
		return nil, err
	}
	f.explain(raw, config)
	conn := &Connection{Config: config}
	if !rest.IsConfigTransportTLS(*config) {
		conn.http = f.loadHTTP(raw, files, config)
	} else if err := f.checkTLS(raw, files, config); err != nil {
		return nil, err
	}
	if err := f.restrictPlugin(conn); err != nil {
		return nil, err
	}
	return conn, nil
}

// restrictPlugin applies the policy of the kuberc file to the credential plugin
// of conn, if there is one.
func (f *Flags) restrictPlugin(conn *Connection) error {
	plugins := []*clientcmdapi.ExecConfig{conn.Config.ExecProvider}
	if conn.http != nil && conn.http.config != nil {
		plugins = append(plugins, conn.http.config.ExecProvider)
	}
	plugins = slices.DeleteFunc(plugins, func(plugin *clientcmdapi.ExecConfig) bool { return plugin == nil })
	if len(plugins) == 0 {
		return nil
	}
	policy, note, err := f.pluginPolicy()
	if err != nil {
		return err
	}
	if note != "" {
		conn.Notes = append(conn.Notes, note)
	}
	for _, plugin := range plugins {
		plugin.PluginPolicy = policy
	}
	return nil
}

// clientConfig returns the configuration of clientcmd with the flags in
// overrides.
func (f *Flags) clientConfig(
	raw *clientcmdapi.Config, files sources, overrides *clientcmd.ConfigOverrides,
) (*rest.Config, error) {
	config, err := clientcmd.NewNonInteractiveClientConfig(*raw, f.Context, overrides, files.rules()).ClientConfig()
	if err != nil {
		return nil, invalid(err)
	}
	if f.Token != "" {
		// --token overrides the token file that the kubeconfig names.
		config.BearerTokenFile = ""
	}
	switch {
	case config.AuthProvider == nil:
	case config.AuthProvider.Name != oidc: // checkUser accepts this only if the flags have credentials
		config.AuthProvider = nil
	case !files.allRegular():
		config.AuthConfigPersister = nil // a pipe cannot be read again or written
	}
	if f.hasCredentials() {
		config.ExecProvider = nil // client-go does not use it, but checks it
	}
	if _, _, err := rest.DefaultServerUrlFor(config); err != nil {
		value, where := f.serverLocation(raw, files)
		shown, _, _ := describeAddress(value)
		return nil, badServer(where, f.clusterName(raw), shown, "is neither a URL nor host:port", "")
	}
	return config, nil
}

// explain makes clients of config return errors that name the addresses in
// config, and refuse redirects to another server.
func (f *Flags) explain(raw *clientcmdapi.Config, config *rest.Config) {
	apiclient.Explain(config, f.origin(raw, config))
	config.Wrap(SameOrigin)
}

// origin describes the addresses of the server and the proxy, for hints.
func (f *Flags) origin(raw *clientcmdapi.Config, config *rest.Config) apiclient.Origin {
	o := apiclient.Origin{Cluster: f.clusterName(raw)}
	if address, _, err := rest.DefaultServerUrlFor(config); err == nil {
		address.User = nil
		o.Server = strings.TrimSuffix(address.String(), "/")
	}
	switch {
	case f.Server != "":
		o.Source, o.Proxied = cmp.Or(f.serverSource, "--server"), f.serverSource != ""
	case f.Cluster != "":
		o.Source = "--cluster " + script.Quote(f.Cluster)
	case f.contextName(raw) == InCluster:
		o.Source = podAccount
	default:
		o.Context = f.contextName(raw)
	}
	switch cluster := raw.Clusters[o.Cluster]; {
	case f.ProxyURL != "":
		o.ProxySource = "--proxy-url"
	case cluster != nil && cluster.ProxyURL != "":
		o.ProxySource = "proxy-url of cluster " + script.Quote(o.Cluster)
	}
	return o
}

func (f *Flags) namespace(raw *clientcmdapi.Config, pod serviceAccount) string {
	if f.Namespace != "" {
		return f.Namespace
	}
	if context := raw.Contexts[f.contextName(raw)]; context != nil && context.Namespace != "" {
		return context.Namespace
	}
	if pod.exists() {
		return pod.namespace()
	}
	return defaultNamespace
}
