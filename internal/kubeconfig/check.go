package kubeconfig

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// check finds errors that clientcmd ignores, or reports without a useful
// message. For example, if the user of a context is not defined, clientcmd
// makes anonymous requests.
func (f *Flags) check(raw *clientcmdapi.Config, files sources) error {
	if f.namesEntry() && clientcmdapi.IsConfigEmpty(raw) {
		return files.noClusterError(raw)
	}
	checks := []func(*clientcmdapi.Config, sources) error{f.checkContext, f.checkCluster, f.checkUser}
	for _, check := range checks {
		if err := check(raw, files); err != nil {
			return err
		}
	}
	return nil
}

func (f *Flags) checkTimeout() error {
	if f.Timeout == "" {
		return nil
	}
	switch timeout, err := clientcmd.ParseTimeout(f.Timeout); {
	case err != nil:
		return badTimeout(fmt.Sprintf("%q is not a duration", f.Timeout))
	case timeout < 0:
		return badTimeout(f.Timeout + ": must not be negative")
	}
	return nil
}

func (f *Flags) checkContext(raw *clientcmdapi.Config, files sources) error {
	name := f.contextName(raw)
	if _, defined := raw.Contexts[name]; defined || name == "" {
		return nil
	}
	return unknownContext(name, f.Context != "", slices.Sorted(maps.Keys(raw.Contexts)), files)
}

func (f *Flags) checkCluster(raw *clientcmdapi.Config, files sources) error {
	name := f.clusterName(raw)
	cluster, defined := raw.Clusters[name]
	switch {
	case f.Cluster != "" && !defined:
		return unknownCluster(name, slices.Sorted(maps.Keys(raw.Clusters)), files)
	case f.Server == "" && !defined:
		return undefinedCluster(f.contextName(raw), name, slices.Sorted(maps.Keys(raw.Clusters)), files)
	case f.Server == "" && cluster.Server == "":
		return noServer(name)
	}
	// These checks come before those of clientcmd, whose messages repeat the
	// addresses. The addresses may contain a password.
	if err := f.checkServer(raw, files); err != nil {
		return err
	}
	return f.checkProxy(raw, files)
}

func (f *Flags) checkUser(raw *clientcmdapi.Config, files sources) error {
	name := f.userName(raw)
	user, defined := raw.AuthInfos[name]
	switch {
	case f.User != "" && !defined:
		return unknownUser(name, slices.Sorted(maps.Keys(raw.AuthInfos)), files)
	case name != "" && !defined && !f.hasCredentials():
		return undefinedUser(f.contextName(raw), name, slices.Sorted(maps.Keys(raw.AuthInfos)), files)
	case f.impersonatesWithoutUser() && (!defined || user.Impersonate == ""):
		return groupWithoutUser()
	case defined && user.AuthProvider != nil && !f.hasCredentials():
		if err := checkAuthProvider(name, user.AuthProvider); err != nil {
			return err
		}
	case defined && user.Exec != nil && user.Exec.Command != "" && user.Exec.APIVersion != "" && !f.hasCredentials() &&
		!slices.Contains(pluginVersions, user.Exec.APIVersion):
		return removedAPIVersion(f.userField(raw, files, "exec"), user.Exec.Command, user.Exec.APIVersion)
	}
	for _, pair := range f.AsExtra {
		if !strings.Contains(pair, "=") {
			return badExtra(pair)
		}
	}
	return nil
}

// impersonatesWithoutUser reports whether a flag is given that needs --as, but
// --as is not given.
func (f *Flags) impersonatesWithoutUser() bool {
	return f.As == "" && (len(f.AsGroups) > 0 || f.AsUID != "" || len(f.AsExtra) > 0)
}

// pluginVersions are the apiVersions of credential plugins that client-go
// supports.
var pluginVersions = []string{"client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"}

// oidc is the only auth-provider that client-go still supports.
const oidc = "oidc"

func checkAuthProvider(user string, provider *clientcmdapi.AuthProviderConfig) error {
	if provider.Name != oidc {
		return unsupportedAuthProvider(user, provider.Name)
	}
	const issuer = "idp-issuer-url"
	for _, key := range []string{issuer, "client-id"} {
		if provider.Config[key] == "" {
			return incompleteAuthProvider(user, "has no "+key)
		}
	}
	// This check comes before that of client-go, whose message repeats the URL.
	// The URL may contain a password.
	if u, err := url.Parse(provider.Config[issuer]); err != nil || u.Host == "" {
		return incompleteAuthProvider(user, "has an "+issuer+" that is not a URL")
	}
	return nil
}
