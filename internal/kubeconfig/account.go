package kubeconfig

import (
	"cmp"
	"net"
	"os"
	"path/filepath"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const accountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// account is the service account that Kubernetes mounts into a pod: the files
// token, ca.crt and namespace, and the server's address in the environment.
type account struct {
	dir, host, port string
}

func (f *Flags) serviceAccount() account {
	return account{
		dir:  cmp.Or(f.accountDir, accountDir),
		host: os.Getenv("KUBERNETES_SERVICE_HOST"),
		port: os.Getenv("KUBERNETES_SERVICE_PORT"),
	}
}

func (a account) exists() bool {
	return a.host != "" && a.port != "" && isFile(a.token())
}

func (a account) token() string { return filepath.Join(a.dir, "token") }

// namespace is POD_NAMESPACE, else the account's own, as clientcmd has it.
func (a account) namespace() string {
	if namespace := os.Getenv("POD_NAMESPACE"); namespace != "" {
		return namespace
	}
	data, err := os.ReadFile(filepath.Join(a.dir, "namespace"))
	if err != nil {
		return defaultNamespace
	}
	return cmp.Or(strings.TrimSpace(string(data)), defaultNamespace)
}

// config is the account written as a kubeconfig. Without a ca.crt the system's
// certificates have to do.
func (a account) config() *clientcmdapi.Config {
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
