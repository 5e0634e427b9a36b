// Package kubeconfig turns kubectl's connection flags, kubeconfig files and a
// pod's own service account into a server, an identity and a namespace.
//
// It does not know pods, sockets, terminals or cobra. It prints nothing and
// keeps nothing between two calls of Load.
//
// Invariants:
//   - What kubectl's flags mean, they mean here; merging, credentials, proxies
//     and validation are clientcmd's own.
//   - Load reads each file once if there is no error, so a pipe (`<(…)`) works
//     as a kubeconfig. It writes no file: clientcmd's migration of old
//     kubeconfigs is switched off. Requests may write one: client-go's oidc
//     provider stores new tokens in the kubeconfig through
//     Target.Config.AuthConfigPersister.
//   - Without any configuration Load fails; it never falls back to
//     http://localhost:8080.
//   - HTTP clients made from Target.Config follow no redirect to another
//     scheme, host or port. (The client with which client-go's oidc provider
//     asks the identity provider does; it is not made from Target.Config.)
//   - No error holds a token, a key or a line of a file: the parser's own words
//     quote them (see malformed.go), so they are dropped.
package kubeconfig

import (
	_ "k8s.io/client-go/plugin/pkg/client/auth/oidc" // the auth-provider oidc
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// InCluster is Target.Context when the identity is the service account of the
// pod that this program runs in. No kubeconfig has to have such a context.
const InCluster = "(in-cluster)"

const defaultNamespace = "default"

// Target is which server, as whom, and in which namespace.
type Connection struct {
	// Config is complete but for UserAgent and WarningHandler, which are the
	// caller's. Config.Timeout is --request-timeout, 0 meaning none. With an
	// auth-provider, Config.AuthConfigPersister stores new tokens in the
	// kubeconfig; if it fails, the request fails.
	Config *rest.Config
	// Namespace is never empty: -n, else the context's, else the pod's own when
	// this runs in a cluster, else "default".
	Namespace string
	// Context is the context's name, InCluster, or "" when --server or
	// --cluster was enough and no context is in use.
	Context string
	// Notes are sentences for the user about what was chosen in place of what
	// was asked for. Empty in the usual case.
	Notes []string
}

// Load reads the files and applies the flags. Every error is an *Error.
//
// Files are, as for kubectl: --kubeconfig, else the list in KUBECONFIG (of which
// some may be missing), else ~/.kube/config. When they choose no cluster and no
// flag does, the pod's service account is used if there is one. It is built as a
// kubeconfig of its own and not by clientcmd's in-cluster loader, because that
// one ignores --as and logs to stderr.
func (f *Flags) Load() (*Connection, error) {
	if err := f.checkTimeout(); err != nil {
		return nil, err
	}
	files := f.sources()
	raw, err := files.load()
	if err != nil {
		return nil, err
	}
	pod := f.serviceAccount()
	var notes []string
	context := f.contextName(raw)
	if context == "" && f.Cluster == "" && f.Server == "" {
		if f.namesAny() || !pod.exists() {
			return nil, files.nothing(raw)
		}
		notes = files.notesInCluster(raw)
		raw, context = pod.config(), InCluster
	}
	if err := f.check(raw, files); err != nil {
		return nil, err
	}
	config, err := f.restConfig(raw, files)
	if err != nil {
		return nil, err
	}
	if !rest.IsConfigTransportTLS(*config) && (f.identifies() || f.userName(raw) != "") {
		notes = append(notes, "the server's address is not https: no credentials are sent to it")
	}
	return &Connection{Config: config, Namespace: f.namespace(raw, pod), Context: context, Notes: notes}, nil
}

func (f *Flags) restConfig(raw *clientcmdapi.Config, files sources) (*rest.Config, error) {
	config, err := clientcmd.NewNonInteractiveClientConfig(*raw, f.Context, f.overrides(), files.rules()).ClientConfig()
	if err != nil {
		return nil, invalid(err)
	}
	if f.Token != "" {
		// A token given by hand beats the file that the kubeconfig names.
		config.BearerTokenFile = ""
	}
	switch {
	case config.AuthProvider == nil:
	case config.AuthProvider.Name != oidc: // the flags identify the user: see checkUser
		config.AuthProvider = nil
	case !files.regular():
		config.AuthConfigPersister = nil // a pipe can be neither read again nor written
	}
	if _, _, err := rest.DefaultServerUrlFor(config); err != nil {
		return nil, badServer()
	}
	config.Wrap(SameOrigin)
	return config, nil
}

func (f *Flags) namespace(raw *clientcmdapi.Config, pod account) string {
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
