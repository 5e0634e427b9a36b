package kubeconfig

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const manyUsers = `apiVersion: v1
kind: Config
current-context: token
clusters:
- name: east
  cluster: {server: "https://east.example:6443/k8s/c1/"}
- name: secret
  cluster: {server: "https://me:` + secret + `@west.example:6443/?token=` + secret + `"}
- name: malformed
  cluster: {server: "https://me:` + secret + `%zz@west.example:6443"}
- name: bare
  cluster: {server: "north.example:6443"}
users:
- {name: token, user: {token: ` + secret + `}}
- {name: file, user: {tokenFile: /no/such/file}}
- {name: plugin, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: x, interactiveMode: Never}}}
- {name: oidc, user: {auth-provider: {name: oidc}}}
- {name: gcp, user: {auth-provider: {name: gcp}}}
- {name: certificate, user: {client-certificate: /no/such/file}}
- {name: data, user: {client-certificate-data: eA==}}
- {name: password, user: {username: me, password: ` + secret + `}}
- {name: none, user: {}}
contexts:
- {name: token, context: {cluster: east, user: token, namespace: shop}}
- {name: file, context: {cluster: secret, user: file}}
- {name: plugin, context: {cluster: malformed, user: plugin}}
- {name: oidc, context: {cluster: bare, user: oidc}}
- {name: gcp, context: {cluster: east, user: gcp}}
- {name: certificate, context: {cluster: east, user: certificate}}
- {name: data, context: {cluster: east, user: data}}
- {name: password, context: {cluster: east, user: password}}
- {name: none, context: {cluster: east, user: none}}
- {name: undefined, context: {cluster: nope, user: nope}}
`

func TestContexts(t *testing.T) {
	cleanEnvironment(t)
	f := Flags{Kubeconfig: kubeconfigFile(t, manyUsers)}
	const east = "https://east.example:6443/k8s/c1"
	want := []Context{
		{Name: "certificate", Cluster: "east", Server: east, Auth: AuthCertificate},
		{Name: "data", Cluster: "east", Server: east, Auth: AuthCertificate},
		{Name: "file", Cluster: "secret", Server: "https://west.example:6443", Auth: AuthToken},
		{Name: "gcp", Cluster: "east", Server: east, Auth: "gcp"},
		{Name: "none", Cluster: "east", Server: east, Auth: AuthNone},
		{Name: "oidc", Cluster: "bare", Server: "north.example:6443", Auth: AuthOIDC},
		{Name: "password", Cluster: "east", Server: east, Auth: AuthPassword},
		{Name: "plugin", Cluster: "malformed", Server: "https://west.example:6443", Auth: AuthPlugin},
		{Name: "token", Cluster: "east", Server: east, Auth: AuthToken, Namespace: "shop", Current: true},
		{Name: "undefined", Cluster: "nope", User: "nope", Auth: AuthNone},
	}
	for i := range want {
		if want[i].User == "" {
			want[i].User = want[i].Name
		}
		if want[i].Namespace == "" {
			want[i].Namespace = defaultNamespace
		}
	}
	got, err := f.Contexts()
	if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(Context{})); err != nil || diff != "" {
		t.Errorf("%v, -want +got:\n%s", err, diff)
	}
	for _, c := range got {
		if strings.Contains(c.Server, secret) {
			t.Errorf("%s: the server %q contains a secret", c.Name, c.Server)
		}
	}

	f.Context = "file"
	got, err = f.Contexts()
	if err != nil || len(got) != 1 || got[0].Name != "file" || got[0].Current {
		t.Errorf("with --context file: got %+v, %v", got, err)
	}
}

func TestContexts_Connect(t *testing.T) {
	cleanEnvironment(t)
	f := Flags{Kubeconfig: kubeconfigFile(t, twoContexts), As: "eve"}
	contexts, err := f.Contexts()
	if err != nil || len(contexts) != 3 {
		t.Fatalf("got %d contexts, want 3: %v", len(contexts), err)
	}
	for _, c := range contexts {
		f.Context = c.Name
		got, err := c.Connect()
		if err != nil {
			t.Fatal(err)
		}
		want := mustLoad(t, f)
		if diff := cmp.Diff(summarize(want), summarize(got)); diff != "" || got.Config.Impersonate.UserName != "eve" {
			t.Errorf("%s: the connection is not that of Load, -Load +Connect:\n%s", c.Name, diff)
		}
	}
}

func TestContexts_Errors(t *testing.T) {
	cleanEnvironment(t)
	for name, test := range map[string]struct {
		flags Flags
		want  Kind
	}{
		"no kubeconfig":   {Flags{}, NoConfiguration},
		"missing file":    {Flags{Kubeconfig: "/no/such/file"}, FileNotFound},
		"empty":           {Flags{Kubeconfig: kubeconfigFile(t, "apiVersion: v1\nkind: Config\n")}, Empty},
		"not YAML":        {Flags{Kubeconfig: kubeconfigFile(t, "{")}, Malformed},
		"unknown context": {Flags{Kubeconfig: kubeconfigFile(t, twoContexts), Context: "nope"}, UnknownContext},
		"bad timeout":     {Flags{Kubeconfig: kubeconfigFile(t, twoContexts), Timeout: "soon"}, Usage},
	} {
		t.Run(name, func(t *testing.T) {
			var e *Error
			if _, err := test.flags.Contexts(); !errors.As(err, &e) || e.Kind != test.want {
				t.Errorf("got %v, want an error of kind %d", err, test.want)
			}
		})
	}
	contexts, err := (&Flags{Kubeconfig: kubeconfigFile(t, manyUsers), Context: "undefined"}).Contexts()
	if err != nil {
		t.Fatal(err)
	}
	var e *Error
	if _, err := contexts[0].Connect(); !errors.As(err, &e) || e.Kind != UnknownCluster {
		t.Errorf("Connect: got %v, want an error of kind %d", err, UnknownCluster)
	}
}

func TestContexts_InCluster(t *testing.T) {
	names := func(f Flags) (all []string, current string) {
		t.Helper()
		contexts, err := f.Contexts()
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range contexts {
			all = append(all, c.Name)
			if c.Current {
				current = c.Name
			}
		}
		return all, current
	}
	f := inClusterFlags(t, map[string]string{"token": "sa-" + secret, "namespace": "home\n"})
	if all, current := names(f); !slices.Equal(all, []string{InCluster}) || current != InCluster {
		t.Errorf("without a kubeconfig: got %q, current %q", all, current)
	}
	contexts, _ := f.Contexts()
	conn, err := contexts[0].Connect()
	if want := mustLoad(t, f); err != nil || summarize(conn) != summarize(want) {
		t.Errorf("Connect: got %+v, %v, want %+v", summarize(conn), err, summarize(want))
	}
	f.Kubeconfig = kubeconfigFile(t, twoContexts)
	if all, current := names(f); slices.Contains(all, InCluster) || current != "prod" {
		t.Errorf("with a current-context: got %q, current %q", all, current)
	}
	f.Kubeconfig = kubeconfigFile(t, strings.Replace(twoContexts, "current-context: prod", "", 1))
	if all, current := names(f); len(all) != 4 || current != InCluster {
		t.Errorf("without a current-context: got %q, current %q", all, current)
	}
}
