package harness

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// Users with tokens. Each has a context of the same name in both kubeconfig
// files. Except for the admin, they have rights only in the namespace default;
// see manifests/rbac.yaml.
const (
	Admin       = "admin"        // system:masters
	DevNone     = "dev-none"     // no rights
	DevGet      = "dev-get"      // get pods, get pods/exec
	DevCreate   = "dev-create"   // create pods/exec
	DevExec     = "dev-exec"     // get pods, get and create pods/exec and pods/attach
	DevExecOnly = "dev-execonly" // get and create pods/exec, but not get pods
)

// Users returns the names of all users, the admin first.
func Users() []string { return []string{Admin, DevNone, DevGet, DevCreate, DevExec, DevExecOnly} }

// Kubeconfig returns the path of the kubeconfig file of the main API server,
// which passes v5 WebSockets on to the kubelet. Its current context is that of
// the admin.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.Dir, "kubeconfig") }

// KubeconfigTranslating returns the path of the kubeconfig file of the second
// API server. The feature gate ExtendWebSocketsToKubelet of this server is off,
// so it translates v5 WebSockets to SPDY itself, as Kubernetes 1.30 to 1.35 do.
func (c *Cluster) KubeconfigTranslating() string {
	return filepath.Join(c.Dir, "kubeconfig-v5-apiserver")
}

func (c *Cluster) tokenFile() string { return filepath.Join(c.Dir, "pki", "tokens.csv") }

// writeAccess writes the tokens, the kubeconfig files of the users and of the
// components, and the audit policy of the API servers.
func (c *Cluster) writeAccess() error {
	tokens := map[string]string{}
	var csv strings.Builder
	for _, user := range Users() {
		token, err := newToken()
		if err != nil {
			return err
		}
		tokens[user] = token
		group := ""
		if user == Admin {
			group = ",system:masters"
		}
		fmt.Fprintf(&csv, "%s,%s,uid-%s%s\n", token, user, user, group)
	}
	if err := os.WriteFile(c.tokenFile(), []byte(csv.String()), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(c.auditPolicyFile(), []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	if err := c.writeUsers(c.Kubeconfig(), serverURL(mainPort), tokens); err != nil {
		return err
	}
	if err := c.writeUsers(c.KubeconfigTranslating(), serverURL(translatePort), tokens); err != nil {
		return err
	}
	for _, component := range append([]string{"controller-manager", "scheduler"}, Nodes()...) {
		if err := c.writeComponent(component); err != nil {
			return err
		}
	}
	return nil
}

func serverURL(port int) string { return "https://" + net.JoinHostPort(hostIP, strconv.Itoa(port)) }

func (c *Cluster) cluster(server string) (*api.Cluster, error) {
	ca, err := os.ReadFile(c.pki("ca.crt"))
	return &api.Cluster{Server: server, CertificateAuthorityData: ca}, err
}

func (c *Cluster) writeUsers(path, server string, tokens map[string]string) error {
	cluster, err := c.cluster(server)
	if err != nil {
		return err
	}
	cfg := api.NewConfig()
	cfg.Clusters["e2e"] = cluster
	for user, token := range tokens {
		cfg.AuthInfos[user] = &api.AuthInfo{Token: token}
		cfg.Contexts[user] = &api.Context{Cluster: "e2e", AuthInfo: user, Namespace: "default"}
	}
	cfg.CurrentContext = Admin
	return clientcmd.WriteToFile(*cfg, path)
}

func (c *Cluster) componentConfig(name string) string { return c.pki(name + ".kubeconfig") }

func (c *Cluster) writeComponent(name string) error {
	cluster, err := c.cluster(serverURL(mainPort))
	if err != nil {
		return err
	}
	cert, err := os.ReadFile(c.pki(name + ".crt"))
	if err != nil {
		return err
	}
	key, err := os.ReadFile(c.pki(name + ".key"))
	if err != nil {
		return err
	}
	cfg := api.NewConfig()
	cfg.Clusters["e2e"] = cluster
	cfg.AuthInfos[name] = &api.AuthInfo{ClientCertificateData: cert, ClientKeyData: key}
	cfg.Contexts[name] = &api.Context{Cluster: "e2e", AuthInfo: name}
	cfg.CurrentContext = name
	return clientcmd.WriteToFile(*cfg, c.componentConfig(name))
}
