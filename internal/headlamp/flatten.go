package headlamp

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// maxKubeconfig is the largest result of Flatten, in bytes. Headlamp gets it in
// a header of each request, and proxies limit the length of a header.
const maxKubeconfig = 8 << 10

// namePrefix begins the names of uploaded contexts. A server must have no
// cluster of such a name: for a WebSocket with an unknown user ID, Headlamp
// uses its own cluster of the name, with its own credentials.
const namePrefix = "kshell-"

// Flatten returns a kubeconfig for upload to a Headlamp server. It has one
// cluster, one user and one context, all of the same name; see ContextName. It
// contains the CA and the token of cfg, and names no file, plugin or proxy:
// Flatten reads files and runs the credential plugin. If cfg has no token, it
// contains the client certificate and its key, if there are any.
//
// Errors are about files, the credential plugin, a user with a password, and a
// kubeconfig larger than 8 KiB.
func Flatten(cfg *rest.Config) ([]byte, error) {
	cfg = rest.CopyConfig(cfg)
	address, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, err
	}
	if err := rest.LoadTLSFiles(cfg); err != nil {
		return nil, err
	}
	user, err := flatUser(cfg, address)
	if err != nil {
		return nil, err
	}
	address.User = nil
	cluster := &api.Cluster{
		Server: strings.TrimSuffix(address.String(), "/"), TLSServerName: cfg.ServerName,
		InsecureSkipTLSVerify: cfg.Insecure, CertificateAuthorityData: cfg.CAData,
	}
	flat, err := write("", cluster, user)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(flat)
	flat, err = write(namePrefix+hex.EncodeToString(sum[:4]), cluster, user)
	if err == nil && len(flat) > maxKubeconfig {
		err = fmt.Errorf("the context has %d bytes without its files and plugins; at most %d KiB can be uploaded",
			len(flat), maxKubeconfig>>10)
	}
	return flat, err
}

func write(name string, cluster *api.Cluster, user *api.AuthInfo) ([]byte, error) {
	return clientcmd.Write(api.Config{
		Clusters:       map[string]*api.Cluster{name: cluster},
		AuthInfos:      map[string]*api.AuthInfo{name: user},
		Contexts:       map[string]*api.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	})
}

// flatUser returns the user of cfg with a token, or else with a client
// certificate.
func flatUser(cfg *rest.Config, address *url.URL) (*api.AuthInfo, error) {
	if cfg.Username != "" || cfg.Password != "" || address.User != nil {
		return nil, errors.New("a user with a password cannot be uploaded")
	}
	token, cert, err := credentials(cfg)
	switch {
	case err != nil:
		return nil, err
	case token != "":
		return &api.AuthInfo{Token: token}, nil
	case cert != nil:
		return certUser(cert)
	}
	return &api.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData}, nil
}

// credentials returns the bearer token of cfg, and the certificate that the
// credential plugin has returned. It may run the credential plugin.
func credentials(cfg *rest.Config) (token string, cert *tls.Certificate, err error) {
	cfg = rest.CopyConfig(cfg)
	cfg.WrapTransport = nil
	var seen recorder
	transport, err := rest.HTTPWrappersForConfig(cfg, &seen)
	if err != nil {
		return "", nil, err
	}
	request, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "https://localhost", nil)
	if err != nil {
		return "", nil, err
	}
	resp, err := transport.RoundTrip(request) // recorder sends nothing
	if err != nil {
		return "", nil, err
	}
	_ = resp.Body.Close() // the body is empty
	token, _ = strings.CutPrefix(seen.authorization, "Bearer ")
	if cfg.ExecProvider == nil {
		return token, nil, nil
	}
	settings, err := cfg.TransportConfig()
	if err != nil {
		return "", nil, err
	}
	cert, err = settings.TLS.GetCertHolder.GetCert()
	return token, cert, err
}

// recorder is a transport that sends nothing and records the Authorization
// header.
type recorder struct{ authorization string }

// RoundTrip implements http.RoundTripper.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.authorization = req.Header.Get("Authorization")
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

// certUser returns a user with a client certificate.
func certUser(cert *tls.Certificate) (*api.AuthInfo, error) {
	user := &api.AuthInfo{}
	for _, der := range cert.Certificate {
		block := &pem.Block{Type: "CERTIFICATE", Bytes: der}
		user.ClientCertificateData = append(user.ClientCertificateData, pem.EncodeToMemory(block)...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	user.ClientKeyData = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return user, err
}

// ContextName returns the name of the context in the result of Flatten, which
// is also the name of the cluster in the URL. The name contains a hash of the
// content.
func ContextName(kubeconfig []byte) (string, error) {
	c, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return "", errors.New("the kubeconfig to upload is malformed") // err may contain a part of it
	}
	return c.CurrentContext, nil
}

// UserID returns the value of the header X-HEADLAMP-USER-ID for a kubeconfig
// with the context name. user identifies the user: [A-Za-z0-9_-]+, not
// guessable. Headlamp keeps the kubeconfig that it got first for an ID, so the
// ID contains the hash of the content.
func UserID(user, name string) string { return user + "-" + strings.TrimPrefix(name, namePrefix) }
