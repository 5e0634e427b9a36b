//go:build unix

package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/sandbox"
	"kshell/internal/stream"
)

// certificateFor returns a self-signed client certificate and its key, in PEM.
func certificateFor(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	cert, key, err := newCertificate(name)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

// newCertificate is certificateFor for callers without a *testing.T.
func newCertificate(name string) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	return cert, key, err
}

// startCertProxy starts a proxy in front of a sandbox that accepts the client
// certificates in known. The user is the common name of the certificate.
func startCertProxy(t *testing.T, s *sandbox.Server, known ...[]byte) (address string, trust []byte) {
	t.Helper()
	target, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(s.CA())
	if err != nil {
		t.Fatal(err)
	}
	roots, users := x509.NewCertPool(), x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, cert := range known {
		users.AppendCertsFromPEM(cert)
	}
	proxy := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Set("Authorization", "Bearer "+s.Token(r.In.TLS.PeerCertificates[0].Subject.CommonName))
		},
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true,
		},
	})
	proxy.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: users, MinVersion: tls.VersionTLS12}
	proxy.StartTLS()
	t.Cleanup(proxy.Close)
	return proxy.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: proxy.Certificate().Raw})
}

func TestCredentials_ClientCertificate(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, s *sandbox.Server, user string) {
		if user == "sandbox" {
			user = "admin"
		}
		cert, key := certificateFor(t, user)
		address, trust := startCertProxy(t, s, cert)
		path := kubeconfigOf(t, s, func(all *clientcmdapi.Config, c *clientcmdapi.Cluster) {
			c.Server, c.CertificateAuthorityData = address, trust
			all.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
		})
		mustExec(t, s, nil, "--kubeconfig", path)
		if got := s.Sessions()[0].User; got != user {
			t.Errorf("user %s, want %s", got, user)
		}
	})
}

func TestCredentials_Impersonation(t *testing.T) {
	t.Parallel()
	for _, as := range []string{"exec-only", "create-only"} { // WebSocket and SPDY
		s := startSandbox(t)
		mustExec(t, s, nil, "--as", as)
		if all := s.Sessions(); len(all) != 1 || all[0].User != as {
			t.Errorf("sessions: %+v", all)
		}
	}
}

// plugin is a credential plugin. If the variable ASK is set, it prompts for a
// password. It prints the token in the file that TOKEN names. Each run writes
// the mode of the terminal to the file that LOG names.
const plugin = `#!/bin/sh
modes=none
if [ -t 0 ]; then case $(stty -a) in *-icanon*) modes=raw ;; *) modes=cooked ;; esac; fi
echo $modes >>"$LOG"
if [ "$ASK" ]; then
	printf 'Password: ' >&2
	read -r password
	[ "$password" = sesame ] || exit 1
fi
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential",'
printf '"status":{"token":"%s"}}' "$(cat "$TOKEN")"
`

// withPlugin returns a kubeconfig whose user runs the plugin. token is a file
// with the token of user, and log is the log of the plugin.
func withPlugin(t *testing.T, s *sandbox.Server, user string, ask bool) (path, token, log string) {
	t.Helper()
	token = writeFile(t, "token", s.Token(user), 0o600)
	log = filepath.Join(t.TempDir(), "log")
	env := []clientcmdapi.ExecEnvVar{{Name: "TOKEN", Value: token}, {Name: "LOG", Value: log}}
	if ask {
		env = append(env, clientcmdapi.ExecEnvVar{Name: "ASK", Value: "1"})
	}
	path = kubeconfigOf(t, s, func(all *clientcmdapi.Config, _ *clientcmdapi.Cluster) {
		all.AuthInfos["admin"] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
			APIVersion: "client.authentication.k8s.io/v1", Command: writeFile(t, "plugin", plugin, 0o700), Env: env,
			InteractiveMode: clientcmdapi.IfAvailableExecInteractiveMode,
		}}
	})
	return path, token, log
}

// mustLog checks the log of the plugin.
func mustLog(t *testing.T, log string, want ...string) {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, strings.Fields(string(text))); diff != "" {
		t.Errorf("runs of the plugin (-want +got):\n%s", diff)
	}
}

