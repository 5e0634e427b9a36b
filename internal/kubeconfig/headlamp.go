package kubeconfig

import (
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Login is the kind of credentials of a user.
type Login int

// The kinds of credentials.
const (
	NoLogin     Login = iota
	Bearer            // a token, or a file, plugin or auth-provider; a plugin may return a certificate instead
	Certificate       // only a client certificate
	Password          // a user name and a password
)

// User is the user of a connection.
type User struct {
	Name  string // in the kubeconfig; "" if there is none
	Login Login
	// Chosen reports whether --context, --user or --token selects the
	// credentials. Otherwise they are those of the current context.
	Chosen bool
}

// User returns the user whose credentials ConnectTo uses.
func (l *Loaded) User() User {
	f := &l.flags
	user := User{
		Name: f.userName(l.raw), Login: loginOf(l.raw.AuthInfos[f.userName(l.raw)]),
		Chosen: f.Context != "" || f.User != "" || f.Token != "",
	}
	switch {
	case f.Token != "":
		user.Login = Bearer
	case f.Username != "":
		user.Login, user.Chosen = Password, true
	}
	return user
}

// loginOf returns the kind of credentials of a user of the kubeconfig, which
// may be nil.
func loginOf(user *clientcmdapi.AuthInfo) Login {
	switch authOf(user) {
	case AuthNone:
		return NoLogin
	case AuthCertificate:
		return Certificate
	case AuthPassword:
		return Password
	}
	return Bearer
}

// A Server is a server that replaces that of the context.
type Server struct {
	URL    string
	Source string // where the URL is set, for messages: "--headlamp"
	// Secret reports whether requests contain a secret in addition to the
	// user's credentials. UseHTTPCredentials then applies to it, too.
	Secret bool
}

// ConnectTo returns a connection to a server that passes requests on to a
// cluster, with the bearer token of the user as its only credentials.
//
// The flags for TLS (including --client-certificate) and --proxy-url apply to
// the connection with the server. ConnectTo uses the following parts of the
// kubeconfig: the token and the impersonation of the user, and the namespace of
// the context. Namespace is "" if neither a flag nor the context has one. The
// service account of the pod is not used. Every error is an *Error.
func (l *Loaded) ConnectTo(server Server) (*Connection, error) {
	f := l.flags
	f.Server, f.serverSource, f.serverSecret, f.Cluster = server.URL, server.Source, server.Secret, ""
	f.ClientCert, f.ClientKey = "", "" // they would replace the user's token
	f.Username, f.Password = "", ""
	raw := l.raw.DeepCopy()
	name := f.contextName(raw)
	context := raw.Contexts[name]
	if context != nil {
		context.Cluster = ""
	}
	if user := raw.AuthInfos[f.userName(raw)]; user != nil {
		user.ClientCertificate, user.ClientCertificateData, user.ClientKey, user.ClientKeyData = "", nil, "", nil
		user.Username, user.Password = "", ""
	}
	conn, err := f.connect(raw, l.files)
	if err != nil {
		return nil, err
	}
	if cert := l.flags.ClientCert; cert != "" && rest.IsConfigTransportTLS(*conn.Config) {
		conn.Config.CertFile, conn.Config.KeyFile = cert, l.flags.ClientKey
		if err := l.flags.checkTLS(raw, l.files, conn.Config); err != nil {
			return nil, err
		}
	}
	conn.Context, conn.Namespace = name, f.Namespace
	if conn.Namespace == "" && context != nil {
		conn.Namespace = context.Namespace
	}
	return conn, nil
}

// ConnectDirectly returns the connection that the kubeconfig selects, without
// the flags --server, --proxy-url and those for TLS. Every error is an *Error.
func (l *Loaded) ConnectDirectly() (*Connection, error) {
	direct := *l
	f := &direct.flags
	f.Server, f.ProxyURL = "", ""
	f.Insecure, f.CAFile, f.TLSServerName, f.ClientCert, f.ClientKey = false, "", "", "", ""
	return direct.Connect()
}
