package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"kshell/internal/headlamp"
	"kshell/internal/kubeconfig"
	"kshell/internal/outcome"
	"kshell/internal/settings"
)

func TestHeadlampPlan(t *testing.T) {
	address := func(base, cluster string) headlamp.Address { return headlamp.Address{Base: base, Cluster: cluster} }
	value := func(text string) settings.Value { return settings.Value{Text: text, Source: "file"} }
	ofContext := func(text string) settings.Value {
		return settings.Value{Text: text, Source: "file, context prod", OfContext: true}
	}
	const fromFile = "the setting headlamp from file"
	const fromContext = "the setting headlamp from file, context prod"
	const clusterFromFile = "the setting headlamp-cluster from file"
	const clusterFromContext = "the setting headlamp-cluster from file, context prod"
	for name, tt := range map[string]struct {
		args     string
		settings settings.Settings
		want     *headlampPlan
	}{
		"nothing": {"", settings.Settings{}, nil},
		"flag": {
			"--headlamp https://h/x/",
			settings.Settings{},
			&headlampPlan{address("https://h/x", ""), "--headlamp", "never", false, ""},
		},
		"flag with a cluster": {
			"--headlamp h/c/main/pods",
			settings.Settings{},
			&headlampPlan{address("https://h", "main"), "--headlamp", "never", false, "--headlamp"},
		},
		"cluster of the flag, mapped": {
			"--headlamp h/c/main --headlamp-cluster team/a",
			settings.Settings{},
			&headlampPlan{address("https://h", "team--a"), "--headlamp", "never", false, "--headlamp-cluster"},
		},
		"setting": {
			"",
			settings.Settings{Headlamp: value("h"), Cluster: value("a"), Stateless: value("auto")},
			&headlampPlan{address("https://h", "a"), fromFile, "auto", false, clusterFromFile},
		},
		"setting of the context": {
			"",
			settings.Settings{Headlamp: ofContext("h"), Cluster: ofContext("a")},
			&headlampPlan{address("https://h", "a"), fromContext, "never", true, clusterFromContext},
		},
		"setting of the context, without a cluster": {
			"",
			settings.Settings{Headlamp: ofContext("h")},
			&headlampPlan{address("https://h", ""), fromContext, "never", true, ""},
		},
		"setting of the context, with another cluster by flag": {
			"--headlamp-cluster b",
			settings.Settings{Headlamp: ofContext("h"), Cluster: ofContext("a")},
			&headlampPlan{address("https://h", "b"), fromContext, "never", false, "--headlamp-cluster"},
		},
		"setting of the context, with a general cluster": {
			"",
			settings.Settings{Headlamp: ofContext("h"), Cluster: value("a")},
			&headlampPlan{address("https://h", "a"), fromContext, "never", false, clusterFromFile},
		},
		"flag, with the cluster of the setting": {
			"--headlamp h",
			settings.Settings{Cluster: value("a")},
			&headlampPlan{address("https://h", "a"), "--headlamp", "never", false, clusterFromFile},
		},
		"flag for another server than the setting": {
			"--headlamp h",
			settings.Settings{Headlamp: value("other"), Cluster: value("a")},
			&headlampPlan{address("https://h", ""), "--headlamp", "never", false, ""},
		},
		"flag with a cluster, and the cluster of a setting": {
			"--headlamp h/c/main",
			settings.Settings{Cluster: value("a")},
			&headlampPlan{address("https://h", "main"), "--headlamp", "never", false, "--headlamp"},
		},
		"empty flag":             {"--headlamp=", settings.Settings{Headlamp: value("h")}, nil},
		"--server and setting":   {"--server https://s", settings.Settings{Headlamp: value("h")}, nil},
		"--cluster and setting":  {"--cluster c", settings.Settings{Headlamp: value("h")}, nil},
		"cluster setting only":   {"", settings.Settings{Cluster: value("a"), Stateless: value("auto")}, nil},
		"never without a server": {"--headlamp-stateless never", settings.Settings{}, nil},
		"--cluster with stateless": {
			"--cluster c --headlamp h --headlamp-stateless always",
			settings.Settings{},
			&headlampPlan{address("https://h", ""), "--headlamp", "always", false, ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := headlampPlanOf(t, tt.args, tt.settings)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(headlampPlan{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func headlampPlanOf(t *testing.T, args string, s settings.Settings) (*headlampPlan, error) {
	t.Helper()
	var f headlampFlags
	var kube kubeconfig.Flags
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.addTo(flags)
	kube.AddTo(flags)
	if err := flags.Parse(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	return f.plan(&s, &kube)
}

func TestHeadlampPlan_Errors(t *testing.T) {
	for args, usage := range map[string]bool{
		"--headlamp ftp://h":                         true,
		"--headlamp https://me:hunter2@h":            true,
		"--headlamp h --server s":                    true,
		"--headlamp h --cluster c":                   true,
		"--headlamp-cluster a --headlamp=":           true,
		"--headlamp= --headlamp-stateless always":    true,
		"--headlamp h --headlamp-stateless sometime": true,
		"": false, // the setting is wrong
	} {
		t.Run(args, func(t *testing.T) {
			plan, err := headlampPlanOf(t, args, settings.Settings{Headlamp: settings.Value{Text: "https://me:hunter2@h"}})
			var wrong *outcome.UsageError
			if err == nil || errors.As(err, &wrong) != usage {
				t.Fatalf("plan %v, error %v; want a usage error: %v", plan, err, usage)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error contains the password: %v", err)
			}
		})
	}
	_, err := headlampPlanOf(t, "--headlamp h", settings.Settings{Stateless: settings.Value{Text: "x", Source: "file"}})
	if err == nil || !strings.Contains(err.Error(), "from file is not one of auto, always, never") {
		t.Errorf("invalid setting: %v", err)
	}
}

func TestHeadlampToken(t *testing.T) {
	dir := t.TempDir()
	file := func(text string) string {
		name := filepath.Join(dir, "token")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	t.Setenv(tokenVariable, "from-variable\n")
	for _, tt := range []struct{ name, content, want, err string }{
		{"variable", "", "from-variable", ""},
		{"file", "from-file\n", "from-file", ""},
		{"blanks around", " x \r\n", "x", ""},
		{"empty", "\n", "", "the file is empty"},
		{"two lines", "hunter2\nx\n", "", "does not contain a token"},
		{"too long", strings.Repeat("hunter2", 4000), "", "does not contain a token"},
		{"longest", strings.Repeat("x", maxHeadlampToken) + "\n", strings.Repeat("x", maxHeadlampToken), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := headlampFlags{}
			if tt.content != "" {
				f.tokenFile = file(tt.content)
			}
			got, err := f.token()
			switch {
			case got != tt.want:
				t.Errorf("got %q, want %q", got, tt.want)
			case (err == nil) != (tt.err == ""):
				t.Errorf("error %v, want %q", err, tt.err)
			case err != nil && (!strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "hunter2")):
				t.Errorf("error %v, want %q without the token", err, tt.err)
			}
		})
	}
}

func TestUserID(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "kshell")
	first, err := userID(dir)
	if err != nil || len(first) != 32 {
		t.Fatalf("%q, %v; want 32 hexadecimal digits", first, err)
	}
	if again, err := userID(dir); err != nil || again != first {
		t.Errorf("the second call returned %q, %v; want %q", again, err, first)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("files %v, %v; want only %s", files, err, userIDFile)
	}
	name := filepath.Join(dir, userIDFile)
	for content, mode := range map[string]os.FileMode{"": 0o600, "short": 0o600, first + "x": 0o600, first: 0o644} {
		if mode != 0o600 && runtime.GOOS == "windows" {
			continue
		}
		if err := errors.Join(os.Remove(name), os.WriteFile(name, []byte(content), mode), os.Chmod(name, mode)); err != nil {
			t.Fatal(err)
		}
		id, err := userID(dir)
		if err != nil || len(id) != 32 || id == first {
			t.Errorf("file %q with mode %v: %q, %v; want a new ID", content, mode, id, err)
		}
		if info, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
		}
	}
}

func TestUserID_NotStored(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"no directory": "", "not a directory": filepath.Join(file, "kshell")} {
		id, err := userID(dir)
		if err == nil || len(id) != 32 {
			t.Errorf("%s: %q, %v; want an ID and an error", name, id, err)
		}
	}
}

// TestUserID_Concurrent checks that processes that start at the same time use
// the same ID.
func TestUserID_Concurrent(t *testing.T) {
	dir := t.TempDir()
	ids := make([]string, 20)
	var wg sync.WaitGroup
	for i := range ids {
		wg.Go(func() { ids[i], _ = userID(dir) })
	}
	wg.Wait()
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("different IDs: %q", ids)
		}
	}
}

func TestStateDir(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("XDG_STATE_HOME is not used on this system")
	}
	for _, tt := range []struct{ name, home, xdg, want string }{
		{"home", "/home/ann", "", "/home/ann/.local/state/kshell"},
		{"XDG_STATE_HOME", "/home/ann", "/state", "/state/kshell"},
		{"relative XDG_STATE_HOME", "/home/ann", "state", "/home/ann/.local/state/kshell"},
		{"no home", "", "", ""},
		{"no home, XDG_STATE_HOME", "", "/state", "/state/kshell"},
		{"relative home", "ann", "", ""},
	} {
		t.Setenv("HOME", tt.home)
		t.Setenv("XDG_STATE_HOME", tt.xdg)
		if got := stateDir(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
