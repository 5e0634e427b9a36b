package remote

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"
)

// TestWithQuietPlugin_Policy checks that a policy that allows the plugin does
// not stop the kshell process that runs the plugin during a session.
func TestWithQuietPlugin_Policy(t *testing.T) {
	policy := api.PluginPolicy{
		PolicyType: api.PluginPolicyAllowlist, Allowlist: []api.AllowlistEntry{{Command: "get-token"}},
	}
	cfg := &rest.Config{ExecProvider: &api.ExecConfig{Command: "get-token", PluginPolicy: policy}}
	quiet, err := withQuietPlugin(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := quiet.ExecProvider.PluginPolicy; got.PolicyType != "" || got.Allowlist != nil {
		t.Errorf("policy %v of the process that runs the plugin", got)
	}
	if got := cfg.ExecProvider.PluginPolicy.PolicyType; got != api.PluginPolicyAllowlist {
		t.Errorf("the policy of the plugin has become %q", got)
	}
}

func TestEncode_ClientCertificate(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := encode(&tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil || string(pair.Certificate[0]) != string(der) {
		t.Errorf("%v, certificate\n%s", err, cert)
	}
	block, _ := pem.Decode(key)
	if _, err := x509.ParsePKCS8PrivateKey(block.Bytes); err != nil {
		t.Error(err)
	}
}
