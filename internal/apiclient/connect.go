package apiclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"

	"kshell/internal/script"
)

// Origin describes where the address of the API server and of its proxy come
// from. It is used in hints.
type Origin struct {
	Server  string // the URL of the API server, without user info
	Context string // the context that names the server; "" if --server or --cluster does
	// Source names where the server's address is set if Context is "":
	// "--server", or "the service account of this pod".
	Source string
	// Proxied means that the server is not an API server, but passes requests
	// on to one: a Headlamp server.
	Proxied bool
	// Cluster is the name of the cluster in the kubeconfig, or "".
	Cluster string
	// ProxySource names where the proxy's address is set: "--proxy-url", or
	// "proxy-url of cluster X". "" means an environment variable.
	ProxySource string
}

// where returns the part of a hint that names the server and where its address
// comes from.
func (o Origin) where() string {
	switch {
	case o.Context != "":
		return fmt.Sprintf("context %q is %s; --context chooses another", o.Context, o.Server)
	case o.Source != "":
		return fmt.Sprintf("%s is the address in %s", o.Server, o.Source)
	}
	return "the server is " + o.Server
}

// Explain makes clients of cfg return a *ConnectError if a connection to the
// server fails. cfg.Proxy must have been set before.
func Explain(cfg *rest.Config, o Origin) {
	proxy := cfg.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return &explainer{next, o, proxy} })
}

// explainer is the transport that returns *ConnectError.
type explainer struct {
	http.RoundTripper
	origin Origin
	proxy  func(*http.Request) (*url.URL, error)
}

// WrappedRoundTripper implements RoundTripperWrapper of
// k8s.io/apimachinery/pkg/util/net.
func (e *explainer) WrappedRoundTripper() http.RoundTripper { return e.RoundTripper }

// CloseIdleConnections is called by the method of that name of http.Client.
func (e *explainer) CloseIdleConnections() { utilnet.CloseIdleConnectionsFor(e.RoundTripper) }

// RoundTrip implements http.RoundTripper.
func (e *explainer) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := e.RoundTripper.RoundTrip(req)
	if err == nil {
		return resp, nil
	}
	// http.Client makes this replacement, too, but not for a wrapped error.
	if record, ok := errors.AsType[tls.RecordHeaderError](err); ok && string(record.RecordHeader[:]) == "HTTP/" {
		err = http.ErrSchemeMismatch
	}
	failure := &ConnectError{Origin: e.origin, Err: err, host: req.URL.Hostname(), https: req.URL.Scheme == "https"}
	proxy, proxyErr := e.proxy(req)
	failure.badProxy = proxyErr != nil
	if proxyErr == nil && proxy != nil {
		failure.proxy = &url.URL{Scheme: proxy.Scheme, Host: proxy.Host}
	}
	return nil, failure
}

// ConnectError means that no connection to the API server could be opened, or
// that the connection ended before the answer.
type ConnectError struct {
	Origin Origin
	Err    error

	host     string   // of the server
	https    bool     // the scheme of the server's address
	proxy    *url.URL // the proxy of the request, without user info, or nil
	badProxy bool     // the address of the proxy is invalid
}

// Error returns the text of Err. If the proxy caused the error, it names the
// proxy.
func (e *ConnectError) Error() string {
	if e.AtProxy() {
		return fmt.Sprintf("the proxy %s: %s", e.proxy, withoutOperation(e.Err))
	}
	return e.Err.Error()
}

// withoutOperation returns the text of err without the operation and the
// addresses of a *net.OpError.
func withoutOperation(err error) string {
	var op *net.OpError
	if errors.As(err, &op) {
		return withoutOperation(op.Err)
	}
	return err.Error()
}

// Unwrap returns Err.
func (e *ConnectError) Unwrap() error { return e.Err }

// Timeout implements net.Error.
func (e *ConnectError) Timeout() bool {
	var timeout interface{ Timeout() bool }
	return errors.As(e.Err, &timeout) && timeout.Timeout()
}

// Temporary implements net.Error.
func (e *ConnectError) Temporary() bool { return e.Timeout() }

// AtProxy reports whether the connection failed at the proxy.
func (e *ConnectError) AtProxy() bool {
	if e.proxy == nil {
		return false
	}
	var op *net.OpError
	if errors.As(e.Err, &op) {
		return slices.Contains([]string{"proxyconnect", "socks connect"}, op.Op)
	}
	return e.refusedByProxy()
}

// refusedByProxy reports whether the proxy refused the method CONNECT. For such
// a refusal, net/http returns an error of errors.New whose text is that of the
// HTTP status. refusedByProxy excludes other errors of that type by their
// texts.
func (e *ConnectError) refusedByProxy() bool {
	text := e.Err.Error()
	return errors.Unwrap(e.Err) == nil && fmt.Sprintf("%T", e.Err) == "*errors.errorString" && !errors.Is(e.Err, io.EOF) &&
		!slices.ContainsFunc([]string{"http: ", "net/http: ", "http2: ", "tls: ", "x509: ", "unexpected EOF"},
			func(prefix string) bool { return strings.HasPrefix(text, prefix) })
}

