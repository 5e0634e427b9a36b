package apiclient

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"
)

func TestResolveCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		cfg  rest.Config
		want string
	}{
		"none":                  {rest.Config{}, ""},
		"token":                 {rest.Config{BearerToken: "t"}, "t"},
		"file":                  {rest.Config{BearerTokenFile: file}, "from-file"},
		"password, not a token": {rest.Config{Username: "me", Password: "p"}, ""},
		"token with impersonation": {
			rest.Config{BearerToken: "t", Impersonate: rest.ImpersonationConfig{UserName: "eve"}}, "t",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ResolveCredentials(&tt.cfg)
			if err != nil || got.Token != tt.want || got.Cert != nil || got.Key != nil {
				t.Errorf("%+v, %v; want the token %q", got, err, tt.want)
			}
		})
	}
}

func TestResolveCredentials_PluginError(t *testing.T) {
	_, err := ResolveCredentials(&rest.Config{ExecProvider: &api.ExecConfig{
		APIVersion: "client.authentication.k8s.io/v1", Command: "/no/such/plugin", InteractiveMode: "Never",
	}})
	var failed *PluginError
	if !errors.As(err, &failed) {
		t.Errorf("%v, want a *PluginError", err)
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
