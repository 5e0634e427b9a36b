package headlamp

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// maxKubeconfig is the largest result of Flatten, in bytes. Headlamp gets it in
// a header of each request, and proxies limit the length of a header.
const maxKubeconfig = 8 << 10

// namePrefix is the prefix of the names of uploaded contexts. It keeps them
// different from the names of the server's own clusters: if the user ID of a
// WebSocket is unknown, Headlamp uses its own cluster with the same name, and
// its own credentials.
const namePrefix = "kshell-"

// Flatten returns a kubeconfig for upload to a Headlamp server. It has one
// cluster, one user and one context, all of the same name; see ContextName. It
// contains the CA of cfg and cfg.BearerToken or, without a token, the client
// certificate and its key. Files are replaced by their contents. It contains no
// proxy and no other credentials of cfg, such as a plugin: the caller must have
// replaced them by a token.
//
// Flatten returns an error if the address of the server is invalid, a file
// cannot be read, the user has a password, or the kubeconfig is larger than
// 8 KiB.
func Flatten(cfg *rest.Config) ([]byte, error) {
	cfg = rest.CopyConfig(cfg)
	address, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, err
	}
	if err := rest.LoadTLSFiles(cfg); err != nil {
		return nil, err
	}
	user, err := flatUser(cfg, address)
	if err != nil {
		return nil, err
	}
	address.User = nil
	cluster := &api.Cluster{
		Server: strings.TrimSuffix(address.String(), "/"), TLSServerName: cfg.ServerName,
		InsecureSkipTLSVerify: cfg.Insecure, CertificateAuthorityData: cfg.CAData,
	}
	flat, err := write("", cluster, user)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(flat)
	flat, err = write(namePrefix+hex.EncodeToString(sum[:4]), cluster, user)
	if err == nil && len(flat) > maxKubeconfig {
		err = fmt.Errorf("the kubeconfig to upload has %d bytes; at most %d KiB are allowed",
			len(flat), maxKubeconfig>>10)
	}
	return flat, err
}

// write returns a kubeconfig with cluster, user and a context for them, which
// all have the same name.
func write(name string, cluster *api.Cluster, user *api.AuthInfo) ([]byte, error) {
	return clientcmd.Write(api.Config{
		Clusters:       map[string]*api.Cluster{name: cluster},
		AuthInfos:      map[string]*api.AuthInfo{name: user},
		Contexts:       map[string]*api.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	})
}

// flatUser returns a user with the token of cfg or, if it has none, with its
// client certificate.
func flatUser(cfg *rest.Config, address *url.URL) (*api.AuthInfo, error) {
	switch {
	case cfg.Username != "", cfg.Password != "", address.User != nil:
		return nil, errors.New("a user with a password cannot be uploaded")
	case cfg.BearerToken != "":
		return &api.AuthInfo{Token: cfg.BearerToken}, nil
	}
	return &api.AuthInfo{ClientCertificateData: cfg.CertData, ClientKeyData: cfg.KeyData}, nil
}

// ContextName returns the name of the context in the result of Flatten, which
// is also the name of the cluster in the URL. The name contains a hash of the
// content.
func ContextName(kubeconfig []byte) (string, error) {
	c, err := clientcmd.Load(kubeconfig)
	if err != nil {
		return "", errors.New("the kubeconfig to upload is malformed") // err may contain a part of it
	}
	return c.CurrentContext, nil
}

// UserID returns the value of the header X-HEADLAMP-USER-ID for a kubeconfig
// with the context name. user is a secret that identifies the user and matches
// [A-Za-z0-9_-]+. The ID also contains the hash of the content, because
// Headlamp keeps the first kubeconfig that it receives for an ID.
func UserID(user, name string) string { return user + "-" + strings.TrimPrefix(name, namePrefix) }
