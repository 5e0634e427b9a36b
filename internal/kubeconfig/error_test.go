package kubeconfig

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func TestLoad_Errors(t *testing.T) {
	file := func(content string) func(*testing.T) Flags {
		return func(t *testing.T) Flags { return Flags{Kubeconfig: kubeconfigFile(t, content)} }
	}
	with := func(content string, set func(*Flags)) func(*testing.T) Flags {
		return func(t *testing.T) Flags {
			f := Flags{Kubeconfig: kubeconfigFile(t, content)}
			set(&f)
			return f
		}
	}
	env := func(value string) func(*testing.T) Flags {
		return func(t *testing.T) Flags {
			t.Setenv("KUBECONFIG", value)
			return Flags{}
		}
	}
	pair := "/no/such/a" + string(filepath.ListSeparator) + "/no/such/b"
	tests := []struct {
		name       string
		flags      func(*testing.T) Flags
		kind       Kind
		text, hint string // parts of the text and of the hint
	}{
		{
			"missing by flag", func(*testing.T) Flags { return Flags{Kubeconfig: "/no/such/file"} }, FileNotFound,
			"kubeconfig /no/such/file does not exist", "--kubeconfig",
		},
		{
			"missing by environment",
			env("/no/such/file"),
			FileNotFound,
			"/no/such/file, named by KUBECONFIG, does not exist",
			"unset KUBECONFIG",
		},
		{
			"all missing by environment",
			env(pair),
			FileNotFound,
			"none of the files named by KUBECONFIG exists: /no/such/a, /no/such/b",
			"unset KUBECONFIG",
		},
		{"unexpanded tilde", env("~/.kube/config"), FileNotFound, "does not exist", "$HOME"},
		{
			"a directory",
			func(t *testing.T) Flags { return Flags{Kubeconfig: t.TempDir()} },
			Unreadable,
			"is a directory, not a file",
			"/config",
		},
		{
			"a directory by environment",
			func(t *testing.T) Flags { t.Setenv("KUBECONFIG", t.TempDir()); return Flags{} },
			Unreadable,
			"is a directory",
			"/config",
		},
		{"a link to itself", func(t *testing.T) Flags {
			name := filepath.Join(t.TempDir(), "loop")
			if err := os.Symlink(name, name); err != nil {
				t.Skip(err)
			}
			return Flags{Kubeconfig: name}
		}, Unreadable, "cannot read kubeconfig", "--kubeconfig"},
		{"empty file", file(""), Empty, "is empty", "--kubeconfig"},
		{"only comments", file("# later\n---\n"), Empty, "is empty", "--kubeconfig"},
		{"no entries", file("apiVersion: v1\nkind: Config\n"), Empty, "is empty", "--kubeconfig"},
		{
			"malformed",
			file("a: b: " + secret),
			Malformed,
			"is malformed: mapping values are not allowed in this context",
			"--kubeconfig",
		},
		{"malformed in a list", func(t *testing.T) Flags {
			good, bad := kubeconfigFile(t, twoContexts), kubeconfigFile(t, "users: [")
			t.Setenv("KUBECONFIG", good+string(filepath.ListSeparator)+bad)
			return Flags{}
		}, Malformed, "line 1", "correct it"},
		{
			"unknown context", with(twoContexts, func(f *Flags) { f.Context = "prdo" }), UnknownContext,
			`context "prdo" does not exist in kubeconfig `,
			"did you mean --context prod?\ntype --context with one of: prod, dev, gke_acme_europe_staging",
		},
		{
			"unknown context, part of a long name", with(twoContexts, func(f *Flags) { f.Context = "Staging" }), UnknownContext,
			`context "Staging"`, "one of: gke_acme_europe_staging, ",
		},
		{
			"unknown current context",
			file(strings.Replace(twoContexts, "current-context: prod", "current-context: gone", 1)),
			UnknownContext,
			`current-context "gone" does not exist`, "--context with one of: dev, prod",
		},
		{
			"no current context", file(strings.Replace(twoContexts, "current-context: prod\n", "", 1)), NoCurrentContext,
			"no current-context", "--context with one of: dev, ",
		},
		{
			"unknown cluster",
			with(twoContexts, func(f *Flags) { f.Cluster = "wst" }),
			UnknownCluster,
			`cluster "wst" does not exist`,
			"--cluster with one of: west, east",
		},
		{
			"unknown user",
			with(twoContexts, func(f *Flags) { f.User = "bop" }),
			UnknownUser,
			`user "bop" does not exist`,
			"--user with one of: bob, ann",
		},
		{
			"context without its cluster",
			file(strings.Replace(twoContexts, "{cluster: east,", "{cluster: eas,", 1)),
			UnknownCluster,
			`context "prod" names cluster "eas", which`, "--cluster with one of: east",
		},
		{
			"context without its user", file(strings.Replace(twoContexts, "user: ann, ", "user: anne, ", 1)), UnknownUser,
			`context "prod" names user "anne", which`, "--user with one of: ann",
		},
		{
			"cluster without a server",
			file(
				strings.Replace(
					twoContexts, `server: "https://east.example:6443"`, `insecure-skip-tls-verify: true`, 1,
				),
			),
			Invalid,
			`cluster "east" has no server`, "--server https://",
		},
		{"proxy with a password", file(strings.Replace(twoContexts, `server: "https://east.example:6443"`,
			`server: "https://e", proxy-url: "ftp://u:`+secret+`@proxy"`, 1)), Invalid, "proxy-url", "proxy-url"},
		{
			"certificate authority missing",
			with(twoContexts, func(f *Flags) { f.CAFile = "/no/such/ca" }),
			Invalid,
			"/no/such/ca",
			"--context",
		},
		{
			"invalid server address",
			with(twoContexts, func(f *Flags) { f.Server = "ht!tp://%%" }),
			Invalid,
			`--server cannot be used: "ht!tp://%%" is neither a URL nor host:port`,
			"--server",
		},
		{
			"no configuration",
			func(*testing.T) Flags { return Flags{} },
			NoConfiguration,
			"no cluster is configured",
			"--kubeconfig FILE",
		},
		{
			"no configuration for a context",
			func(*testing.T) Flags { return Flags{Context: "prod"} },
			NoConfiguration,
			"no cluster is configured",
			"--server",
		},
		{
			"missing file for a user", func(t *testing.T) Flags {
				t.Setenv("KUBECONFIG", "/no/such")
				return Flags{User: "ann", Server: "https://x"}
			},
			FileNotFound, "named by KUBECONFIG", "unset",
		},
		{"timeout", with(twoContexts, func(f *Flags) { f.Timeout = "soon" }), Usage, `--request-timeout "soon"`, "30s"},
		{
			"timeout below zero",
			with(twoContexts, func(f *Flags) { f.Timeout = "-1s" }),
			Usage,
			"--request-timeout",
			"30s",
		},
		{
			"group without user",
			with(twoContexts, func(f *Flags) { f.AsGroups = []string{"g"} }),
			Usage,
			"--as-group",
			"--as USER",
		},
		{
			"extra without user",
			with(twoContexts, func(f *Flags) { f.AsExtra = []string{"a=b"} }),
			Usage,
			"--as-user-extra",
			"--as USER",
		},
		{
			"extra without a value",
			with(twoContexts, func(f *Flags) { f.As, f.AsExtra = "eve", []string{"a"} }),
			Usage,
			`--as-user-extra "a"`,
			"KEY=VALUE",
		},
		{
			"unsupported proxy scheme",
			with(twoContexts, func(f *Flags) { f.ProxyURL = "ftp://u:secret@p" }),
			Usage,
			"--proxy-url is not",
			"http://HOST:PORT",
		},
		{"uid without user", with(twoContexts, func(f *Flags) { f.AsUID = "7" }), Usage, "--as-uid", "--as USER"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cleanEnvironment(t)
			err := loadError(t, test.flags(t))
			if err.Kind != test.kind || !strings.Contains(err.Error(), test.text) ||
				!strings.Contains(err.Hint(), test.hint) {
				t.Errorf("got  kind %d: %s\n     hint: %s\nwant kind %d: …%s…\n     hint: …%s…",
					err.Kind, err, err.Hint(), test.kind, test.text, test.hint)
			}
			if strings.HasSuffix(err.Error(), ".") {
				t.Errorf("%q ends in a period", err)
			}
		})
	}
}

