package doctor

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
	"kshell/internal/headlamp"
	"kshell/internal/kubeconfig"
	"kshell/internal/remote"
	"kshell/internal/stream"
)

// contact is the first request to the first server to which kshell connects: the
// API server, or a Headlamp server. The request has no token and no password. The
// checks dns, tcp, proxy, tls and version report its parts.
type contact struct {
	url   *url.URL
	proxy *url.URL // nil if there is none
	body  []byte   // of the answer, if its status is 200
	err   error

	mu        sync.Mutex // protects the following, which callbacks of the request set
	addresses []string
	remote    string // the address of the TCP connection
	state     *tls.ConnectionState
	begun     map[string]time.Time
	took      map[string]time.Duration
}

// The parts of a contact.
const (
	atDNS    = "dns"
	atTCP    = "tcp"
	atProxy  = "proxy"
	atTLS    = "tls"
	atAnswer = "version"
)

// begin records the start of a part of the request.
func (c *contact) begin(part string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begun[part] = time.Now()
}

// end records the duration of a part of the request. It calls set with c.mu locked.
func (c *contact) end(part string, set func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if begun, ok := c.begun[part]; ok {
		c.took[part] = time.Since(begun)
	}
	set()
}

// make makes the request. limit is its time limit, unless cfg has one. cfg is not
// changed.
func (c *contact) make(ctx context.Context, cfg *rest.Config, path string, limit time.Duration) {
	c.begun, c.took = map[string]time.Time{}, map[string]time.Duration{}
	own := headlamp.WithoutLogin(cfg)
	own.Timeout = cmp.Or(own.Timeout, limit)
	own.Dial = (&net.Dialer{}).DialContext // the new dialer also makes client-go open a new connection
	address, _, err := rest.DefaultServerUrlFor(own)
	if err != nil {
		c.err = err
		return
	}
	c.url = address
	find := own.Proxy
	if find == nil {
		find = http.ProxyFromEnvironment
	}
	// An invalid address of a proxy makes the request fail, too.
	c.proxy, _ = find(&http.Request{Method: http.MethodGet, URL: address, Host: address.Host, Header: http.Header{}})
	dialer, err := stream.NewDialer(own)
	if err != nil {
		c.err = err
		return
	}
	body, err := dialer.Get(httptrace.WithClientTrace(ctx, c.trace()), path, nil)
	c.end(atAnswer, func() {})
	if err != nil {
		c.err = err
		return
	}
	defer body.Close()
	c.body, c.err = io.ReadAll(io.LimitReader(body, apiclient.MaxObject))
}

// trace returns the functions that record the parts of the request.
func (c *contact) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { c.begin(atDNS) },
		DNSDone: func(info httptrace.DNSDoneInfo) {
			c.end(atDNS, func() {
				for _, address := range info.Addrs {
					c.addresses = append(c.addresses, address.String())
				}
			})
		},
		ConnectStart: func(string, string) { c.begin(atTCP) },
		ConnectDone: func(_, address string, err error) {
			c.end(atTCP, func() {
				if err == nil {
					c.remote = address
				}
			})
			c.begin(atProxy)
		},
		TLSHandshakeStart: func() {
			c.end(atProxy, func() {})
			c.begin(atTLS)
		},
		TLSHandshakeDone: func(state tls.ConnectionState, err error) {
			c.end(atTLS, func() {
				if err == nil {
					c.state = &state // with an https:// proxy, the last handshake is that with the server
				}
			})
		},
		GotConn: func(httptrace.GotConnInfo) { c.begin(atAnswer) },
	}
}

// failedAt returns the part of the request that failed, or "".
func (c *contact) failedAt() string {
	var dns *net.DNSError
	var failed *apiclient.ConnectError
	var refused *stream.HandshakeError
	switch {
	case c.err == nil:
		return ""
	case errors.As(c.err, &refused):
		return atAnswer
	case errors.As(c.err, &dns):
		return atDNS
	case c.remote == "":
		return atTCP
	case errors.As(c.err, &failed) && failed.AtProxy():
		return atProxy
	case c.url.Scheme == "https" && (c.state == nil || isTLS(c.err)):
		return atTLS
	}
	return atAnswer
}

// isTLS reports whether err is a TLS alert, with which the server refuses the
// handshake. With TLS 1.3, the alert can arrive after the client's handshake ends.
func isTLS(err error) bool {
	var alert tls.AlertError
	var op *net.OpError
	return errors.As(err, &alert) || errors.As(err, &op) && op.Op == "remote error"
}

