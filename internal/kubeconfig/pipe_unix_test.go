//go:build unix

package kubeconfig

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// pipe returns a named pipe that can be read once, like `<(…)`. Opening it again
// would block.
func pipe(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(name, []byte(content), 0o600) }()
	t.Cleanup(func() {
		if err := <-written; err != nil {
			t.Error(err)
		}
	})
	return name
}

func TestLoad_Pipe(t *testing.T) {
	cleanEnvironment(t)
	if got := mustLoad(t, Flags{Kubeconfig: pipe(t, twoContexts)}).Context; got != "prod" {
		t.Errorf("got %q, want prod", got)
	}
}

func TestLoad_MalformedPipe(t *testing.T) {
	cleanEnvironment(t)
	f := Flags{Kubeconfig: pipe(t, "users: [")}
	failed := make(chan error, 1)
	go func() {
		_, err := f.Load()
		failed <- err
	}()
	select {
	case err := <-failed:
		var e *Error
		if !errors.As(err, &e) || e.Kind != Malformed {
			t.Errorf("got %v, want a malformed kubeconfig", err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("Load reads the pipe again and does not return")
	}
}

func TestAuthProvider_TokensAreNotStoredInAPipe(t *testing.T) {
	cleanEnvironment(t)
	got := mustLoad(t, Flags{Kubeconfig: pipe(t, withAuthProvider(oidcProvider))}).Config
	if got.AuthProvider == nil || got.AuthConfigPersister != nil {
		t.Errorf("auth-provider %v, persister %v, want no persister", got.AuthProvider, got.AuthConfigPersister)
	}
}

func TestLoad_KubercFromPipe(t *testing.T) {
	cleanEnvironment(t)
	policy := "{apiVersion: kubectl.config.k8s.io/v1beta1, kind: Preference, credentialPluginPolicy: DenyAll}"
	file := kubeconfigFile(t, httpContexts)
	f := Flags{Kubeconfig: file, Context: "plugin", Server: "https://h", Kuberc: pipe(t, policy)}
	if got := mustLoad(t, f).Config.ExecProvider; got == nil || got.PluginPolicy.PolicyType != "DenyAll" {
		t.Errorf("plugin %v, want the policy DenyAll", got)
	}
}
