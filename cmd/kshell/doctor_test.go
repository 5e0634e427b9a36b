//go:build unix

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"kshell/internal/agentbin"
	"kshell/internal/cleanup"
	"kshell/internal/doctor"
)

// doctorResults runs kshell doctor -o json with args, and returns the exit code,
// and the results by ID.
func doctorResults(t *testing.T, args ...string) (code int, results map[string]doctor.Result) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	args = append([]string{"doctor", "-o", "json"}, args...)
	code = run(t.Context(), streams{Out: &stdout, Err: &stderr}, &cleanup.Registry{}, args)
	results = map[string]doctor.Result{}
	for line := range strings.Lines(stdout.String()) {
		var r doctor.Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		results[r.ID] = r
	}
	if stderr.Len() > 0 {
		t.Errorf("stderr: %s", &stderr)
	}
	return code, results
}

// checkFinding checks the status, the message and the hint of a result. message and
// hint are parts of them.
func checkFinding(t *testing.T, r doctor.Result, status doctor.Status, message, hint string) {
	t.Helper()
	text := strings.Join(append([]string{r.Message}, r.Details...), "\n")
	if r.Status != status || !strings.Contains(text, message) || !strings.Contains(r.Hint, hint) {
		t.Errorf("%+v\nwant status %s, the text %q and the hint %q", r, status, message, hint)
	}
}

// testServer starts a server that answers only requests for /version, and writes a
// kubeconfig for it. The certificate of the server expires after valid.
func testServer(t *testing.T, valid time.Duration) (kubeconfig string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "old"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: now.Add(-90 * 24 * time.Hour), NotAfter: now.Add(valid), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/version" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"gitVersion": "v1.27.3\u001b[2J"}`))
	}))
	s.TLS = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12,
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	path := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("current-context: x\ncontexts: [{name: x, context: {cluster: x, user: x}}]\n"+
		"clusters: [{name: x, cluster: {server: %q, certificate-authority-data: %s}}]\n"+
		"users: [{name: x, user: {token: secret-token}}]\n", s.URL, base64.StdEncoding.EncodeToString(ca))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDoctor_ServerCertificate(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for name, c := range map[string]struct {
		valid         time.Duration
		code          int
		status        doctor.Status
		message, hint string
	}{
		"valid":   {100 * day, 0, doctor.OK, "TLS 1.3, certificate for 127.0.0.1, valid until 20", ""},
		"soon":    {3*day + time.Hour, 0, doctor.Warning, "the certificate expires on 20", "renew the certificate"},
		"expired": {-time.Hour, 1, doctor.Failed, "expired", "is not valid at the time of this machine's clock"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, results := doctorResults(t, "--kubeconfig", testServer(t, c.valid))
			if code != c.code {
				t.Errorf("exit code %d", code)
			}
			checkFinding(t, results["tls"], c.status, c.message, c.hint)
			if c.code == 0 {
				checkFinding(t, results["version"], doctor.OK, `Kubernetes v1.27.3\x1b[2J`, "")
				checkFinding(t, results["identity"], doctor.OK, "it does not report the user", "")
				checkFinding(t, results["rights-exec"], doctor.Skipped, "does not answer access reviews", "")
			} else {
				checkFinding(t, results["tls"], doctor.Failed, `certificate for 127.0.0.1, from "old", valid from 20`, "")
				checkFinding(t, results["version"], doctor.Skipped, "headlamp was skipped", "")
			}
		})
	}
}

// jwt returns a token that expires after left.
func jwt(left time.Duration) string {
	claims := fmt.Sprintf(`{"exp": %d}`, time.Now().Add(left).Unix())
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
}

func TestDoctor_Credentials(t *testing.T) {
	t.Parallel()
	kubeconfig := testServer(t, 100*24*time.Hour)
	cert, key := certificateFor(t, "ann")
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert"), filepath.Join(dir, "key")
	for file, data := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		args    []string
		status  doctor.Status
		message string
	}{
		"token":   {nil, doctor.OK, "token"},
		"JWT":     {[]string{"--token", jwt(90 * time.Hour)}, doctor.OK, "the token is valid until 20"},
		"soon":    {[]string{"--token", jwt(3*time.Hour + time.Minute)}, doctor.Warning, "the token expires on 20"},
		"expired": {[]string{"--token", jwt(-time.Hour)}, doctor.Failed, "the token expired on 20"},
		"certificate": {
			[]string{"--client-certificate", certFile, "--client-key", keyFile},
			doctor.Warning,
			"the client certificate expires on 20",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, results := doctorResults(t, append(c.args, "--kubeconfig", kubeconfig)...)
			checkFinding(t, results["credentials"], c.status, c.message, "")
			if c.status != doctor.OK && !strings.HasPrefix(results["credentials"].Hint, "log in again") {
				t.Errorf("hint %q", results["credentials"].Hint)
			}
		})
	}
}

