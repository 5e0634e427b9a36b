package kubeconfig

import (
	"cmp"
	"net"
	"os"
	"path/filepath"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const defaultAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// serviceAccount is the service account that Kubernetes mounts into a pod: the
// files token, ca.crt and namespace, and the server's address in the
// environment. Source:
// https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
type serviceAccount struct {
	dir, host, port string
}

func (f *Flags) serviceAccount() serviceAccount {
	return serviceAccount{
		dir:  cmp.Or(f.accountDir, defaultAccountDir),
		host: os.Getenv("KUBERNETES_SERVICE_HOST"),
		port: os.Getenv("KUBERNETES_SERVICE_PORT"),
	}
}

func (a serviceAccount) exists() bool {
	return a.host != "" && a.port != "" && isFile(a.token())
}

func (a serviceAccount) token() string { return filepath.Join(a.dir, "token") }

// namespace returns the value of the variable POD_NAMESPACE, else the contents
// of the account's file namespace, else "default", as clientcmd does.
func (a serviceAccount) namespace() string {
	if namespace := os.Getenv("POD_NAMESPACE"); namespace != "" {
		return namespace
	}
	data, err := os.ReadFile(filepath.Join(a.dir, "namespace"))
	if err != nil {
		return defaultNamespace
	}
	return cmp.Or(strings.TrimSpace(string(data)), defaultNamespace)
}

// config returns a kubeconfig for the account. Without a ca.crt, the system's
// certificates are used.
func (a serviceAccount) config() *clientcmdapi.Config {
	cluster := clientcmdapi.NewCluster()
	cluster.Server = "https://" + net.JoinHostPort(a.host, a.port)
	if ca := filepath.Join(a.dir, "ca.crt"); isFile(ca) {
		cluster.CertificateAuthority = ca
	}
	user := clientcmdapi.NewAuthInfo()
	user.TokenFile = a.token()
	context := clientcmdapi.NewContext()
	context.Cluster, context.AuthInfo = InCluster, InCluster

	config := clientcmdapi.NewConfig()
	config.Clusters[InCluster] = cluster
	config.AuthInfos[InCluster] = user
	config.Contexts[InCluster] = context
	config.CurrentContext = InCluster
	return config
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}
