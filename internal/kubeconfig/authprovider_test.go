package kubeconfig

import (
	"strings"
	"testing"
)

func withAuthProvider(provider string) string {
	return strings.Replace(twoContexts, "{token: "+secret+"}", "{auth-provider: "+provider+"}", 1)
}

const oidcProvider = `{name: oidc, config: {idp-issuer-url: "https://id.example", client-id: me, ` +
	`refresh-token: ` + secret + `}}`

func TestAuthProvider_Unsupported(t *testing.T) {
	for name, test := range map[string]struct{ provider, text, hint string }{
		"gcp":       {`{name: gcp}`, `user "ann" has the auth-provider "gcp", which`, "gke-gcloud-auth-plugin"},
		"azure":     {`{name: azure, config: {access-token: ` + secret + `}}`, `the auth-provider "azure"`, "kubelogin"},
		"another":   {`{name: openstack}`, `the auth-provider "openstack"`, "credential plugin"},
		"no issuer": {`{name: oidc}`, `the auth-provider oidc of user "ann" has no idp-issuer-url`, "log in again"},
		"no client": {`{name: oidc, config: {idp-issuer-url: "https://id.example"}}`, "has no client-id", "log in again"},
		"bad issuer": {
			`{name: oidc, config: {client-id: me, idp-issuer-url: "https://u:` + secret + `@id.example:zz"}}`,
			"is not a URL",
			"log in again",
		},
		"bare issuer": {
			`{name: oidc, config: {client-id: me, idp-issuer-url: "id.example"}}`, "is not a URL", "log in again",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cleanEnvironment(t)
			err := loadError(t, Flags{Kubeconfig: kubeconfigFile(t, withAuthProvider(test.provider))})
			if err.Kind != Invalid || !strings.Contains(err.Error(), test.text) ||
				!strings.Contains(err.Hint(), test.hint) {
				t.Errorf("got kind %d: %s\nhint: %s", err.Kind, err, err.Hint())
			}
		})
	}
}

func TestAuthProvider_FlagsIdentifyTheUser(t *testing.T) {
	cleanEnvironment(t)
	got := mustLoad(t, Flags{Kubeconfig: kubeconfigFile(t, withAuthProvider("{name: gcp}")), Token: "mine"}).Config
	if got.AuthProvider != nil || got.BearerToken != "mine" {
		t.Errorf("auth-provider %v, token %q; want the token alone", got.AuthProvider, got.BearerToken)
	}
}

func TestAuthProvider_OIDCIsKept(t *testing.T) {
	cleanEnvironment(t)
	got := mustLoad(t, Flags{Kubeconfig: kubeconfigFile(t, withAuthProvider(oidcProvider))}).Config
	if got.AuthProvider == nil || got.AuthProvider.Name != "oidc" || got.AuthConfigPersister == nil {
		t.Errorf("auth-provider %v, persister %v", got.AuthProvider, got.AuthConfigPersister)
	}
}