func TestCredentialPlugin_RunOnce(t *testing.T) {
	t.Parallel()
	eachTransport(t, func(t *testing.T, s *sandbox.Server, user string) {
		if user == "sandbox" {
			user = "admin"
		}
		path, _, log := withPlugin(t, s, user, false)
		mustExec(t, s, nil, "--kubeconfig", path)
		mustLog(t, log, "none")
	})
}

func TestCredentialPlugin_PromptBeforeRawMode(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"admin", "create-only"} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			path, _, log := withPlugin(t, s, user, true)
			c := open(t, s, program(t), "--kubeconfig", path, "exec", "web")
			c.waitFor("Password: ")
			c.keys("sesame\r")
			c.prompt()
			c.mustBeRaw()
			c.run("echo one''two", "onetwo\r\n")
			c.prompt()
			c.keys("exit 3\r")
			c.mustEnd(3)
			mustLog(t, log, "cooked")
		})
	}
}

var unauthorized = sandbox.Fault{
	Times:   1,
	Refusal: &metav1.Status{Code: 401, Reason: metav1.StatusReasonUnauthorized, Message: "Unauthorized"},
}

// If a token expires during a shell, kshell reconnects with a new token.
func TestShellReconnect_RenewsCredentials(t *testing.T) {
	t.Parallel()
	for _, transport := range []struct{ name, before, after string }{
		{"WebSocket", "exec-only", "admin"},
		{"SPDY", "create-only", "create-only"},
	} {
		for _, from := range []string{"plugin", "tokenFile"} {
			t.Run(from+" by "+transport.name, func(t *testing.T) {
				t.Parallel()
				s := startSandbox(t)
				path, token, log := withPlugin(t, s, transport.before, false)
				if from == "tokenFile" {
					path = kubeconfigOf(t, s, func(all *clientcmdapi.Config, _ *clientcmdapi.Cluster) {
						all.AuthInfos["admin"] = &clientcmdapi.AuthInfo{TokenFile: token}
					})
				}
				c := open(t, s, program(t), "--kubeconfig", path, "exec", "-it", "web", "--", "sh")
				c.prompt()
				if err := os.WriteFile(token, []byte(s.Token(transport.after)), 0o600); err != nil {
					t.Fatal(err)
				}
				s.Inject(unauthorized)
				up := s.Down()
				c.waitFor("trying again in [0-9]+ s")
				up()
				c.keys("\r")
				c.waitFor("connected again after [0-9]+ s: this is a new shell\r\n")
				c.prompt()
				c.keys("exit 4\r")
				c.mustEnd(4)
				shells := sessionsWithTTY(s)
				if len(shells) != 2 || shells[0].User != transport.before || shells[1].User != transport.after {
					t.Errorf("shells: %+v", shells)
				}
				if from == "plugin" {
					mustLog(t, log, "cooked", "cooked")
				}
			})
		}
	}
}

