package kubeconfig

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// check finds what clientcmd would pass over (a user that is named but not
// there makes it anonymous) or say in words that help nobody.
func (f *Flags) check(raw *clientcmdapi.Config, files sources) error {
	if f.namesAny() && clientcmdapi.IsConfigEmpty(raw) {
		return files.nothing(raw)
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
	if timeout, err := clientcmd.ParseTimeout(f.Timeout); err != nil || timeout < 0 {
		return badTimeout(f.Timeout)
	}
	return nil
}

func (f *Flags) checkContext(raw *clientcmdapi.Config, files sources) error {
	name := f.contextName(raw)
	if _, there := raw.Contexts[name]; there || name == "" {
		return nil
	}
	return unknownContext(name, f.Context != "", slices.Sorted(maps.Keys(raw.Contexts)), files)
}

func (f *Flags) checkCluster(raw *clientcmdapi.Config, files sources) error {
	name := f.clusterName(raw)
	cluster, there := raw.Clusters[name]
	switch {
	case f.Cluster != "" && !there:
		return unknownCluster(name, slices.Sorted(maps.Keys(raw.Clusters)), files)
	case f.Server == "" && !there:
		return danglingCluster(f.contextName(raw), name, slices.Sorted(maps.Keys(raw.Clusters)), files)
	case f.Server == "" && cluster.Server == "":
		return noServer(name)
	case !validProxy(f.ProxyURL):
		return badProxyFlag()
	case there && f.ProxyURL == "" && !validProxy(cluster.ProxyURL):
		return badProxy(name)
	}
	return nil
}

func (f *Flags) checkUser(raw *clientcmdapi.Config, files sources) error {
	name := f.userName(raw)
	user, there := raw.AuthInfos[name]
	switch {
	case f.User != "" && !there:
		return unknownUser(name, slices.Sorted(maps.Keys(raw.AuthInfos)), files)
	case name != "" && !there && !f.identifies():
		return danglingUser(f.contextName(raw), name, slices.Sorted(maps.Keys(raw.AuthInfos)), files)
	case (len(f.AsGroups) > 0 || f.AsUID != "" || len(f.AsExtra) > 0) && f.As == "" && (!there || user.Impersonate == ""):
		return groupWithoutUser()
	case there && user.AuthProvider != nil && !f.identifies():
		if err := checkAuthProvider(name, user.AuthProvider); err != nil {
			return err
		}
	}
	for _, pair := range f.AsExtra {
		if !strings.Contains(pair, "=") {
			return badExtra(pair)
		}
	}
	return nil
}

// oidc is the only auth-provider that client-go still supports.
const oidc = "oidc"

func checkAuthProvider(user string, provider *clientcmdapi.AuthProviderConfig) error {
	if provider.Name != oidc {
		return noAuthProvider(user, provider.Name)
	}
	const issuer = "idp-issuer-url"
	for _, key := range []string{issuer, "client-id"} {
		if provider.Config[key] == "" {
			return incompleteAuthProvider(user, "has no "+key)
		}
	}
	if u, err := url.Parse(provider.Config[issuer]); err != nil || u.Host == "" { // client-go's message repeats the URL, which may hold a password
		return incompleteAuthProvider(user, "has an "+issuer+" that is not a URL")
	}
	return nil
}

// validProxy mirrors clientcmd's rule; its own message repeats the URL, which
// may hold a password.
func validProxy(proxy string) bool {
	if proxy == "" {
		return true
	}
	u, err := url.Parse(proxy)
	return err == nil && slices.Contains([]string{"http", "https", "socks5"}, u.Scheme)
}