// host returns the name or address to which the TCP connection is opened.
func (c *contact) host() string {
	if c.proxy != nil {
		return c.proxy.Hostname()
	}
	return c.url.Hostname()
}

// checkDNS makes the first request, and reports the name lookup.
func checkDNS(ctx context.Context, d *diagnosis) finding {
	c := &contact{}
	d.contact = c
	path := "/version"
	if d.headlamp {
		path = "/config"
	}
	d.Progress("connecting to " + d.first.Config.Host)
	c.make(ctx, d.first.Config, path, d.Limit)
	if c.url == nil {
		return failure(ctx, c.err)
	}
	switch host := c.host(); {
	case c.failedAt() == atDNS:
		return failure(ctx, c.err).in(c.took[atDNS])
	case net.ParseIP(host) != nil:
		return passed("%s is an IP address", host).in(time.Nanosecond)
	case len(c.addresses) > 0:
		return passed("%s is %s", host, strings.Join(c.addresses, ", ")).in(c.took[atDNS])
	default: // a socks proxy, or an error before the lookup
		return passed("%s was not looked up", host).in(time.Nanosecond)
	}
}

// in returns f with the duration of the check.
func (f finding) in(took time.Duration) finding {
	f.took = max(took, time.Nanosecond)
	return f
}

// checkTCP reports the TCP connection to the server, or to the proxy if one is used.
func checkTCP(ctx context.Context, d *diagnosis) finding {
	c := d.contact
	if c.failedAt() == atTCP {
		return failure(ctx, c.err).in(c.took[atTCP])
	}
	f := passed("connected to %s", c.remote)
	if c.proxy != nil {
		f = passed("connected to the proxy %s", c.remote)
	}
	return f.in(c.took[atTCP])
}

// checkProxy reports whether the proxy connected to the server.
func checkProxy(ctx context.Context, d *diagnosis) finding {
	c := d.contact
	if c.proxy == nil {
		return finding{status: OK, omit: true}
	}
	if c.failedAt() == atProxy {
		return failure(ctx, c.err).in(c.took[atProxy])
	}
	public := url.URL{Scheme: c.proxy.Scheme, Host: c.proxy.Host}
	source := d.config.Proxy.Source
	if d.config.Proxy.Value == "" || d.headlamp && !strings.HasPrefix(source, "--") {
		source = "variable " + apiclient.ProxyVariable(c.url.Scheme == "https")
	}
	return passed("%s (%s)", public.String(), source).in(c.took[atProxy])
}

// expirySoon is the remaining validity below which a certificate is reported as a
// warning.
const expirySoon = 14 * 24 * time.Hour

// checkTLS reports the certificate of the server.
func checkTLS(ctx context.Context, d *diagnosis) finding {
	c := d.contact
	switch {
	case c.failedAt() == atTLS:
		return failure(ctx, c.err).in(c.took[atTLS]).with(describeUnverified(c.err)...)
	case c.url.Scheme != "https" && kubeconfig.IsLocal(c.url):
		return passed("not encrypted: the address begins with http://, and is on this machine").in(time.Nanosecond)
	case c.url.Scheme != "https":
		return warning("use an https:// address", "not encrypted: the address begins with http://").in(time.Nanosecond)
	case c.state == nil || len(c.state.PeerCertificates) == 0: // cannot happen
		return passed("the certificate is not known")
	}
	leaf := c.state.PeerCertificates[0]
	text := fmt.Sprintf("%s, certificate for %s", tls.VersionName(c.state.Version), namesOf(leaf))
	chain := c.state.PeerCertificates[:1]
	if len(c.state.VerifiedChains) > 0 {
		chain = c.state.VerifiedChains[0]
	}
	first := slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	whose := "the certificate"
	if first != leaf {
		whose = fmt.Sprintf("the certificate of its issuer %q", first.Subject.CommonName)
	}
	f := passed("%s, valid until %s", text, day(first.NotAfter))
	switch left := time.Until(first.NotAfter); {
	case d.first.Config.Insecure:
		f = warning("remove insecure-skip-tls-verify, and give the certificate authority of the server "+
			"(certificate-authority in the kubeconfig, or --certificate-authority FILE)",
			"%s: it is not checked (insecure-skip-tls-verify), so anyone on the way can read the credentials", text)
	case left < expirySoon:
		f = warning("renew the certificate of the server", "%s: %s expires on %s, in %s",
			text, whose, day(first.NotAfter), days(left))
	}
	return f.in(c.took[atTLS])
}

