//go:build unix

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/sandbox"
)

// identityProvider is an OpenID Connect provider. Each refresh token is valid
// for one refresh, which returns a new one. A proxy in front of a sandbox
// accepts the id tokens that the provider has issued.
type identityProvider struct {
	*httptest.Server
	proxy *httptest.Server

	mu        sync.Mutex
	lifetime  time.Duration // of the id tokens that are issued
	refresh   string        // the valid refresh token
	refreshes int
	issued    map[string]bool // id tokens
}

// startIdentityProvider starts the provider, and the proxy in front of s.
func startIdentityProvider(t *testing.T, s *sandbox.Server) *identityProvider {
	t.Helper()
	p := &identityProvider{lifetime: time.Hour, refresh: "refresh-0", issued: map[string]bool{}}
	p.Server = httptest.NewTLSServer(p)
	t.Cleanup(p.Close)
	target, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(s.CA())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	p.proxy = httptest.NewTLSServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			token := "unknown"
			if p.knows(strings.TrimPrefix(r.In.Header.Get("Authorization"), "Bearer ")) {
				token = s.Token("admin")
			}
			r.Out.Header.Set("Authorization", "Bearer "+token)
		},
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true,
		},
	})
	t.Cleanup(p.proxy.Close)
	return p
}

// knows reports whether the provider has issued an id token.
func (p *identityProvider) knows(idToken string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.issued[idToken]
}

// idToken returns an unsigned JWT.
func idToken(number int, expires time.Time) string {
	encode := base64.RawURLEncoding.EncodeToString
	claims := fmt.Appendf(nil, `{"exp":%d,"n":%d}`, expires.Unix(), number)
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(claims) + ".x"
}

// ServeHTTP implements http.Handler. It serves the provider's metadata and the
// token endpoint.
func (p *identityProvider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Path == "/.well-known/openid-configuration" {
		_ = json.NewEncoder(w).Encode(map[string]string{"token_endpoint": p.URL + "/token"})
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.FormValue("grant_type") != "refresh_token" || r.FormValue("refresh_token") != p.refresh {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = w.Write([]byte(`{"error":"invalid_grant"}`))
		return
	}
	p.refreshes++
	p.refresh = fmt.Sprintf("refresh-%d", p.refreshes)
	token := idToken(p.refreshes, time.Now().Add(p.lifetime))
	p.issued[token] = true
	_ = json.NewEncoder(w).Encode(map[string]any{
		"access_token": "a", "token_type": "bearer", "expires_in": 60, "refresh_token": p.refresh, "id_token": token,
	})
}

// kubeconfig writes a kubeconfig with an expired id token and the first refresh
// token.
func (p *identityProvider) kubeconfig(t *testing.T, s *sandbox.Server) string {
	t.Helper()
	certificate := func(s *httptest.Server) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	}
	return kubeconfigOf(t, s, func(all *clientcmdapi.Config, c *clientcmdapi.Cluster) {
		c.Server, c.CertificateAuthorityData = p.proxy.URL, certificate(p.proxy)
		c.CertificateAuthority = ""
		config := map[string]string{
			"idp-issuer-url": p.URL, "client-id": "kshell", "refresh-token": "refresh-0",
			"idp-certificate-authority-data": base64.StdEncoding.EncodeToString(certificate(p.Server)),
			"id-token":                       idToken(-1, time.Now().Add(-time.Hour)),
		}
		all.AuthInfos["admin"] = &clientcmdapi.AuthInfo{
			AuthProvider: &clientcmdapi.AuthProviderConfig{Name: "oidc", Config: config},
		}
	})
}

// execFine runs a command that must succeed, and returns what kshell writes to
// stderr.
func execFine(t *testing.T, s *sandbox.Server, args ...string) (stderr string) {
	t.Helper()
	cmd := command(t, s, append(args, "exec", "web", "--", "echo", "fine")...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if out, err := cmd.Output(); err != nil || string(out) != "fine\n" {
		t.Errorf("%v, stdout %q, stderr %s", err, out, &said)
	}
	return said.String()
}

// The second run uses the tokens that the first one has stored.
func TestOIDC_RotatedTokensAreStored(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	p := startIdentityProvider(t, s)
	path := p.kubeconfig(t, s)
	before, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if stderr := execFine(t, s, "--kubeconfig", path); stderr != "" {
			t.Errorf("stderr %q", stderr)
		}
	}
	p.mu.Lock()
	if p.refreshes != 1 {
		t.Errorf("%d refreshes by two runs, want 1: the second run has a valid id token", p.refreshes)
	}
	p.lifetime = -time.Hour // each request needs a refresh from now on
	p.mu.Unlock()
	expired, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	expired.AuthInfos["admin"].AuthProvider.Config["id-token"] = idToken(0, time.Now().Add(-time.Hour))
	if err := clientcmd.WriteToFile(*expired, path); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if stderr := execFine(t, s, "--kubeconfig", path); stderr != "" {
			t.Errorf("stderr %q", stderr)
		}
	}
	after, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	stored := after.AuthInfos["admin"].AuthProvider.Config["refresh-token"]
	if p.refreshes < 3 || stored != p.refresh {
		t.Errorf("%d refreshes, stored %q, want the newest, %s", p.refreshes, stored, p.refresh)
	}
	p.mu.Unlock()
	if len(after.AuthInfos) != len(before.AuthInfos) || len(after.Contexts) != len(before.Contexts) ||
		after.CurrentContext != before.CurrentContext {
		t.Errorf("the rest of the kubeconfig has changed:\n%+v\n%+v", before, after)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, mode %v, want 0600", err, info.Mode())
	}
}

// If the kubeconfig cannot be written, kshell warns, and the command runs with
// the new tokens. In this test, a lock file prevents writing: a kubectl that is
// killed can leave such a file.
func TestOIDC_TokensThatCannotBeStored(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	p := startIdentityProvider(t, s)
	path := p.kubeconfig(t, s)
	if err := os.WriteFile(path+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stderr := execFine(t, s, "--kubeconfig", path)
	const want = "kshell: warning: the new tokens could not be written to the kubeconfig, " +
		"and the next command may need a new login: open "
	if !strings.HasPrefix(stderr, want) || strings.Count(stderr, "\n") != 1 {
		t.Errorf("stderr %q, want %q", stderr, want)
	}
}

func TestOIDC_RefusedRefreshToken(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	p := startIdentityProvider(t, s)
	p.refresh = "another"
	cmd := command(t, s, "--kubeconfig", p.kubeconfig(t, s), "exec", "web", "--", "echo", "fine")
	out, _ := cmd.CombinedOutput()
	code := cmd.ProcessState.ExitCode()
	explained := strings.Contains(string(out), "failed to refresh token")
	if code != 255 || !explained || strings.Contains(string(out), "refresh-0") {
		t.Errorf("exit code %d: %s", code, out)
	}
}