// Hint returns what to check or to type for this cause.
func (e *ConnectError) Hint() string {
	var dns *net.DNSError
	var op *net.OpError
	var alert tls.AlertError
	switch {
	case errors.Is(e.Err, context.Canceled):
		return ""
	case e.badProxy:
		return e.proxySource()
	case e.AtProxy():
		return e.proxyHint()
	case errors.As(e.Err, &dns):
		return e.dnsHint(dns)
	case errors.Is(e.Err, http.ErrSchemeMismatch) && e.Origin.Proxied:
		return "the server answers with HTTP, not with HTTPS: its address must begin with http://; " + e.Origin.where()
	case errors.Is(e.Err, http.ErrSchemeMismatch):
		return "the server answers with HTTP, not with HTTPS: is this the address of an API server? " + e.Origin.where()
	case e.Origin.Proxied && (errors.As(e.Err, &alert) || errors.As(e.Err, &op) && op.Op == "remote error"):
		return "the server ended the TLS handshake: if it requires a client certificate, type --client-certificate FILE " +
			"--client-key FILE; " + e.Origin.where()
	case errors.As(e.Err, &alert), errors.As(e.Err, &op) && op.Op == "remote error":
		return "the server ended the TLS handshake: it probably does not accept the client certificate of the user; " +
			"log in again, or choose another user with --context or --user"
	}
	if hint := e.certificateHint(); hint != "" {
		return hint
	}
	what := "cluster"
	if e.Origin.Proxied {
		what = "server"
	}
	hint := fmt.Sprintf("is the %s up, and are you on its network (VPN)? %s", what, e.Origin.where())
	if e.Timeout() {
		hint += "\n--request-timeout allows more time"
	}
	return hint
}

func (e *ConnectError) dnsHint(dns *net.DNSError) string {
	hint := "the name %q is not in the DNS: is the address correct, and are you on the cluster's network (VPN)? %s"
	if dns.IsTimeout || dns.IsTemporary && !dns.IsNotFound {
		hint = "the DNS server did not answer for %q: is this machine on the network? %s"
	}
	return fmt.Sprintf(hint, dns.Name, e.Origin.where())
}

func (e *ConnectError) proxyHint() string {
	var lines []string
	var dns *net.DNSError
	switch text := e.Err.Error(); {
	case errors.As(e.Err, &dns):
		lines = append(lines, fmt.Sprintf("the name of the proxy, %q, is not in the DNS", dns.Name))
	case strings.HasPrefix(e.proxy.Scheme, "socks5") && (strings.Contains(text, "host unreachable") ||
		strings.Contains(text, "general SOCKS server failure")):
		lines = append(lines, fmt.Sprintf(
			"the proxy cannot reach %q: a socks5 proxy resolves names itself, so it must know this name", e.host))
	case strings.Contains(text, http.StatusText(http.StatusProxyAuthRequired)),
		strings.Contains(text, "username/password"), strings.Contains(text, "authentication methods"):
		lines = append(lines, "the proxy needs a user and a password: write USER:PASSWORD@ before the host in its URL")
	}
	return strings.Join(append(lines, e.proxySource()), "\n")
}

// proxySource returns the part of a hint that names where the proxy's address
// is set, and how to change it.
func (e *ConnectError) proxySource() string {
	o := e.Origin
	switch {
	case o.ProxySource == "":
		name := ProxyVariable(e.https)
		return fmt.Sprintf("the proxy comes from the variable %s: correct it, or add %s to the variable NO_PROXY "+
			"to connect without a proxy", name, e.host)
	case o.Cluster != "" && o.ProxySource != proxyFlag:
		return fmt.Sprintf("the proxy comes from %s: type `kubectl config set-cluster %s --proxy-url=http://HOST:PORT`, "+
			"or --proxy-url=URL", o.ProxySource, script.Quote(o.Cluster))
	}
	return fmt.Sprintf("the proxy comes from %s: correct it, or omit it to connect without this proxy", o.ProxySource)
}

const proxyFlag = "--proxy-url"

// ProxyVariable returns the name of the environment variable that
// http.ProxyFromEnvironment reads for a server whose address begins with https://
// or http://.
func ProxyVariable(https bool) string {
	name := "HTTP_PROXY"
	if https {
		name = "HTTPS_PROXY"
	}
	if os.Getenv(name) == "" {
		return strings.ToLower(name)
	}
	return name
}

// certificateHint returns the hint for a certificate of the server that is not
// accepted, or "".
func (e *ConnectError) certificateHint() string {
	var unknown x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var invalid x509.CertificateInvalidError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(e.Err, &hostname):
		return "the certificate is for other names: use one of them in the server's address, or give one with " +
			"--tls-server-name; " + e.Origin.where()
	case errors.As(e.Err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate is not valid at the time of this machine's clock: check `date`, " +
			"or renew the certificate of the server"
	case e.Origin.Proxied && (errors.As(e.Err, &unknown) || errors.As(e.Err, &invalid) || errors.As(e.Err, &untrusted)):
		return "--certificate-authority FILE names the certificate authority of this server: that in the kubeconfig is not " +
			"used, because it is that of the API server"
	case errors.As(e.Err, &unknown), errors.As(e.Err, &invalid), errors.As(e.Err, &untrusted):
		return "`kubectl config view --minify` shows the server's address and its certificate authority; " +
			"--certificate-authority FILE gives another one"
	}
	return ""
}
