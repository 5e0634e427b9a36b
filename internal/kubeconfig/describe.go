package kubeconfig

import (
	"cmp"
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Description describes the configuration that the flags select. It contains no
// secret. Its texts may contain control characters.
type Description struct {
	Files       []string // the kubeconfig files that are read if they exist
	FilesSource string   // which flag or variable names them, or "the default"

	Context   Sourced // the Value is InCluster for the service account of the pod, "" if there is none
	Cluster   Sourced // the name of the cluster in the kubeconfig; the Value is "" if there is none
	Server    Sourced // the address, without user info and query
	Proxy     Sourced // the URL without user info; the Value is "" without a flag or an entry
	User      Sourced // the name of the user in the kubeconfig; the Value is "" if there is none
	Namespace Sourced

	// Credentials are all credentials of the user: each Value is one of the Auth
	// constants, or the name of an auth-provider. The list is empty if there are
	// none.
	Credentials []Sourced
	// SecretFiles are the files that contain a token or a key.
	SecretFiles []string
	// Plugin is the program of the credential plugin, without arguments, or "".
	Plugin string
	// Impersonates is the user that requests impersonate, or "".
	Impersonates Sourced
}

// Sourced is a value, and the flag, the variable or the entry of the kubeconfig
// that sets it.
type Sourced struct{ Value, Source string }

// Describe returns the description of the connection that Connect returns. It
// also describes a configuration for which Connect returns an error.
func (l *Loaded) Describe() Description {
	f, raw := &l.flags, l.raw
	d := Description{Files: l.files.files, FilesSource: l.files.source()}
	if l.usesAccount() {
		raw = f.serviceAccount().config()
	}
	d.Context = Sourced{l.Context(), l.contextSource()}
	d.Cluster = Sourced{f.clusterName(raw), f.entrySource(raw, f.Cluster, "--cluster")}
	d.User = Sourced{f.userName(raw), f.entrySource(raw, f.User, "--user")}
	d.Namespace = Sourced{f.namespace(raw, f.serviceAccount()), f.namespaceSource(raw)}
	if cluster := raw.Clusters[d.Cluster.Value]; cluster != nil {
		where := func(field string) string { return f.clusterField(raw, l.files, field).String() }
		d.Server = Sourced{publicAddress(cluster.Server), where("server")}
		if cluster.ProxyURL != "" {
			d.Proxy = Sourced{publicAddress(cluster.ProxyURL), where("proxy-url")}
		}
	}
	if f.Server != "" {
		d.Server = Sourced{publicAddress(f.Server), cmp.Or(f.serverSource, "--server")}
	}
	if f.ProxyURL != "" {
		d.Proxy = Sourced{publicAddress(f.ProxyURL), "--proxy-url"}
	}
	l.describeUser(&d, raw)
	return d
}

// source names the flag or the variable that names the files.
func (s sources) source() string {
	switch s.origin {
	case fromFlag:
		return "--kubeconfig"
	case fromEnv:
		return clientcmd.RecommendedConfigPathEnvVar
	}
	return "the default"
}

// contextSource names the flag, file or account that selects the context.
func (l *Loaded) contextSource() string {
	switch name := l.flags.contextName(l.raw); {
	case l.flags.Context != "":
		return "--context"
	case name == "" && l.usesAccount():
		return "the files of the service account"
	case name == "":
		return ""
	}
	return "current-context in " + l.currentFile()
}

// currentFile returns the file that sets current-context: the first one that
// contains it. If the file cannot be determined, currentFile returns the names of all files.
func (l *Loaded) currentFile() string {
	if !l.files.allRegular() {
		return l.files.String()
	}
	for _, file := range l.files.files {
		if raw, err := clientcmd.LoadFromFile(file); err == nil && raw.CurrentContext != "" {
			return file
		}
	}
	return l.files.String()
}

// entrySource names the flag or the context that selects the cluster or the user.
// name is the name of the flag, and flag is its value.
func (f *Flags) entrySource(raw *clientcmdapi.Config, flag, name string) string {
	context := f.contextName(raw)
	switch entry := raw.Contexts[context]; {
	case flag != "":
		return name
	case context == InCluster:
		return podAccount
	case entry == nil:
		return ""
	default:
		return contextEntry(context, entry)
	}
}

// contextEntry describes a context, and the file that contains it.
func contextEntry(name string, entry *clientcmdapi.Context) string {
	if entry.LocationOfOrigin == "" {
		return fmt.Sprintf("context %q", name)
	}
	return fmt.Sprintf("context %q in kubeconfig %s", name, entry.LocationOfOrigin)
}

// namespaceSource names the flag, context or account that selects the namespace; see
// Flags.namespace.
func (f *Flags) namespaceSource(raw *clientcmdapi.Config) string {
	name := f.contextName(raw)
	switch context := raw.Contexts[name]; {
	case f.Namespace != "":
		return "--namespace"
	case context != nil && context.Namespace != "":
		return contextEntry(name, context)
	case f.serviceAccount().exists():
		return podAccount
	}
	return "the default"
}

// describeUser sets the fields of d about the credentials.
func (l *Loaded) describeUser(d *Description, raw *clientcmdapi.Config) {
	f := &l.flags
	add := func(kind, source string) { d.Credentials = append(d.Credentials, Sourced{kind, source}) }
	file := func(path string) {
		if path != "" {
			d.SecretFiles = append(d.SecretFiles, path)
		}
	}
	user := raw.AuthInfos[d.User.Value]
	if user == nil {
		user = clientcmdapi.NewAuthInfo()
	}
	where := func(field string) string { return l.userSource(raw, d.User.Value, field) }
	switch {
	case f.As != "":
		d.Impersonates = Sourced{f.As, "--as"}
	case user.Impersonate != "":
		d.Impersonates = Sourced{user.Impersonate, where("as")}
	}
	switch {
	case f.Token != "":
		add(AuthToken, "--token")
	case f.Username != "":
		add(AuthPassword, "--username")
	case user.TokenFile != "":
		add(AuthToken, where("tokenFile"))
		file(user.TokenFile)
	case user.Token != "":
		add(AuthToken, where("token"))
	case user.Username != "":
		add(AuthPassword, where("username"))
	}
	switch {
	case f.ClientCert != "":
		add(AuthCertificate, "--client-certificate")
		file(f.ClientKey)
	case len(user.ClientCertificateData) > 0:
		add(AuthCertificate, where("client-certificate-data"))
	case user.ClientCertificate != "":
		add(AuthCertificate, where("client-certificate"))
		file(user.ClientKey)
	}
	switch {
	case f.hasCredentials():
	case user.Exec != nil:
		add(AuthPlugin, where("exec"))
		d.Plugin = user.Exec.Command
	case user.AuthProvider != nil:
		add(cmp.Or(user.AuthProvider.Name, AuthNone), where("auth-provider"))
	}
}

// userSource returns the location of a field of a user.
func (l *Loaded) userSource(raw *clientcmdapi.Config, name, field string) string {
	if raw.AuthInfos[name] == nil {
		return ""
	}
	return l.flags.userField(raw, l.files, field).String()
}
