package kubeconfig

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret is part of every credential in the kubeconfigs of these tests.
const secret = "hunter2hunter2"

const twoContexts = `apiVersion: v1
kind: Config
current-context: prod
clusters:
- name: east
  cluster: {server: "https://east.example:6443"}
- name: west
  cluster: {server: "https://west.example:6443"}
users:
- name: ann
  user: {token: ` + secret + `}
- name: bob
  user: {token: bob-` + secret + `}
contexts:
- name: prod
  context: {cluster: east, user: ann, namespace: shop}
- name: dev
  context: {cluster: west, user: bob}
- name: gke_acme_europe_staging
  context: {cluster: west, user: bob}
`

// cleanEnvironment removes all configuration of this machine from the
// environment. It returns the new home directory, which is empty.
func cleanEnvironment(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	for name, value := range map[string]string{
		"HOME": home, "USERPROFILE": home, "HOMEDRIVE": "", "HOMEPATH": "", "KUBECONFIG": "", "POD_NAMESPACE": "",
		"KUBERNETES_SERVICE_HOST": "", "KUBERNETES_SERVICE_PORT": "",
	} {
		t.Setenv(name, value)
	}
	return home
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// keyPair returns a certificate and its key in PEM format.
func keyPair(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

func kubeconfigFile(t *testing.T, content string) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "config"), content)
}

// load calls Load. The test fails if Load writes to stderr.
func load(t *testing.T, f Flags) (*Connection, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = w
	connection, loadErr := f.Load()
	os.Stderr = stderr
	_ = w.Close()
	written, err := io.ReadAll(r)
	if err != nil || len(written) > 0 {
		t.Errorf("Load wrote %q to stderr (%v), want nothing", written, err)
	}
	return connection, loadErr
}

func mustLoad(t *testing.T, f Flags) *Connection {
	t.Helper()
	connection, err := load(t, f)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return connection
}

// loadError returns the error of Load. The test fails if the error contains a
// secret.
func loadError(t *testing.T, f Flags) *Error {
	t.Helper()
	_, err := load(t, f)
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("Load: got %v, want an *Error", err)
	}
	text := e.Error() + e.Hint()
	if inner := e.Unwrap(); inner != nil {
		text += inner.Error()
	}
	if strings.Contains(text, "hunter2") {
		t.Errorf("the error contains a secret: %s", text)
	}
	if e.Hint() == "" {
		t.Errorf("%q has no hint", e)
	}
	return e
}
