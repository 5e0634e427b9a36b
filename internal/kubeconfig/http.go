package kubeconfig

import (
	"fmt"
	"net"
	"net/url"
	"strings"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// The values of the parameter of UseHTTPCredentials.
const (
	HTTPRefuse = "refuse" // fail if there are credentials
	HTTPDrop   = "drop"   // send requests without credentials, as kubectl does
	HTTPSend   = "send"   // send the credentials
)

// HTTPRules lists the values of the parameter of UseHTTPCredentials.
var HTTPRules = []string{HTTPRefuse, HTTPDrop, HTTPSend}

// UseHTTPCredentials determines whether credentials are sent to a server whose
// address begins with http://. rule is one of HTTPRules, or "". "" means
// HTTPSend if the server is on this machine, and HTTPRefuse otherwise. A
// refusal is an *Error of the kind Usage.
//
// UseHTTPCredentials does nothing if there are no credentials, or if the
// address begins with https://. Client certificates do not count as
// credentials, because HTTP does not send them. Before UseHTTPCredentials is
// called, Config has no credentials for an http:// address.
func (c *Connection) UseHTTPCredentials(rule string) error {
	if c.http == nil {
		return nil
	}
	if rule == "" {
		rule = HTTPRefuse
		if c.http.local {
			rule = HTTPSend
		}
	}
	switch rule {
	case HTTPRefuse:
		return refusedHTTP(c.http.server, c.http.user)
	case HTTPDrop:
		c.dropped = true
	case HTTPSend:
		if c.http.err != nil {
			return c.http.err
		}
		c.Config = c.http.config
	}
	return nil
}

// CredentialsDropped reports whether UseHTTPCredentials has determined that
// credentials are not sent.
func (c *Connection) CredentialsDropped() bool { return c.dropped }

// httpCredentials are credentials for a server whose address begins with
// http://.
type httpCredentials struct {
	config *rest.Config // with the credentials; nil if err is not nil
	err    error        // the credentials cannot be read
	server string       // the address, without user info
	user   string       // the name of the user in the kubeconfig, or ""
	local  bool         // the credentials do not leave this machine
}

// loadHTTP returns the credentials for the server of config, whose address
// begins with http://, or nil if there are none. Clientcmd does not read
// credentials for such an address, so loadHTTP loads the configuration a second
// time, for the same address with https://. It removes user info from
// config.Host.
func (f *Flags) loadHTTP(raw *clientcmdapi.Config, files sources, config *rest.Config) *httpCredentials {
	address, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil // cannot happen: clientConfig has checked it
	}
	public, secure := *address, *address
	public.User, secure.Scheme = nil, "https"
	config.Host = public.String()
	h := &httpCredentials{
		server: strings.TrimSuffix(public.String(), "/"), user: f.userName(raw),
		local: IsLocal(address) && isLocalProxy(f.proxyURL(raw)),
	}
	overrides := f.overrides()
	overrides.ClusterInfo.Server = secure.String()
	h.config, h.err = f.clientConfig(raw, files, overrides)
	if h.err != nil {
		return h
	}
	h.config.Host, h.config.TLSClientConfig = address.String(), rest.TLSClientConfig{}
	f.explain(raw, h.config)
	switch {
	case address.User != nil || hasCredentials(h.config):
	case f.serverSecret:
		h.user = ""
	default:
		return nil
	}
	return h
}

// hasCredentials reports whether cfg has credentials that HTTP sends.
func hasCredentials(cfg *rest.Config) bool {
	return cfg.BearerToken != "" || cfg.BearerTokenFile != "" || cfg.Username != "" || cfg.Password != "" ||
		cfg.ExecProvider != nil || cfg.AuthProvider != nil
}

// proxyURL returns the URL of the proxy that a flag or the kubeconfig gives, or
// "".
func (f *Flags) proxyURL(raw *clientcmdapi.Config) string {
	if cluster := raw.Clusters[f.clusterName(raw)]; f.ProxyURL == "" && cluster != nil {
		return cluster.ProxyURL
	}
	return f.ProxyURL
}

// IsLocal reports whether u is an address of this machine.
func IsLocal(u *url.URL) bool {
	ip := net.ParseIP(u.Hostname())
	return strings.EqualFold(u.Hostname(), "localhost") || ip != nil && ip.IsLoopback()
}

// isLocalProxy reports whether proxy is "", or the URL of a proxy on this
// machine. The proxies in environment variables do not matter, because
// net/http does not use them for addresses of this machine.
func isLocalProxy(proxy string) bool {
	u, err := url.Parse(proxy)
	return proxy == "" || err == nil && IsLocal(u)
}

func refusedHTTP(server, user string) error {
	whose := "the credentials"
	if user != "" {
		whose = fmt.Sprintf("the credentials of user %q", user)
	}
	return &Error{
		Kind: Usage,
		text: fmt.Sprintf("%s are not sent to %s, because it is not an https:// address", whose, server),
		hint: "use an https:// address, or type --http-credentials=drop to send no credentials, as kubectl does " +
			"(right for an address of kubectl proxy), or --http-credentials=send to send them unencrypted",
	}
}