// describeUnverified describes the certificates of a server that were not
// accepted.
func describeUnverified(err error) []string {
	var untrusted *tls.CertificateVerificationError
	if !errors.As(err, &untrusted) || len(untrusted.UnverifiedCertificates) == 0 {
		return nil
	}
	leaf := untrusted.UnverifiedCertificates[0]
	return []string{fmt.Sprintf("certificate for %s, from %q, valid from %s to %s",
		namesOf(leaf), leaf.Issuer.CommonName, day(leaf.NotBefore), day(leaf.NotAfter))}
}

// maxNames is the number of names of a certificate that are shown.
const maxNames = 5

// namesOf returns the DNS names and addresses in a certificate.
func namesOf(c *x509.Certificate) string {
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return fmt.Sprintf("%q", c.Subject.CommonName)
	}
	text := strings.Join(names[:min(len(names), maxNames)], ", ")
	if more := len(names) - maxNames; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// day formats a time as a date.
func day(t time.Time) string { return t.UTC().Format(time.DateOnly) }

// days formats a duration in days, rounded down, or in hours if it is less than two
// days.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}

// checkHeadlamp determines the connection to the API server. If it goes through a
// Headlamp server, checkHeadlamp reports the clusters of that server.
func checkHeadlamp(ctx context.Context, d *diagnosis) finding {
	conn, server, err := d.Program.Connect(ctx, d.loaded)
	if err == nil {
		d.conn = conn
		d.cluster, err = remote.NewCluster(d.Env, conn.Config, false)
	}
	switch {
	case err != nil:
		return failure(ctx, err)
	case !d.headlamp:
		return finding{status: OK, omit: true}
	case server == nil:
		return passed("requests go to %s", conn.Config.Host)
	}
	f := passed("%s has %d clusters; requests go to %s", server.Base, len(server.Clusters), conn.Config.Host)
	if len(server.Clusters) == 1 {
		f.message = fmt.Sprintf("%s has one cluster; requests go to %s", server.Base, conn.Config.Host)
	}
	if d.settings.Namespace.Text == "" && conn.Namespace != d.config.Namespace.Value {
		f = f.with(fmt.Sprintf("the namespace is %q, that of the cluster at the Headlamp server", conn.Namespace))
	}
	for _, c := range server.Clusters {
		text := fmt.Sprintf("cluster %q", c.Name)
		if c.Server != "" {
			text += ": " + c.Server
		}
		if c.Error != "" {
			text += ", cannot be used: " + c.Error
		}
		f = f.with(text)
	}
	if server.Stateless {
		f = f.with("the server accepts contexts of its users (--headlamp-stateless)")
	}
	return f
}

// checkVersion reports the version of the API server.
func checkVersion(ctx context.Context, d *diagnosis) finding {
	c := d.contact
	if c.failedAt() == atAnswer && !d.headlamp {
		switch stream.RefusalOf(c.err) {
		case stream.RefusalUnauthorized, stream.RefusalNoRight, stream.RefusalNoReason:
		default:
			return failure(ctx, remote.Explain(c.err)).in(c.took[atAnswer])
		}
	}
	if version := parseVersion(c.body); version != "" && !d.headlamp {
		d.version = version
		return passed("Kubernetes %s", version).in(c.took[atAnswer])
	}
	start := time.Now()
	body, err := d.cluster.Transport().Get(ctx, "/version", nil)
	if err != nil {
		var refused *stream.HandshakeError
		if errors.As(err, &refused) && refused.Refusal() == stream.RefusalUnauthorized {
			return warning("", "the version is not known, because the server does not accept the credentials").
				in(time.Since(start))
		}
		return failure(ctx, remote.Explain(err))
	}
	defer body.Close()
	answer, err := io.ReadAll(io.LimitReader(body, apiclient.MaxObject))
	if err != nil {
		return failure(ctx, err)
	}
	version := parseVersion(answer)
	if version == "" {
		return finding{
			status: Failed, message: "the server answers, but not with a version of Kubernetes",
			hint: "is this the address of an API server? `kubectl config view --minify` shows it",
		}
	}
	d.version = version
	return passed("Kubernetes %s", version)
}

// isBefore reports whether the version of the server is known, and older than
// major.minor.
func (d *diagnosis) isBefore(major, minor int) bool {
	var haveMajor, haveMinor int
	if _, err := fmt.Sscanf(d.version, "v%d.%d", &haveMajor, &haveMinor); err != nil {
		return false
	}
	return haveMajor < major || haveMajor == major && haveMinor < minor
}

// parseVersion returns the version in an answer to GET /version, or "".
func parseVersion(body []byte) string {
	var answer struct {
		GitVersion string `json:"gitVersion"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return ""
	}
	return answer.GitVersion
}
