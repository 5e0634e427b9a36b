package kubeconfig

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secret stands in every kubeconfig of these tests where a credential stands.
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

// clean takes everything away that Load may find on this machine, and gives
// the home directory.
func clean(t *testing.T) string {
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

func kubeconfigFile(t *testing.T, content string) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "config"), content)
}

// load loads and fails the test if anything at all went to stderr.
func load(t *testing.T, f Flags) (*Connection, error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = w
	target, loadErr := f.Load()
	os.Stderr = stderr
	_ = w.Close()
	said, err := io.ReadAll(r)
	if err != nil || len(said) > 0 {
		t.Errorf("Load wrote %q to stderr (%v); it has to be silent", said, err)
	}
	return target, loadErr
}

func mustLoad(t *testing.T, f Flags) *Connection {
	t.Helper()
	target, err := load(t, f)
	if err != nil {
		t.Fatalf("Load: %v", err)
	}
	return target
}

// refused loads and gives the *Error, of which no part may hold a secret.
func refused(t *testing.T, f Flags) *Error {
	t.Helper()
	_, err := load(t, f)
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("Load: got %v, want an *Error", err)
	}
	said := e.Error() + e.Hint()
	if inner := e.Unwrap(); inner != nil {
		said += inner.Error()
	}
	if strings.Contains(said, "hunter2") {
		t.Errorf("the error gives a secret away: %s", said)
	}
	if e.Hint() == "" {
		t.Errorf("%q has no hint", e)
	}
	return e
}