func TestUnreadable_Permission(t *testing.T) {
	err := unreadable(
		"/home/ann/my config",
		&fs.PathError{Op: "open", Path: "/home/ann/my config", Err: fs.ErrPermission},
	)
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, fs.ErrPermission) {
		t.Fatalf("got %v, want an *Error that wraps fs.ErrPermission", err)
	}
	if want := "cannot read kubeconfig /home/ann/my config: permission denied"; e.Error() != want {
		t.Errorf("got %q, want %q", e, want)
	}
	if !strings.Contains(e.Hint(), "chmod u+r '/home/ann/my config'") {
		t.Errorf("the hint %q has no chmod", e.Hint())
	}
}

// Each document is malformed in a different way and contains a token. Some
// errors of clientcmd and of the YAML parser would print the token.
func TestLoad_MalformedFileWithSecret(t *testing.T) {
	user := func(rest string) string { return "users:\n- name: x\n  user: " + rest + "\n" }
	tests := []struct{ name, content, reason string }{
		{
			"two users of one name",
			user("{token: "+secret+"}") + "- name: x\n  user: {token: " + secret + "}\n",
			"two of its users have the same name",
		},
		{
			"two clusters of one name",
			"clusters:\n- name: x\n  cluster: {server: " + secret + "}\n- name: x\n",
			"two of its clusters have the same name",
		},
		{
			"two contexts of one name",
			"contexts:\n- name: x\n  context: {user: " + secret + "}\n- name: x\n",
			"two of its contexts have the same name",
		},
		{"token taken for an alias", user("{token: *" + secret + "}"), "it is not a YAML file of the form"},
		{"token where a user belongs", user(secret), "the field users.user has the wrong type"},
		{"token where a list belongs", "users: " + secret, "the field users has the wrong type"},
		{"key that is not base64", user("{client-key-data: '" + secret + "!'}"), "not base64"},
		{"open quote", user(`{token: "` + secret), "unexpected end of stream"},
		{"open brace", user("{token: " + secret), "line 3: did not find expected"},
		{"tag", user("{token: !" + secret + "!x y}"), "undefined tag handle"},
		{"directive", "%" + secret + " x\n", "unknown directive name"},
		{"other version", "apiVersion: " + secret + "\n", "not of apiVersion v1, kind Config"},
		{"other kind", "kind: " + secret + "\n", "not of apiVersion v1, kind Config"},
		{"plain text", secret, "not a YAML mapping"},
		{"list", "- " + secret, "not a YAML mapping"},
		{"binary", "\x00\x01" + secret, "control characters are not allowed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cleanEnvironment(t)
			err := loadError(t, Flags{Kubeconfig: kubeconfigFile(t, test.content)})
			if err.Kind != Malformed || !strings.Contains(err.Error(), test.reason) {
				t.Errorf("got kind %d: %v, want kind %d with %q", err.Kind, err, Malformed, test.reason)
			}
		})
	}
}

