package apiclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"syscall"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"
)

func TestConnectError_Hint(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	httpProxy := &url.URL{Scheme: "http", Host: "proxy:3128"}
	socks := &url.URL{Scheme: "socks5", Host: "proxy:1080"}
	const where = `context "real" is https://api:6443; --context chooses another`
	const up = "is the cluster up, and are you on its network (VPN)? " + where
	const source = "\nthe proxy comes from --proxy-url: correct it, or omit it to connect without this proxy"
	tests := []struct {
		name       string
		proxy      *url.URL
		err        error
		text, hint string
	}{
		{"refused", nil, dial(syscall.ECONNREFUSED), "", up},
		{"unreachable", nil, dial(syscall.EHOSTUNREACH), "", up},
		{"time-out", nil, &TimeoutError{"https://api:6443", 1e9}, "", up + "\n--request-timeout allows more time"},
		{"cut", nil, io.EOF, "", up},
		{
			"no such name", nil, dial(&net.DNSError{Name: "api", IsNotFound: true}), "",
			`the name "api" is not in the DNS: is the address correct, and are you on the cluster's network (VPN)? ` + where,
		},
		{
			"DNS server does not answer", nil, dial(&net.DNSError{Name: "api", IsTimeout: true}), "",
			`the DNS server did not answer for "api": is this machine on the network? ` + where,
		},
		{
			"unknown authority", nil, &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}, "",
			"`kubectl config view --minify` shows the server's address and its certificate authority; " +
				"--certificate-authority FILE gives another one",
		},
		{
			"other names", nil,
			&tls.CertificateVerificationError{Err: x509.HostnameError{Certificate: &x509.Certificate{}, Host: "api"}}, "",
			"the certificate is for other names: use one of them in the server's address, or give one with " +
				"--tls-server-name; " + where,
		},
		{
			"expired", nil, &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, "",
			"the server's certificate is not valid at the time of this machine's clock: check `date`, " +
				"or renew the certificate of the server",
		},
		{
			"client certificate", nil, &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, "",
			"the server ended the TLS handshake: it probably does not accept the client certificate of the user; " +
				"log in again, or choose another user with --context or --user",
		},
		{
			"proxy refused", httpProxy, &net.OpError{Op: "proxyconnect", Err: dial(syscall.ECONNREFUSED)},
			"the proxy http://proxy:3128: connection refused", source[1:],
		},
		{
			"name of the proxy", httpProxy, &net.OpError{Op: "proxyconnect", Err: dial(&net.DNSError{Name: "proxy", Err: "x"})},
			"the proxy http://proxy:3128: lookup proxy: x", `the name of the proxy, "proxy", is not in the DNS` + source,
		},
		{
			"proxy refuses CONNECT", httpProxy, errors.New("Forbidden"),
			"the proxy http://proxy:3128: Forbidden", source[1:],
		},
		{
			"proxy needs a password", httpProxy, errors.New("Proxy Authentication Required"),
			"the proxy http://proxy:3128: Proxy Authentication Required",
			"the proxy needs a user and a password: write USER:PASSWORD@ before the host in its URL" + source,
		},
		{
			"name resolved by the proxy", socks,
			&net.OpError{Op: "socks connect", Err: errors.New("unknown error host unreachable")},
			"the proxy socks5://proxy:1080: unknown error host unreachable",
			`the proxy cannot reach "api": a socks5 proxy resolves names itself, so it must know this name` + source,
		},
		{"cut, with a proxy", httpProxy, io.EOF, "EOF", up},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			origin := Origin{Server: "https://api:6443", Context: "real", ProxySource: "--proxy-url"}
			err := &ConnectError{Origin: origin, Err: tt.err, host: "api", https: true, proxy: tt.proxy}
			if got := Hint(err); got != tt.hint {
				t.Errorf("hint\n%s\nwant\n%s", got, tt.hint)
			}
			if tt.text != "" && err.Error() != tt.text {
				t.Errorf("text %q, want %q", err, tt.text)
			}
			if !errors.Is(err, tt.err) {
				t.Error("the cause is lost")
			}
		})
	}
}

