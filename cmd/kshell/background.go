package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"

	"k8s.io/client-go/rest"
)

// background is the transport of requests that are made while a session has the
// terminal. A credential plugin that such a request ran would read the keys that
// are for the session, and write on its screen.
//
// So the requests carry the credentials that the session's own plugin gave last
// (see hold). Where the server refuses these, the plugin is run again, with the
// null device as its stdin and stderr. A background is safe for concurrent use.
type background struct {
	cfg   *rest.Config      // of the session
	renew http.RoundTripper // runs the plugin quietly
	held  atomic.Pointer[held]
}

// held are credentials, and a transport that sends them.
type held struct {
	token string
	cert  []byte // PEM
	http.RoundTripper
}

// newBackground returns a transport for cfg, and the configuration of clients
// that use it. cfg must have a credential plugin.
func newBackground(cfg *rest.Config) (*background, *rest.Config, error) {
	server, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, nil, err
	}
	quiet, err := withQuietPlugin(cfg)
	if err != nil {
		return nil, nil, err
	}
	b := &background{cfg: http1(cfg)}
	if b.renew, err = rest.TransportFor(http1(quiet)); err != nil {
		return nil, nil, err
	}
	outer := rest.AnonymousClientConfig(cfg)
	outer.Host, outer.TLSClientConfig, outer.Proxy, outer.Transport = server.String(), rest.TLSClientConfig{}, nil, b
	return b, outer, nil
}

// http1 is cfg for a transport of HTTP/1.1: SPDY cannot be upgraded to from
// HTTP/2, and these requests are few.
func http1(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.NextProtos = []string{"http/1.1"}
	return cfg
}

// hold keeps the credentials that the session's plugin gives now. It runs the
// plugin, on the terminal, if that has not been run or its credentials have
// expired.
func (b *background) hold() error {
	token, cert, key, err := credentials(b.cfg)
	if err != nil {
		return err
	}
	if old := b.held.Load(); old != nil && old.token == token && slices.Equal(old.cert, cert) {
		return nil
	}
	cfg := rest.CopyConfig(b.cfg)
	cfg.ExecProvider, cfg.BearerToken, cfg.CertData, cfg.KeyData = nil, token, cert, key
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		return err
	}
	b.held.Store(&held{token, cert, transport})
	return nil
}

// RoundTrip implements http.RoundTripper.
func (b *background) RoundTrip(req *http.Request) (*http.Response, error) {
	held := b.held.Load()
	if held == nil {
		return b.renew.RoundTrip(req)
	}
	again := req.Clone(req.Context())
	resp, err := held.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusUnauthorized || req.Body != nil && req.GetBody == nil {
		return resp, err
	}
	b.held.CompareAndSwap(held, nil)
	if req.Body != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return resp, nil //nolint:nilerr // the answer is what there is
		}
	}
	_ = resp.Body.Close() // nothing of it is used
	return b.renew.RoundTrip(again)
}

// credentials asks the credential plugin of cfg, or client-go's cache of what it
// gave last, for a bearer token and a client certificate with its key, in PEM.
func credentials(cfg *rest.Config) (token string, cert, key []byte, err error) {
	cfg = rest.CopyConfig(cfg)
	cfg.WrapTransport = nil
	settings, err := cfg.TransportConfig()
	if err != nil {
		return "", nil, nil, err
	}
	var seen recorder
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://localhost", nil) // it is not sent
	if err != nil {
		return "", nil, nil, err
	}
	resp, err := settings.WrapTransport(&seen).RoundTrip(request)
	if err != nil {
		return "", nil, nil, err
	}
	_ = resp.Body.Close() // there is none
	token = strings.TrimPrefix(seen.authorization, "Bearer ")
	pair, err := settings.TLS.GetCertHolder.GetCert()
	if err == nil && pair != nil {
		cert, key, err = encode(pair)
	}
	if err == nil && token == "" && cert == nil {
		err = errors.New("the credential plugin gives no credentials")
	}
	return token, cert, key, err
}

// recorder is a transport that sends nothing and keeps a header of the request.
type recorder struct{ authorization string }

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.authorization = req.Header.Get("Authorization")
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

func encode(pair *tls.Certificate) (cert, key []byte, err error) {
	for _, der := range pair.Certificate {
		cert = append(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

// quietPlugin is the first argument of kshell where it runs a credential plugin,
// which the other arguments are, with nothing but its stdout. client-go gives
// plugins the stderr of its own process.
const quietPlugin = "__quiet-plugin"

// withQuietPlugin is cfg with its credential plugin run so, and told that there
// is nobody to ask.
func withQuietPlugin(cfg *rest.Config) (*rest.Config, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cfg = unprompted(cfg, "a session has the terminal")
	plugin := cfg.ExecProvider
	plugin.Args = append([]string{quietPlugin, plugin.Command}, plugin.Args...)
	plugin.Command = self
	return cfg, nil
}

// runQuietly runs a credential plugin for withQuietPlugin, and gives its exit code.
func runQuietly(std streams, command []string) int {
	if len(command) == 0 {
		return exitUsage
	}
	cmd := exec.CommandContext(context.Background(), command[0], command[1:]...) //nolint:gosec // the kubeconfig names it, as for client-go
	cmd.Stdout = std.Out
	if err := cmd.Run(); err != nil {
		return cmp.Or(max(cmd.ProcessState.ExitCode(), 0), exitFailed)
	}
	return 0
}
