package kubeconfig

import (
	"encoding/base64"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// summary is the part of a Connection that tests compare.
type summary struct {
	Host, Token, TokenFile, Namespace, Context string
}

func summarize(c *Connection) summary {
	return summary{c.Config.Host, c.Config.BearerToken, c.Config.BearerTokenFile, c.Namespace, c.Context}
}

func TestLoad_Flags(t *testing.T) {
	tests := []struct {
		name  string
		flags Flags
		want  summary
	}{
		{"current context", Flags{}, summary{"https://east.example:6443", secret, "", "shop", "prod"}},
		{
			"--context",
			Flags{Context: "dev"},
			summary{"https://west.example:6443", "bob-" + secret, "", "default", "dev"},
		},
		{"--cluster", Flags{Cluster: "west"}, summary{"https://west.example:6443", secret, "", "shop", "prod"}},
		{"--user", Flags{User: "bob"}, summary{"https://east.example:6443", "bob-" + secret, "", "shop", "prod"}},
		{"-n", Flags{Namespace: "web"}, summary{"https://east.example:6443", secret, "", "web", "prod"}},
		{"--server", Flags{Server: "https://other:1"}, summary{"https://other:1", secret, "", "shop", "prod"}},
		{"--token", Flags{Token: "mine"}, summary{"https://east.example:6443", "mine", "", "shop", "prod"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			cleanEnvironment(t)
			test.flags.Kubeconfig = kubeconfigFile(t, twoContexts)
			if diff := cmp.Diff(test.want, summarize(mustLoad(t, test.flags))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestLoad_HomeFile(t *testing.T) {
	home := cleanEnvironment(t)
	write(t, filepath.Join(home, ".kube", "config"), twoContexts)
	if got := mustLoad(t, Flags{}); got.Context != "prod" || len(got.Notes) != 0 {
		t.Errorf("got context %q, notes %q; want prod and no notes", got.Context, got.Notes)
	}
}

func TestLoad_ListOfFiles(t *testing.T) {
	cleanEnvironment(t)
	first := kubeconfigFile(t, "current-context: dev\n")
	second := kubeconfigFile(t, twoContexts)
	t.Setenv("KUBECONFIG", strings.Join([]string{first, "/no/such/file", "", second}, string(filepath.ListSeparator)))
	if got := mustLoad(t, Flags{}); got.Context != "dev" || got.Config.Host != "https://west.example:6443" ||
		len(got.Notes) != 0 {
		t.Errorf(
			"got context %q at %s, notes %q; want dev of the first file, defined in the second",
			got.Context,
			got.Config.Host,
			got.Notes,
		)
	}
}

func TestLoad_FilePrecedence(t *testing.T) {
	home := cleanEnvironment(t)
	write(t, filepath.Join(home, ".kube", "config"), twoContexts)
	t.Setenv(
		"KUBECONFIG",
		kubeconfigFile(t, strings.Replace(twoContexts, "current-context: prod", "current-context: dev", 1)),
	)
	if got := mustLoad(t, Flags{}).Context; got != "dev" {
		t.Errorf("KUBECONFIG: got %q, want dev", got)
	}
	f := Flags{
		Kubeconfig: kubeconfigFile(
			t,
			strings.Replace(twoContexts, "current-context: prod", "current-context: gke_acme_europe_staging", 1),
		),
	}
	if got := mustLoad(t, f).Context; got != "gke_acme_europe_staging" {
		t.Errorf("--kubeconfig: got %q, want gke_acme_europe_staging", got)
	}
}

func TestLoad_WindowsEncodings(t *testing.T) {
	crlf := strings.ReplaceAll(twoContexts, "\n", "\r\n")
	wide := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(crlf)) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	for name, content := range map[string]string{
		"CRLF": crlf, "byte order mark": "\ufeff" + twoContexts, "both": "\ufeff" + crlf, "UTF-16": string(wide),
	} {
		t.Run(name, func(t *testing.T) {
			cleanEnvironment(t)
			got := mustLoad(t, Flags{Kubeconfig: kubeconfigFile(t, content)})
			if diff := cmp.Diff(summary{"https://east.example:6443", secret, "", "shop", "prod"}, summarize(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestLoad_TokenWithoutUser(t *testing.T) {
	cleanEnvironment(t)
	file := kubeconfigFile(t, strings.Replace(twoContexts, "user: ann, ", "user: gone, ", 1))
	if got := mustLoad(t, Flags{Kubeconfig: file, Token: "mine"}).Config.BearerToken; got != "mine" {
		t.Errorf("got token %q, want mine", got)
	}
}

func TestLoad_ServerOnly(t *testing.T) {
	for name, kubeconfig := range map[string]string{
		"no file": "", "missing file": "/no/such/file", "empty file": os.DevNull,
	} {
		t.Run(name, func(t *testing.T) {
			cleanEnvironment(t)
			t.Setenv("KUBECONFIG", kubeconfig)
			got := mustLoad(t, Flags{Server: "https://one:6443", Token: "t"})
			if diff := cmp.Diff(summary{"https://one:6443", "t", "", "default", ""}, summarize(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func TestLoad_ImpersonationTLSAndTimeout(t *testing.T) {
	cleanEnvironment(t)
	certificate, _ := keyPair(t)
	ca := kubeconfigFile(t, certificate)
	file := kubeconfigFile(t, twoContexts)
	got := mustLoad(t, Flags{
		Kubeconfig:    file,
		As:            "eve",
		AsGroups:      []string{"g", "h"},
		AsUID:         "7",
		CAFile:        ca,
		TLSServerName: "name",
		Timeout:       "90",
	}).Config
	want := rest.ImpersonationConfig{
		UserName: "eve",
		UID:      "7",
		Groups:   []string{"g", "h"},
		Extra:    map[string][]string{},
	}
	if diff := cmp.Diff(want, got.Impersonate); diff != "" {
		t.Errorf("impersonation: -want +got:\n%s", diff)
	}
	if got.CAFile != ca || got.ServerName != "name" || got.Timeout != 90*time.Second {
		t.Errorf("got CA %q, name %q, timeout %v", got.CAFile, got.ServerName, got.Timeout)
	}
	if got := mustLoad(t, Flags{Kubeconfig: file, Insecure: true, Timeout: "2m"}).Config; !got.Insecure ||
		got.Timeout != 2*time.Minute {
		t.Errorf("got insecure %v, timeout %v", got.Insecure, got.Timeout)
	}
	if got := mustLoad(t, Flags{Kubeconfig: file}).Config; got.Timeout != 0 || got.UserAgent != "" {
		t.Errorf("got timeout %v, user agent %q; want neither", got.Timeout, got.UserAgent)
	}
}

func TestLoad_CredentialFlags(t *testing.T) {
	cleanEnvironment(t)
	dir := t.TempDir()
	cert, key := keyPair(t)
	cert, key = write(t, filepath.Join(dir, "cert"), cert), write(t, filepath.Join(dir, "key"), key)
	file := kubeconfigFile(t, twoContexts)
	if got := mustLoad(t, Flags{Kubeconfig: file, ClientCert: cert, ClientKey: key}).Config; got.CertFile != cert ||
		got.KeyFile != key ||
		got.CertData != nil ||
		got.KeyData != nil {
		t.Errorf("certificate: got %+v", got.TLSClientConfig)
	}
	if got := mustLoad(t, Flags{Server: "https://x", Username: "me", Password: "p"}).Config; got.Username != "me" ||
		got.Password != "p" {
		t.Errorf("password: got %q, %q", got.Username, got.Password)
	}
	got := mustLoad(
		t,
		Flags{Kubeconfig: file, As: "eve", AsExtra: []string{"scopes=a", "scopes=b=c", "reason="}},
	).Config.Impersonate
	if diff := cmp.Diff(map[string][]string{"scopes": {"a", "b=c"}, "reason": {""}}, got.Extra); diff != "" {
		t.Errorf("extra: -want +got:\n%s", diff)
	}
}

func TestLoad_ProxyFlag(t *testing.T) {
	cleanEnvironment(t)
	file := kubeconfigFile(t, strings.Replace(twoContexts, "server:", "proxy-url: http://other:1, server:", 1))
	got := mustLoad(t, Flags{Kubeconfig: file, ProxyURL: "socks5://u:p@proxy:1080", DisableCompression: true}).Config
	if proxy, err := got.Proxy(nil); err != nil || proxy.String() != "socks5://u:p@proxy:1080" ||
		!got.DisableCompression {
		t.Errorf("got %v (%v), uncompressed %v", proxy, err, got.DisableCompression)
	}
}

func inBase64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestLoad_CredentialsInFile(t *testing.T) {
	cleanEnvironment(t)
	dir := t.TempDir()
	cert, key := keyPair(t)
	for name, content := range map[string]string{"token": "from-file", "cert": cert, "key": key, "ca": cert} {
		write(t, filepath.Join(dir, name), content)
	}
	file := write(t, filepath.Join(dir, "config"), `
clusters:
- name: c
  cluster:
    server: https://c/prefix
    certificate-authority: ca
    proxy-url: socks5://u:p@proxy:1080
    tls-server-name: sni
users:
- name: tokenfile
  user: {tokenFile: token}
- name: cert
  user: {client-certificate: cert, client-key: key}
- name: certdata
  user: {client-certificate-data: `+inBase64(cert)+`, client-key-data: `+inBase64(key)+`}
- name: exec
  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: login, args: [now], interactiveMode: IfAvailable}}
- name: as
  user: {token: t, as: other, as-groups: [g]}
contexts:
- name: c
  context: {cluster: c, user: tokenfile}
current-context: c
`)
	as := func(user string, token string) *rest.Config {
		return mustLoad(t, Flags{Kubeconfig: file, User: user, Token: token}).Config
	}
	in := func(name string) string { return filepath.Join(dir, name) }

	tokenFile := as("", "")
	if tokenFile.BearerTokenFile != in("token") || tokenFile.BearerToken != "from-file" {
		t.Errorf("token file: got %q %q", tokenFile.BearerTokenFile, tokenFile.BearerToken)
	}
	if tokenFile.CAFile != in("ca") || tokenFile.ServerName != "sni" || tokenFile.Host != "https://c/prefix" {
		t.Errorf("cluster: got CA %q, name %q, host %q", tokenFile.CAFile, tokenFile.ServerName, tokenFile.Host)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://c/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if proxy, err := tokenFile.Proxy(request); err != nil || proxy.String() != "socks5://u:p@proxy:1080" {
		t.Errorf("proxy: got %v, %v", proxy, err)
	}
	if got := as("", "mine"); got.BearerToken != "mine" || got.BearerTokenFile != "" {
		t.Errorf(
			"--token with a token file: got %q and file %q; the file would win",
			got.BearerToken,
			got.BearerTokenFile,
		)
	}
	if got := as("cert", ""); got.CertFile != in("cert") || got.KeyFile != in("key") {
		t.Errorf("certificate: got %q %q", got.CertFile, got.KeyFile)
	}
	if got := as("certdata", ""); string(got.CertData) != cert || string(got.KeyData) != key {
		t.Errorf("certificate data: got %q %q", got.CertData, got.KeyData)
	}
	if got := as("as", ""); got.Impersonate.UserName != "other" {
		t.Errorf("as: got %q", got.Impersonate.UserName)
	}
	asGroup := Flags{Kubeconfig: file, User: "as", AsGroups: []string{"h"}}
	if got := mustLoad(t, asGroup).Config.Impersonate; got.UserName != "other" {
		t.Errorf("--as-group beside the kubeconfig's as: got %+v", got)
	}
	exec := as("exec", "").ExecProvider
	if exec == nil || exec.Command != "login" || !cmp.Equal(exec.Args, []string{"now"}) ||
		exec.InteractiveMode != clientcmdapi.IfAvailableExecInteractiveMode {
		t.Errorf("exec plugin: got %+v", exec)
	}
}

// inClusterFlags creates the files and the environment of a service account.
func inClusterFlags(t *testing.T, files map[string]string) Flags {
	t.Helper()
	cleanEnvironment(t)
	t.Setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	dir := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	return Flags{accountDir: dir}
}

func TestLoad_InCluster(t *testing.T) {
	ca, _ := keyPair(t)
	full := map[string]string{"token": "sa-" + secret, "ca.crt": ca, "namespace": "home\n"}
	t.Run("complete account", func(t *testing.T) {
		f := inClusterFlags(t, full)
		got := mustLoad(t, f)
		want := summary{
			"https://[fd00::1]:443",
			"sa-" + secret,
			filepath.Join(f.accountDir, "token"),
			"home",
			InCluster,
		}
		if diff := cmp.Diff(want, summarize(got)); diff != "" ||
			got.Config.CAFile != filepath.Join(f.accountDir, "ca.crt") ||
			len(got.Notes) != 0 {
			t.Errorf("CA %q, notes %q, -want +got:\n%s", got.Config.CAFile, got.Notes, diff)
		}
	})
	t.Run("flags", func(t *testing.T) {
		f := inClusterFlags(t, full)
		f.As, f.Namespace, f.Timeout, f.Insecure, f.Token = "eve", "web", "5s", true, "mine"
		got := mustLoad(t, f)
		if got.Config.Impersonate.UserName != "eve" || got.Namespace != "web" || got.Config.Timeout != 5*time.Second ||
			!got.Config.Insecure || got.Config.CAFile != "" ||
			got.Config.BearerToken != "mine" || got.Config.BearerTokenFile != "" {
			t.Errorf("a flag was lost: %+v", summarize(got))
		}
	})
	t.Run("without ca.crt and namespace", func(t *testing.T) {
		if got := mustLoad(t, inClusterFlags(t, map[string]string{"token": "t"})); got.Namespace != "default" ||
			got.Config.CAFile != "" {
			t.Errorf("got namespace %q, CA %q", got.Namespace, got.Config.CAFile)
		}
	})
	t.Run("POD_NAMESPACE", func(t *testing.T) {
		f := inClusterFlags(t, full)
		t.Setenv("POD_NAMESPACE", "downward")
		if got := mustLoad(t, f).Namespace; got != "downward" {
			t.Errorf("got %q, want downward", got)
		}
	})
	t.Run("kubeconfig overrides the account but not the namespace", func(t *testing.T) {
		f := inClusterFlags(t, full)
		f.Kubeconfig, f.Context = kubeconfigFile(t, twoContexts), "dev"
		if got := mustLoad(t, f); got.Context != "dev" || got.Namespace != "home" {
			t.Errorf("got context %q, namespace %q; want dev, home (as kubectl)", got.Context, got.Namespace)
		}
	})
	t.Run("note if KUBECONFIG names a file", func(t *testing.T) {
		for _, kubeconfig := range []string{"/no/such/file", os.DevNull} {
			f := inClusterFlags(t, full)
			t.Setenv("KUBECONFIG", kubeconfig)
			got := mustLoad(t, f)
			if got.Context != InCluster || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], kubeconfig) {
				t.Errorf("%s: got context %q, notes %q", kubeconfig, got.Context, got.Notes)
			}
		}
	})
	t.Run("not with a missing file or a named entry", func(t *testing.T) {
		f := inClusterFlags(t, full)
		f.Kubeconfig = "/no/such/file"
		if got := loadError(t, f).Kind; got != FileNotFound {
			t.Errorf("got kind %d, want %d", got, FileNotFound)
		}
		for _, f := range []Flags{{Context: "prod"}, {User: "ann"}, {Cluster: "east"}} {
			f.accountDir = inClusterFlags(t, full).accountDir
			if got := loadError(t, f).Kind; got != NoConfiguration {
				t.Errorf("%+v: got kind %d, want %d", f, got, NoConfiguration)
			}
		}
	})
	t.Run("no token", func(t *testing.T) {
		if got := loadError(t, inClusterFlags(t, map[string]string{"ca.crt": "a"})).Kind; got != NoConfiguration {
			t.Errorf("got kind %d, want %d", got, NoConfiguration)
		}
	})
}

func TestLoad_NoMigrationOfOldFile(t *testing.T) {
	home := cleanEnvironment(t)
	write(t, filepath.Join(home, ".kube", ".kubeconfig"), twoContexts)
	loadError(t, Flags{})
	if _, err := os.Stat(filepath.Join(home, ".kube", "config")); err == nil {
		t.Error("Load wrote ~/.kube/config")
	}
}

func TestFlags_AddTo(t *testing.T) {
	var f Flags
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.AddTo(fs)
	err := fs.Parse([]string{
		"--kubeconfig=file", "--kuberc=rc", "--context=ctx", "--cluster=clu", "--user=usr", "-n", "ns/web",
		"-s", "https://x", "--token=tok",
		"--as=eve", "--as-group=a,b", "--as-group=c", "--as-uid=7", "--insecure-skip-tls-verify",
		"--certificate-authority=ca", "--tls-server-name=sni", "--request-timeout=3s",
		"--as-user-extra=a=1",
		"--as-user-extra=a=2,3",
		"--client-certificate=crt",
		"--client-key=key",
		"--username=me",
		"--password=s",
		"--proxy-url=http://p",
		"--disable-compression",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := Flags{
		Kubeconfig: "file", Kuberc: "rc", Context: "ctx", Cluster: "clu", User: "usr", Namespace: "web",
		Server: "https://x", Token: "tok",
		As:            "eve",
		AsGroups:      []string{"a,b", "c"},
		AsUID:         "7",
		Insecure:      true,
		CAFile:        "ca",
		TLSServerName: "sni",
		Timeout:       "3s",
		AsExtra: []string{
			"a=1",
			"a=2,3",
		}, ClientCert: "crt", ClientKey: "key", Username: "me", Password: "s", ProxyURL: "http://p", DisableCompression: true,
	}
	if diff := cmp.Diff(want, f, cmp.AllowUnexported(Flags{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	count := 0
	fs.VisitAll(func(flag *pflag.Flag) {
		count++
		if flag.Usage == "" {
			t.Errorf("--%s has no usage", flag.Name)
		}
	})
	if count != 22 {
		t.Errorf("%d flags, want 22", count)
	}
}

func TestFlags_Defaults(t *testing.T) {
	home := cleanEnvironment(t)
	write(t, filepath.Join(home, ".kube", "config"), twoContexts)
	var f Flags
	f.AddTo(pflag.NewFlagSet("test", pflag.ContinueOnError))
	if diff := cmp.Diff(summarize(mustLoad(t, Flags{})), summarize(mustLoad(t, f))); diff != "" {
		t.Errorf("-zero +added:\n%s", diff)
	}
}