// The server is a Headlamp server, and its address is that of a flag.
func TestConnectError_HintProxied(t *testing.T) {
	const where = "https://h is the address in --headlamp"
	for _, tt := range []struct {
		err  error
		want string
	}{
		{syscall.ECONNREFUSED, "is the server up, and are you on its network (VPN)? " + where},
		{
			http.ErrSchemeMismatch,
			"the server answers with HTTP, not with HTTPS: its address must begin with http://; " + where,
		},
		{
			&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}},
			"--certificate-authority FILE names the certificate authority of this server: that in the kubeconfig is not " +
				"used, because it is that of the API server",
		},
		{
			tls.AlertError(116),
			"the server ended the TLS handshake: if it requires a client certificate, type --client-certificate FILE " +
				"--client-key FILE; " + where,
		},
	} {
		err := &ConnectError{Origin: Origin{Server: "https://h", Source: "--headlamp", Proxied: true}, Err: tt.err, host: "h"}
		if got := Hint(err); got != tt.want {
			t.Errorf("%v: hint\n%s\nwant\n%s", tt.err, got, tt.want)
		}
	}
}

// The hint quotes the name of the cluster for the shell, and keeps the other
// hosts in NO_PROXY.
func TestConnectError_HintForProxy(t *testing.T) {
	t.Setenv("HTTPS_PROXY", "http://proxy:3128")
	for _, tt := range []struct {
		origin Origin
		want   string
	}{
		{
			Origin{},
			"the proxy comes from the variable HTTPS_PROXY: correct it, or add api to the variable NO_PROXY " +
				"to connect without a proxy",
		},
		{
			Origin{Cluster: "prod (eu)", ProxySource: "proxy-url of cluster prod (eu)"},
			"the proxy comes from proxy-url of cluster prod (eu): " +
				"type `kubectl config set-cluster 'prod (eu)' --proxy-url=http://HOST:PORT`, or --proxy-url=URL",
		},
	} {
		err := &ConnectError{
			Origin: tt.origin, Err: &net.OpError{Op: "proxyconnect", Err: syscall.ECONNREFUSED}, host: "api", https: true,
			proxy: &url.URL{Scheme: "http", Host: "proxy:3128"},
		}
		if got := Hint(err); got != tt.want {
			t.Errorf("hint\n%s\nwant\n%s", got, tt.want)
		}
	}
}

// TestExplain uses real connections, because the errors of net/http have no
// types.
func TestExplain(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	defer proxy.Close()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for _, tt := range []struct{ name, host, proxy, hint string }{
		{"proxy needs a password", "https://api.invalid", proxy.URL, "the proxy needs a user and a password: "},
		{"no proxy", "https://api.invalid", "http://127.0.0.1:1", "the proxy comes from --proxy-url: "},
		{"http server", strings.Replace(plain.URL, "http:", "https:", 1), "", "the server answers with HTTP, not "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := &rest.Config{Host: tt.host}
			if tt.proxy != "" {
				u, err := url.Parse(tt.proxy)
				if err != nil {
					t.Fatal(err)
				}
				cfg.Proxy = http.ProxyURL(u)
			}
			Explain(cfg, Origin{Server: tt.host, ProxySource: proxyFlag})
			client, err := New(cfg)
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Get(tt.host)
			if got := Hint(err); !strings.HasPrefix(got, tt.hint) {
				t.Errorf("%v: hint %q, want %q", err, got, tt.hint)
			}
		})
	}
}

func TestAnswerHint(t *testing.T) {
	for _, tt := range []struct {
		code    int
		fromAPI bool
		message string
		want    string
	}{
		{401, true, "Unauthorized", "the server rejected the credentials"},
		{403, true, `User "ann" cannot get pods`, ""},
		{403, true, `User "system:anonymous" cannot get pods`, "system:anonymous means that no credentials were sent"},
		{403, false, "", "this is not a refusal by the roles of the cluster (RBAC)"},
		{407, false, "", "a proxy needs a user and a password"},
		{429, true, "", "the server has too many requests"},
		{429, false, "", "the server has too many requests"},
		{502, false, "", "a gateway in front of the API server does not reach it"},
		{503, true, "", "the API server is starting, stopping or overloaded"},
		{503, false, "", "a gateway in front of the API server does not reach it"},
		{504, false, "", "a gateway in front of the API server does not reach it"},
		{200, false, "", "a login page or a gateway may be in front of the API server"},
		{302, false, "", "a login page or a gateway may be in front of the API server"},
		{404, true, "", ""},
		{500, true, "", ""},
	} {
		got := AnswerHint(tt.code, tt.fromAPI, tt.message)
		if !strings.HasPrefix(got, tt.want) || (got == "") != (tt.want == "") {
			t.Errorf("%d, from the API %t: %q, want %q", tt.code, tt.fromAPI, got, tt.want)
		}
	}
	if got := Hint(apierrors.NewUnauthorized("Unauthorized")); got != AnswerHint(401, true, "") {
		t.Errorf("hint of a 401: %q", got)
	}
}
