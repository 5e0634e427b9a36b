package headlamp

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	name = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// flatten returns the parsed result of Flatten.
func flatten(t *testing.T, cfg *rest.Config) (name string, c *api.Cluster, user *api.AuthInfo) {
	t.Helper()
	flat, err := Flatten(cfg)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := clientcmd.Load(flat)
	if err != nil {
		t.Fatal(err)
	}
	name = parsed.CurrentContext
	if got, err := ContextName(flat); err != nil || got != name {
		t.Errorf("ContextName: got %q, %v, want %q", got, err, name)
	}
	if !regexp.MustCompile(`^kshell-[0-9a-f]{8}$`).MatchString(name) {
		t.Errorf("the name of the context is %q", name)
	}
	if len(parsed.Contexts) != 1 || len(parsed.Clusters) != 1 || len(parsed.AuthInfos) != 1 ||
		parsed.Clusters[name] == nil || parsed.AuthInfos[name] == nil || len(parsed.Contexts[name].Extensions) != 0 {
		t.Fatalf("got %s", flat)
	}
	return name, parsed.Clusters[name], parsed.AuthInfos[name]
}

func TestFlatten_FilesAreRead(t *testing.T) {
	cfg := &rest.Config{
		Host:        "https://api:6443/prefix/",
		BearerToken: "secret",
		TLSClientConfig: rest.TLSClientConfig{
			CAFile: writeFile(t, "ca", "the CA"), ServerName: "name",
			CertData: []byte("cert"), KeyData: []byte("key"),
		},
	}
	name, cluster, user := flatten(t, cfg)
	if cluster.Server != "https://api:6443/prefix" || string(cluster.CertificateAuthorityData) != "the CA" ||
		cluster.TLSServerName != "name" || cluster.CertificateAuthority != "" || cluster.ProxyURL != "" {
		t.Errorf("cluster %+v", cluster)
	}
	if user.Token != "secret" || user.TokenFile != "" || user.ClientKeyData != nil || user.ClientCertificateData != nil {
		t.Error("the user is not one with only a token")
	}
	if cfg.CAData != nil {
		t.Error("the configuration was changed")
	}
	cfg.BearerToken = "other"
	if other, _, _ := flatten(t, cfg); other == name {
		t.Error("the name does not depend on the token")
	}
	cfg.BearerToken = "secret"
	if same, _, _ := flatten(t, cfg); same != name {
		t.Errorf("the same content has the names %s and %s", name, same)
	}
}

func TestFlatten_NoPlugin(t *testing.T) {
	_, _, user := flatten(t, &rest.Config{Host: "https://api", BearerToken: "secret", ExecProvider: &api.ExecConfig{
		Command: "plugin", APIVersion: "client.authentication.k8s.io/v1",
	}, AuthProvider: &api.AuthProviderConfig{Name: "oidc"}})
	if user.Token != "secret" || user.Exec != nil || user.AuthProvider != nil {
		t.Error("the user is not one with only a token")
	}
}

func TestFlatten_CertificateWithoutToken(t *testing.T) {
	cfg := &rest.Config{Host: "api", TLSClientConfig: rest.TLSClientConfig{
		Insecure: true, CertData: []byte("cert"), KeyFile: writeFile(t, "key", "key"),
	}}
	_, cluster, user := flatten(t, cfg)
	if string(user.ClientCertificateData) != "cert" || string(user.ClientKeyData) != "key" || user.ClientKey != "" {
		t.Error("the certificate is missing")
	}
	if !cluster.InsecureSkipTLSVerify || cluster.Server != "https://api" {
		t.Errorf("cluster %+v", cluster)
	}
}

func TestFlatten_Errors(t *testing.T) {
	for name, test := range map[string]struct {
		cfg  rest.Config
		want string
	}{
		"password":     {rest.Config{Host: "https://api", Username: "u", Password: "secret"}, "password"},
		"user in URL":  {rest.Config{Host: "https://u:secret@api"}, "password"},
		"missing file": {rest.Config{Host: "https://api", TLSClientConfig: rest.TLSClientConfig{CAFile: "/none"}}, "/none"},
		"too large":    {rest.Config{Host: "https://api", BearerToken: strings.Repeat("secret", 2000)}, "at most 8 KiB"},
	} {
		_, err := Flatten(&test.cfg)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want an error with %q", name, err, test.want)
		}
	}
}

func TestUserID(t *testing.T) {
	if got, want := UserID("0123", "kshell-89abcdef"), "0123-89abcdef"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
