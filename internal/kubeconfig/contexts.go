package kubeconfig

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Context describes a context of the kubeconfig. Its fields contain no secret,
// but they may contain control characters.
type Context struct {
	Name      string // InCluster for the service account of the pod
	Cluster   string // the name of the cluster in the kubeconfig
	User      string // the name of the user in the kubeconfig
	Server    string // the address, without user info and query; "" if the cluster is not defined
	Auth      string // one of the Auth constants, or the name of an auth-provider that kshell does not support
	Namespace string
	// Current reports whether Load uses this context if Flags is the zero value.
	Current bool

	flags Flags
	raw   *clientcmdapi.Config
	files sources
}

// The ways in which the user of a context authenticates. If a user has several
// credentials, the first of these counts.
const (
	AuthToken       = "token" // also from a file
	AuthPlugin      = "plugin"
	AuthOIDC        = oidc
	AuthCertificate = "certificate"
	AuthPassword    = "password"
	AuthNone        = "none"
)

// Contexts reads the files and returns all contexts, sorted by name. With
// --context, it returns only this one. If Load without flags would use the
// pod's service account, the last context is the service account. Every error
// is an *Error. A context whose entries are invalid is not an error: see
// Connect.
func (f *Flags) Contexts() ([]Context, error) {
	if err := f.checkTimeout(); err != nil {
		return nil, err
	}
	files, pod := f.sources(), f.serviceAccount()
	raw, err := files.load()
	if err != nil {
		return nil, err
	}
	if f.Context != "" {
		if err := f.checkContext(raw, files); err != nil {
			return nil, err
		}
	}
	var all []Context
	for _, name := range slices.Sorted(maps.Keys(raw.Contexts)) {
		if f.Context == "" || f.Context == name {
			all = append(all, f.describe(raw, files, pod, name))
		}
	}
	if f.Context == "" && raw.CurrentContext == "" && pod.exists() {
		account := f.describe(pod.config(), files, pod, InCluster)
		all = append(all, account)
	}
	if len(all) == 0 {
		return nil, files.noClusterError(raw)
	}
	return all, nil
}

// describe returns the description of the context with this name in raw.
func (f *Flags) describe(raw *clientcmdapi.Config, files sources, pod serviceAccount, name string) Context {
	own := *f
	own.Context = name
	c := Context{
		Name: name, Cluster: own.clusterName(raw), User: own.userName(raw), Namespace: own.namespace(raw, pod),
		Current: name == raw.CurrentContext, flags: own, raw: raw, files: files,
	}
	c.Auth = authOf(raw.AuthInfos[c.User])
	if cluster := raw.Clusters[c.Cluster]; cluster != nil {
		c.Server = publicAddress(cluster.Server)
		if c.Auth == AuthNone && strings.Contains(cluster.Server, "@") {
			c.Auth = AuthPassword // in the address
		}
	}
	return c
}

// Connect returns the connection that Load returns for this context. It does
// not read the kubeconfig again. It is safe for concurrent use. Every error is
// an *Error.
func (c *Context) Connect() (*Connection, error) {
	conn, err := c.flags.connect(c.raw, c.files)
	if err != nil {
		return nil, err
	}
	conn.Context, conn.Namespace = c.Name, c.Namespace
	return conn, nil
}

// authOf returns how user authenticates. user may be nil.
func authOf(user *clientcmdapi.AuthInfo) string {
	switch {
	case user == nil:
		return AuthNone
	case user.Token != "" || user.TokenFile != "":
		return AuthToken
	case user.Exec != nil:
		return AuthPlugin
	case user.AuthProvider != nil:
		return cmp.Or(user.AuthProvider.Name, AuthNone)
	case user.ClientCertificate != "" || len(user.ClientCertificateData) > 0:
		return AuthCertificate
	case user.Username != "":
		return AuthPassword
	}
	return AuthNone
}

// publicAddress returns a server's address without user info, query and final
// slash.
func publicAddress(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		shown, _, _ := describeAddress(address, "https", "http")
		return shown
	}
	public := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return strings.TrimSuffix(public.String(), "/")
}