func FuzzDescribeParseError(f *testing.F) {
	f.Add("a: b: c")
	f.Add("users:\n- name: x\n  user: {token: *q}")
	f.Fuzz(func(t *testing.T, content string) {
		_, err := clientcmd.Load([]byte(content))
		if err == nil {
			return
		}
		var wrongType *json.UnmarshalTypeError
		if errors.As(err, &wrongType) {
			return // names of fields, which are tested above
		}
		if text := describeParseError(err); strings.ContainsAny(text, "\"`\\\n\x1b") {
			t.Errorf("describeParseError for %q: got %q", content, text)
		}
	})
}

func TestOneOf(t *testing.T) {
	var names []string
	for i := range 30 {
		names = append(names, strings.Repeat("x", i+1))
	}
	hint := oneOf("--context", "xxx", names)
	if want := "\ntype --context with one of: xxx, xxxx, "; !strings.Contains(hint, want) ||
		!strings.HasSuffix(hint, "(and 20 more)") {
		t.Errorf("got %q, want %q… and 20 more", hint, want)
	}
	if hint := oneOf("--context", "", names[:maxListed]); strings.Contains(hint, "more") ||
		!strings.HasSuffix(hint, names[maxListed-1]) {
		t.Errorf("%d names: got %q, want all names and no count", maxListed, hint)
	}
	if got, want := oneOf("--user", "", []string{"it's me"}), `type --user with one of: 'it'\''s me'`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
