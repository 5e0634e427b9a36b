package sandbox

import (
	"os"

	clientcmdv1 "k8s.io/client-go/tools/clientcmd/api/v1"
	"sigs.k8s.io/yaml"
)

// writeFiles writes ca.crt and the kubeconfig, which contains the tokens and is
// readable only by its owner.
func (s *Server) writeFiles(certs *certificates) error {
	if err := os.WriteFile(s.CA(), certs.caPEM, 0o600); err != nil {
		return err
	}
	data, err := yaml.Marshal(s.kubeconfig(certs))
	if err != nil {
		return err
	}
	return os.WriteFile(s.Kubeconfig(), data, 0o600)
}

func (s *Server) kubeconfig(certs *certificates) *clientcmdv1.Config {
	cfg := &clientcmdv1.Config{
		Kind:           "Config",
		APIVersion:     "v1",
		CurrentContext: "sandbox",
		Clusters: []clientcmdv1.NamedCluster{{
			Name:    "sandbox",
			Cluster: clientcmdv1.Cluster{Server: s.url, CertificateAuthorityData: certs.caPEM},
		}},
	}
	for _, u := range s.users {
		name := u.name
		if name == admin {
			name = "sandbox"
		}
		cfg.Contexts = append(cfg.Contexts, clientcmdv1.NamedContext{
			Name:    name,
			Context: clientcmdv1.Context{Cluster: "sandbox", AuthInfo: u.name, Namespace: "default"},
		})
		cfg.AuthInfos = append(cfg.AuthInfos, clientcmdv1.NamedAuthInfo{
			Name:     u.name,
			AuthInfo: clientcmdv1.AuthInfo{Token: u.token},
		})
	}
	return cfg
}