func TestDoctor_PrintsNoSecrets(t *testing.T) {
	t.Parallel()
	s := sandboxInProcess(t)
	s.Review(true)
	host := strings.TrimPrefix(s.URL(), "https://")
	token := s.Token("admin")
	for _, args := range [][]string{
		nil,
		{"--token", jwt(time.Hour)},
		{"--server", "https://ann:hunter2@" + host + "/?key=hunter2"},
		{"--proxy-url", "http://ann:hunter2@127.0.0.1:1"},
		{"--proxy-url", "http://ann:hunter2@" + host},
		{"--username", "ann", "--password", "hunter2"},
	} {
		for _, format := range []string{"-v", "-o=json"} {
			var out bytes.Buffer
			all := append([]string{"doctor", format, "--kubeconfig", s.Kubeconfig()}, args...)
			run(t.Context(), streams{Out: &out, Err: &out}, &cleanup.Registry{}, all)
			for _, secret := range []string{token, "hunter2", "c2lnbmF0dXJl"} {
				if strings.Contains(out.String(), secret) {
					t.Errorf("%q: the output contains %q:\n%s", all, secret, &out)
				}
			}
			if !strings.Contains(out.String(), "credentials") {
				t.Errorf("%q: the output is\n%s", all, &out)
			}
		}
	}
}

func TestDoctor_Idle(t *testing.T) {
	t.Parallel()
	s := sandboxInProcess(t)
	s.Review(true)
	_, results := doctorResults(t, "--kubeconfig", s.Kubeconfig(), "--slow=100ms")
	checkFinding(t, results["idle"], doctor.OK, "an idle connection was still open after 100ms", "")

	ctx, cancel := context.WithCancel(t.Context())
	var ending sync.WaitGroup
	defer ending.Wait()
	defer cancel()
	ending.Go(func() {
		for ctx.Err() == nil { // the test does not know when the connection is open
			s.EndWatches()
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
		}
	})
	_, results = doctorResults(t, "--kubeconfig", s.Kubeconfig(), "--slow=50s")
	checkFinding(t, results["idle"], doctor.Warning, "an idle connection was closed after ", "--keepalive 1s")
}

// If the output cannot be written, doctor makes no more checks.
func TestDoctor_ClosedPipe(t *testing.T) {
	t.Parallel()
	s := sandboxInProcess(t)
	code := run(t.Context(), streams{Out: unwritable{syscall.EPIPE}, Err: io.Discard}, &cleanup.Registry{},
		[]string{"doctor", "--kubeconfig", s.Kubeconfig(), "--slow=1h"})
	if code != 141 || s.Stats().Requests > 0 {
		t.Errorf("exit code %d, %d requests", code, s.Stats().Requests)
	}
}

// The document contains the output of kshell doctor, and the fields of -o json.
func TestDoctor_Document(t *testing.T) {
	if agentbin.BuildID() == "" {
		t.Skip(`there are no agents: run "make agent"`)
	}
	const document = "../../docs/doctor.md"
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	t.Setenv("KUBECONFIG", "")
	s := sandboxInProcess(t)
	s.Review(true)
	config, err := clientcmd.LoadFromFile(s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if err := clientcmd.WriteToFile(*config, filepath.Join(home, ".kube", "config")); err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```console\n\\$ (kshell doctor[^\n]*)\n(.*?)```").ReplaceAllFunc(text,
		func(block []byte) []byte {
			line, _, _ := bytes.Cut(bytes.TrimPrefix(block, []byte("```console\n$ ")), []byte("\n"))
			var out bytes.Buffer
			args := strings.Fields(string(line))[1:]
			run(t.Context(), streams{Out: &out, Err: &out}, &cleanup.Registry{}, args)
			output := strings.ReplaceAll(out.String(), home, "/home/ann")
			output = strings.ReplaceAll(output, strings.TrimPrefix(s.URL(), "https://"), "127.0.0.1:6443")
			return fmt.Appendf(nil, "```console\n$ %s\n%s```", line, output)
		})
	if *update {
		if err := os.WriteFile(document, shown, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, want := withoutNumbers(shown), withoutNumbers(text); got != want {
		t.Errorf("the document does not contain the output of kshell doctor "+
			"(go test ./cmd/kshell -run TestDoctor_Document -update):\n%s", got)
	}
	for id := range resultsOf(shown) {
		if !strings.Contains(string(text), "| "+id+" ") {
			t.Errorf("the document does not list the check %s", id)
		}
	}
}

// withoutNumbers replaces the parts of text that differ between runs: numbers,
// durations and the architecture.
func withoutNumbers(text []byte) string {
	replaced := regexp.MustCompile(`[0-9]+(\.[0-9]+)?`).ReplaceAll(text, []byte("#"))
	replaced = regexp.MustCompile(` \(# m?s\)`).ReplaceAll(replaced, nil)
	return strings.ReplaceAll(string(replaced), runtime.GOARCH, "amd64")
}

// resultsOf returns the IDs of the checks in the outputs of a document.
func resultsOf(text []byte) map[string]bool {
	ids := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^  (?:ok|warning|failed|skipped) +([a-z-]+) `).FindAllSubmatch(text, -1) {
		ids[string(m[1])] = true
	}
	return ids
}