// If a cluster of a Headlamp server refuses a token, the request and the
// handshake of a WebSocket are repeated once, with a new token.
func TestHeadlamp_RenewsCredentials(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	request := func(ctx context.Context, transport *stream.Transport) error {
		body, err := transport.Get(ctx, "/api/v1/namespaces/default/pods", nil)
		if err == nil {
			_ = body.Close()
		}
		return err
	}
	handshake := func(ctx context.Context, transport *stream.Transport) error {
		conn, err := transport.Dial(ctx, stream.Request{
			Path:  "/api/v1/namespaces/default/pods/web/exec",
			Query: url.Values{"command": {"true"}, "stdout": {"true"}}, Protocols: stream.Protocols(),
		})
		if err == nil {
			conn.Drop(errors.New("end of the test"))
		}
		return err
	}
	for _, tt := range []struct {
		name          string
		send          func(context.Context, *stream.Transport) error
		before, after string // users who may send the request
	}{
		{"request", request, "admin", "get-only"},
		{"handshake", handshake, "exec-only", "admin"},
	} {
		for _, from := range []string{"plugin", "tokenFile"} {
			for _, by := range []string{"--headlamp", "--headlamp-stateless", "--server"} {
				t.Run(fmt.Sprintf("%s, %s, %s", tt.name, from, by), func(t *testing.T) {
					s := sandboxInProcess(t)
					h, err := s.StartHeadlamp(sandbox.HeadlampConfig{Dir: t.TempDir(), PlainHTTP: true, DynamicClusters: true})
					if err != nil {
						t.Fatal(err)
					}
					defer h.Close()
					path, token, log := withPlugin(t, s, tt.before, false)
					if from == "tokenFile" {
						path = kubeconfigOf(t, s, func(all *clientcmdapi.Config, _ *clientcmdapi.Cluster) {
							all.AuthInfos["admin"] = &clientcmdapi.AuthInfo{TokenFile: token}
						})
					}
					flags := map[string][]string{
						"--headlamp":           {"--headlamp", h.ClusterURL("main")},
						"--headlamp-stateless": {"--headlamp", h.URL(), "--headlamp-stateless", "always"},
						"--server":             {"--server", h.ClusterURL("main")},
					}[by]
					conn, err := appFor(t, append(flags, "--kubeconfig", path, "--context", "sandbox")...).
						connect(t.Context(), connectOptions{})
					if err != nil {
						t.Fatal(err)
					}
					transport, err := stream.NewTransport(conn.Config, true, t.Logf)
					if err != nil {
						t.Fatal(err)
					}
					if err := tt.send(t.Context(), transport); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(token, []byte(s.Token(tt.after)), 0o600); err != nil {
						t.Fatal(err)
					}
					refusal := unauthorized
					refusal.Path = "/"
					s.Inject(refusal)
					before := len(h.Requests())
					if err := tt.send(t.Context(), transport); err != nil {
						t.Error(err)
					}
					var sent []string
					for _, r := range h.Requests()[before:] {
						if r.RequestURI != "/config" { // asked for the message, without credentials
							sent = append(sent, r.Header.Get("Authorization"))
						}
					}
					want := []string{"Bearer " + s.Token(tt.before), "Bearer " + s.Token(tt.after)}
					if diff := cmp.Diff(want, sent); diff != "" {
						t.Errorf("tokens (-want +got):\n%s", diff)
					}
					if from == "plugin" {
						mustLog(t, log, "none", "none")
					}
				})
			}
		}
	}
}

// A credential plugin that prompts gets the terminal in its original mode, and
// the answer is not sent to the new shell.
func TestShellReconnect_PluginPrompts(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	path, _, log := withPlugin(t, s, "admin", true)
	c := open(t, s, program(t), "--kubeconfig", path, "exec", "-it", "web", "--", "sh")
	c.waitFor("Password: ")
	c.keys("sesame\r")
	c.prompt()
	s.Inject(unauthorized)
	up := s.Down()
	c.waitFor("trying again in [0-9]+ s")
	up()
	c.keys("\r")
	c.waitFor("Password: ")
	c.keys("sesame\r")
	c.waitFor("connected again after [0-9]+ s: this is a new shell\r\n")
	c.prompt()
	c.mustBeRaw()
	c.run("echo one''two", "onetwo\r\n")
	c.prompt()
	c.keys("exit 4\r")
	c.mustEnd(4)
	mustLog(t, log, "cooked", "cooked")
}

// sessionsWithTTY returns the sessions that have a tty.
func sessionsWithTTY(s *sandbox.Server) (all []sandbox.Session) {
	for _, x := range s.Sessions() {
		if x.Query.Get("tty") == "true" {
			all = append(all, x)
		}
	}
	return all
}

// A fixed token that is rejected is not tried again.
func TestCredentials_FixedTokenRejected(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(unauthorized)
	cmd := command(t, s, "exec", "web", "--", "true")
	out, _ := cmd.CombinedOutput()
	got := cmd.ProcessState.ExitCode()
	if got != 255 || !strings.Contains(string(out), "the server refused (401): Unauthorized") {
		t.Errorf("exit code %d: %s", got, out)
	}
	if got := fmt.Sprint(s.Stats().Sessions); got != "0" {
		t.Errorf("%s commands have run", got)
	}
}
