package kubeconfig

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The pod's service account is used even without a usable home directory.
func TestHome_UnusableInACluster(t *testing.T) {
	for name, home := range map[string]string{"none": "", "a device": os.DevNull, "missing": "/no/such/home"} {
		t.Run(name, func(t *testing.T) {
			f := inClusterFlags(t, map[string]string{"token": "sa-" + secret, "namespace": "home\n"})
			t.Setenv("HOME", home)
			t.Setenv("USERPROFILE", home)
			if got := mustLoad(t, f); got.Context != InCluster || got.Namespace != "home" || len(got.Notes) != 0 {
				t.Errorf("context %q, namespace %q, notes %q", got.Context, got.Namespace, got.Notes)
			}
		})
	}
}

// A kubeconfig that exists and cannot be read is an error, because it may name
// another cluster.
func TestHome_UnreadableFile(t *testing.T) {
	home := cleanEnvironment(t)
	if err := os.MkdirAll(filepath.Join(home, ".kube", "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := loadError(t, Flags{Server: "https://one"}); err.Kind != Unreadable || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got kind %d: %s", err.Kind, err)
	}
}

func TestHome_None(t *testing.T) {
	home := cleanEnvironment(t)
	check := func(want string) {
		t.Helper()
		if err := loadError(t, Flags{}); err.Kind != NoConfiguration || !strings.Contains(err.Error(), want) {
			t.Errorf("got kind %d: %s, want %s", err.Kind, err, want)
		}
	}
	check(filepath.Join(home, ".kube", "config") + " does not exist")
	t.Setenv("HOME", "")
	t.Setenv("USERPROFILE", "")
	check("no home directory to look for .kube/config")
}

// A file that is not accessible is an error, because it may exist.
func TestHome_Denied(t *testing.T) {
	home := cleanEnvironment(t)
	file := write(t, filepath.Join(home, ".kube", "config"), twoContexts)
	if err := os.Chmod(home, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(home, 0o700) }) // so that t.TempDir can be removed
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrPermission) {
		t.Skip("the permissions of directories do not apply to this user or system")
	}
	for _, env := range []string{"", file} {
		t.Setenv("KUBECONFIG", env)
		if err := loadError(t, Flags{}); err.Kind != Unreadable || !errors.Is(err, fs.ErrPermission) {
			t.Errorf("KUBECONFIG=%s: got kind %d: %s", env, err.Kind, err)
		}
	}
}
