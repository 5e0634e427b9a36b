package kubeconfig

import (
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Flags are the connection flags of kubectl, with its meanings and defaults.
// The zero value is ready to use. An empty field means that the flag is not
// given. Flags is not safe for concurrent use while it is changed.
type Flags struct {
	Kubeconfig         string   // --kubeconfig: the only file to read
	Kuberc             string   // --kuberc: the file with the policy for credential plugins
	Context            string   // --context
	Cluster            string   // --cluster
	User               string   // --user
	Namespace          string   // -n, --namespace; the flag that AddTo registers strips a prefix such as "ns/"
	Server             string   // -s, --server: URL, or host:port
	Token              string   // --token; overrides all tokens in the kubeconfig
	As                 string   // --as
	AsGroups           []string // --as-group, repeated; needs a user to impersonate
	AsUID              string   // --as-uid; needs a user to impersonate
	AsExtra            []string // --as-user-extra, repeated: KEY=VALUE; needs a user to impersonate
	ClientCert         string   // --client-certificate
	ClientKey          string   // --client-key
	Username           string   // --username
	Password           string   // --password
	Insecure           bool     // --insecure-skip-tls-verify
	CAFile             string   // --certificate-authority
	TLSServerName      string   // --tls-server-name
	ProxyURL           string   // --proxy-url
	DisableCompression bool     // --disable-compression
	Timeout            string   // --request-timeout: seconds, or a Go duration; "" and "0" mean no limit

	accountDir   string // replaces defaultAccountDir in tests
	serverSource string // where Server is set, for messages; "" means --server
	serverSecret bool   // see Server.Secret
}

// AddTo registers the flags with the names and usage texts of kubectl. Parsing
// fs sets the fields of f.
func (f *Flags) AddTo(fs *pflag.FlagSet) {
	fs.StringVar(&f.Kubeconfig, "kubeconfig", "", "Path to the kubeconfig file to use for CLI requests.")
	fs.StringVar(&f.Kuberc, "kuberc", "", "Path to the kuberc file whose policy for credential plugins applies. "+
		"KUBERC=off disables it.")
	fs.StringVar(&f.Context, "context", "", "The name of the kubeconfig context to use")
	fs.StringVar(&f.Cluster, "cluster", "", "The name of the kubeconfig cluster to use")
	fs.StringVar(&f.User, "user", "", "The name of the kubeconfig user to use")
	clientcmd.FlagInfo{
		LongName: "namespace", ShortName: "n",
		Description: "If present, the namespace scope for this CLI request",
	}.BindTransformingStringFlag(fs, &f.Namespace, clientcmd.RemoveNamespacesPrefix)
	fs.StringVarP(&f.Server, "server", "s", "", "The address and port of the Kubernetes API server")
	fs.StringVar(&f.Token, "token", "", "Bearer token for authentication to the API server")
	fs.StringVar(&f.As, "as", "", "Username to impersonate for the operation. "+
		"User could be a regular user or a service account in a namespace.")
	fs.StringArrayVar(&f.AsGroups, "as-group", nil, "Group to impersonate for the operation, "+
		"this flag can be repeated to specify multiple groups.")
	fs.StringVar(&f.AsUID, "as-uid", "", "UID to impersonate for the operation.")
	fs.StringArrayVar(&f.AsExtra, "as-user-extra", nil, "User extras to impersonate for the operation, "+
		"this flag can be repeated to specify multiple values for the same key.")
	fs.StringVar(&f.ClientCert, "client-certificate", "", "Path to a client certificate file for TLS")
	fs.StringVar(&f.ClientKey, "client-key", "", "Path to a client key file for TLS")
	fs.StringVar(&f.Username, "username", "", "Username for basic authentication to the API server")
	fs.StringVar(&f.Password, "password", "", "Password for basic authentication to the API server")
	fs.BoolVar(&f.Insecure, "insecure-skip-tls-verify", false, "If true, the server's certificate will not be "+
		"checked for validity. This will make your HTTPS connections insecure")
	fs.StringVar(&f.CAFile, "certificate-authority", "", "Path to a cert file for the certificate authority")
	fs.StringVar(&f.TLSServerName, "tls-server-name", "", "Server name to use for server certificate validation. "+
		"If it is not provided, the hostname used to contact the server is used")
	fs.StringVar(&f.ProxyURL, "proxy-url", "", "Proxy URL to use for requests to the API server")
	fs.BoolVar(&f.DisableCompression, "disable-compression", false,
		"If true, opt-out of response compression for all requests to the server")
	fs.StringVar(&f.Timeout, "request-timeout", "0", "The length of time to wait before giving up on a single "+
		"server request. Non-zero values should contain a corresponding time unit (e.g. 1s, 2m, 3h). "+
		"A value of zero means don't timeout requests.")
}

func (f *Flags) overrides() *clientcmd.ConfigOverrides {
	return &clientcmd.ConfigOverrides{
		CurrentContext: f.Context,
		Timeout:        f.Timeout,
		Context:        clientcmdapi.Context{Cluster: f.Cluster, AuthInfo: f.User, Namespace: f.Namespace},
		ClusterInfo: clientcmdapi.Cluster{
			Server:                f.Server,
			InsecureSkipTLSVerify: f.Insecure,
			CertificateAuthority:  f.CAFile,
			TLSServerName:         f.TLSServerName,
			ProxyURL:              f.ProxyURL,
			DisableCompression:    f.DisableCompression,
		},
		AuthInfo: clientcmdapi.AuthInfo{
			ClientCertificate:    f.ClientCert,
			ClientKey:            f.ClientKey,
			Token:                f.Token,
			Username:             f.Username,
			Password:             f.Password,
			Impersonate:          f.As,
			ImpersonateGroups:    f.AsGroups,
			ImpersonateUID:       f.AsUID,
			ImpersonateUserExtra: f.impersonateExtra(),
		},
	}
}

// impersonateExtra returns AsExtra as a map, or nil if AsExtra is empty.
func (f *Flags) impersonateExtra() map[string][]string {
	var extra map[string][]string
	for _, pair := range f.AsExtra {
		if key, value, ok := strings.Cut(pair, "="); ok { // checkUser rejects a pair without =
			if extra == nil {
				extra = map[string][]string{}
			}
			extra[key] = append(extra[key], value)
		}
	}
	return extra
}

// hasCredentials reports whether the flags contain credentials.
func (f *Flags) hasCredentials() bool { return f.Token != "" || f.ClientCert != "" || f.Username != "" }

func (f *Flags) contextName(raw *clientcmdapi.Config) string {
	if f.Context != "" {
		return f.Context
	}
	return raw.CurrentContext
}

func (f *Flags) clusterName(raw *clientcmdapi.Config) string {
	if context := raw.Contexts[f.contextName(raw)]; f.Cluster == "" && context != nil {
		return context.Cluster
	}
	return f.Cluster
}

func (f *Flags) userName(raw *clientcmdapi.Config) string {
	if context := raw.Contexts[f.contextName(raw)]; f.User == "" && context != nil {
		return context.AuthInfo
	}
	return f.User
}

// namesEntry reports whether a flag names an entry of a kubeconfig.
func (f *Flags) namesEntry() bool {
	return f.Context != "" || f.Cluster != "" || f.User != ""
}
