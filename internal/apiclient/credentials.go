package apiclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"

	"k8s.io/client-go/rest"
)

// Credentials are the credentials that clients of a configuration send.
type Credentials struct {
	Token     string // the bearer token, or ""
	Cert, Key []byte // the client certificate of the credential plugin with its key, in PEM, or nil
}

// ResolveCredentials returns the credentials of cfg: its token, or the token
// and the client certificate of its credential plugin. The plugin runs unless
// client-go has cached its credentials and they have not expired. A failure of
// the plugin is a *PluginError. Nothing is sent to the server.
func ResolveCredentials(cfg *rest.Config) (Credentials, error) {
	own := rest.CopyConfig(cfg)
	own.WrapTransport = nil
	var seen recorder
	wrapped, err := rest.HTTPWrappersForConfig(own, &seen)
	if err != nil {
		return Credentials{}, err
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://localhost", nil)
	if err != nil {
		return Credentials{}, err
	}
	resp, err := PluginErrors(cfg, wrapped).RoundTrip(request)
	if err != nil {
		return Credentials{}, err
	}
	_ = resp.Body.Close() // the body is empty
	c := Credentials{}
	if token, ok := strings.CutPrefix(seen.authorization, "Bearer "); ok {
		c.Token = token
	}
	if cfg.ExecProvider == nil {
		return c, nil
	}
	settings, err := own.TransportConfig()
	if err != nil {
		return Credentials{}, err
	}
	pair, err := settings.TLS.GetCertHolder.GetCert()
	if err == nil && pair != nil {
		c.Cert, c.Key, err = encode(pair)
	}
	return c, err
}

// recorder is a transport that sends nothing and records the Authorization
// header.
type recorder struct{ authorization string }

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.authorization = req.Header.Get("Authorization")
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

// encode returns a certificate and its key in PEM.
func encode(pair *tls.Certificate) (cert, key []byte, err error) {
	for _, der := range pair.Certificate {
		cert = append(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}
