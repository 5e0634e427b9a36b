//go:build unix

package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
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
)

// certificateFor makes a client's certificate that signs for itself, and its key, in PEM.
func certificateFor(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// startDoor starts what stands before a sandbox that knows its users by certificates: who has one for NAME is the sandbox's user NAME.
func startDoor(t *testing.T, s *sandbox.Server, known ...[]byte) (address string, trust []byte) {
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
	door := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Set("Authorization", "Bearer "+s.Token(r.In.TLS.PeerCertificates[0].Subject.CommonName))
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true},
	})
	door.TLS = &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: users, MinVersion: tls.VersionTLS12}
	door.StartTLS()
	t.Cleanup(door.Close)
	return door.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: door.Certificate().Raw})
}

func TestAClientCertificateOpensTheDoor(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, s *sandbox.Server, user string) {
		if user == "sandbox" {
			user = "admin"
		}
		cert, key := certificateFor(t, user)
		address, trust := startDoor(t, s, cert)
		path := kubeconfigOf(t, s, func(all *clientcmdapi.Config, c *clientcmdapi.Cluster) {
			c.Server, c.CertificateAuthorityData = address, trust
			all.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
		})
		mustExec(t, s, nil, "--kubeconfig", path)
		if got := s.Sessions()[0].User; got != user {
			t.Errorf("as %s, want %s", got, user)
		}
	})
}

func TestTheUserThatIsImpersonatedRunsTheCommand(t *testing.T) {
	t.Parallel()
	for _, as := range []string{"exec-only", "create-only"} { // by WebSocket, by SPDY
		s := startSandbox(t)
		mustExec(t, s, nil, "--as", as)
		if all := s.Sessions(); len(all) != 1 || all[0].User != as {
			t.Errorf("sessions: %+v", all)
		}
	}
}

// plugin is a credential plugin: it asks for a password on the terminal if there is one and it is told to, and gives the token that stands in
// token. It writes a line for each time that it is run: what the terminal's modes were.
const plugin = `#!/bin/sh
modes=none
if [ -t 0 ]; then case $(stty -a) in *-icanon*) modes=raw ;; *) modes=cooked ;; esac; fi
echo $modes >>"$LOG"
if [ "$ASK" ]; then
	printf 'Password: ' >&2
	read -r password
	[ "$password" = sesame ] || exit 1
fi
printf '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"%s"}}' "$(cat "$TOKEN")"
`

// pluggedIn is a kubeconfig whose user is whose token the plugin finds. Log is what it writes.
func pluggedIn(t *testing.T, s *sandbox.Server, user string, ask bool) (path, token, log string) {
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

func mustLog(t *testing.T, log string, want ...string) {
	t.Helper()
	text, err := os.ReadFile(log)
	if err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, strings.Fields(string(text))); diff != "" {
		t.Errorf("the plugin's runs (-want +got):\n%s", diff)
	}
}

func TestACredentialPluginIsRunOnce(t *testing.T) {
	t.Parallel()
	eachWay(t, func(t *testing.T, s *sandbox.Server, user string) {
		if user == "sandbox" {
			user = "admin"
		}
		path, _, log := pluggedIn(t, s, user, false)
		mustExec(t, s, nil, "--kubeconfig", path)
		mustLog(t, log, "none")
	})
}

func TestACredentialPluginAsksBeforeTheTerminalIsRaw(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"admin", "create-only"} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			path, _, log := pluggedIn(t, s, user, true)
			c := open(t, s, program(t), "--kubeconfig", path, "exec", "web")
			c.await("Password: ")
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

// A token that has run out while the shell was open is replaced when the link is taken up again.
func TestCredentialsAreRenewedWhenAShellIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	for _, way := range []struct{ name, before, after string }{
		{"WebSocket", "exec-only", "admin"},
		{"SPDY", "create-only", "create-only"},
	} {
		for _, from := range []string{"plugin", "tokenFile"} {
			t.Run(from+" by "+way.name, func(t *testing.T) {
				t.Parallel()
				s := startSandbox(t)
				path, token, log := pluggedIn(t, s, way.before, false)
				if from == "tokenFile" {
					path = kubeconfigOf(t, s, func(all *clientcmdapi.Config, _ *clientcmdapi.Cluster) {
						all.AuthInfos["admin"] = &clientcmdapi.AuthInfo{TokenFile: token}
					})
				}
				c := open(t, s, program(t), "--kubeconfig", path, "exec", "-it", "web", "--", "sh")
				c.prompt()
				if err := os.WriteFile(token, []byte(s.Token(way.after)), 0o600); err != nil {
					t.Fatal(err)
				}
				s.Inject(unauthorized)
				up := s.Down()
				c.await("trying again in [0-9]+ s")
				up()
				c.keys("\r")
				c.await("connected again after [0-9]+ s: this is a new shell\r\n")
				c.prompt()
				c.keys("exit 4\r")
				c.mustEnd(4)
				shells := sessionsWithTTY(s)
				if len(shells) != 2 || shells[0].User != way.before || shells[1].User != way.after {
					t.Errorf("shells: %+v", shells)
				}
				if from == "plugin" {
					mustLog(t, log, "cooked", "cooked")
				}
			})
		}
	}
}

// A program that asks the user for a password has the terminal for it, as it was, and its answer is no key for the new shell.
func TestACredentialPluginAsksAgainWhenAShellIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	path, _, log := pluggedIn(t, s, "admin", true)
	c := open(t, s, program(t), "--kubeconfig", path, "exec", "-it", "web", "--", "sh")
	c.await("Password: ")
	c.keys("sesame\r")
	c.prompt()
	s.Inject(unauthorized)
	up := s.Down()
	c.await("trying again in [0-9]+ s")
	up()
	c.keys("\r")
	c.await("Password: ")
	c.keys("sesame\r")
	c.await("connected again after [0-9]+ s: this is a new shell\r\n")
	c.prompt()
	c.mustBeRaw()
	c.run("echo one''two", "onetwo\r\n")
	c.prompt()
	c.keys("exit 4\r")
	c.mustEnd(4)
	mustLog(t, log, "cooked", "cooked")
}

func sessionsWithTTY(s *sandbox.Server) (all []sandbox.Session) {
	for _, x := range s.Sessions() {
		if x.Query.Get("tty") == "true" {
			all = append(all, x)
		}
	}
	return all
}

// A token that does not work, and cannot become another, is not tried twice.
func TestAFixedTokenIsNotTriedTwice(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	s.Inject(unauthorized)
	cmd := command(t, s, "exec", "web", "--", "true")
	out, _ := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != 255 || !strings.Contains(string(out), "the server refused (401): Unauthorized") {
		t.Errorf("exit code %d: %s", got, out)
	}
	if got := fmt.Sprint(s.Stats().Sessions); got != "0" {
		t.Errorf("%s commands have run", got)
	}
}
