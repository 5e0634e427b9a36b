package harness

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificate describes a key pair that is signed by the authority of the
// cluster.
type certificate struct {
	file   string // the files are file.crt and file.key
	user   string
	groups []string
	names  []string // subject alternative names: hosts and addresses; none for a client
}

// certificates returns the certificates of the components.
func certificates() []certificate {
	list := []certificate{
		{
			file: "apiserver", user: "kube-apiserver",
			// The loopback names are for proxies in front of the server.
			names: []string{
				hostIP,
				"127.0.0.1",
				"::1",
				"localhost",
				"kubernetes",
				"kubernetes.default",
				"kubernetes.default.svc",
			},
		},
		{file: "apiserver-kubelet", user: "kube-apiserver-kubelet-client", groups: []string{"system:masters"}},
		{file: "controller-manager", user: "system:kube-controller-manager"},
		{file: "scheduler", user: "system:kube-scheduler"},
	}
	for _, n := range nodes {
		list = append(list, certificate{file: n.name, user: "system:node:" + n.name, groups: []string{"system:nodes"}},
			certificate{file: n.name + "-serving", user: "system:node:" + n.name, names: []string{n.name, n.ip}})
	}
	return list
}

func (c *Cluster) pki(file string) string { return filepath.Join(c.Dir, "pki", file) }

// writePKI creates a new authority, all certificates, and the key pair for
// service account tokens (sa.key, sa.pub).
func (c *Cluster) writePKI() error {
	caKey, err := newKey(c.pki("ca.key"))
	if err != nil {
		return err
	}
	ca := blank("kshell-e2e-ca", nil)
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	if err := sign(c.pki("ca.crt"), ca, ca, caKey.Public(), caKey); err != nil {
		return err
	}
	for _, want := range certificates() {
		key, err := newKey(c.pki(want.file + ".key"))
		if err != nil {
			return err
		}
		if err := sign(c.pki(want.file+".crt"), want.template(), ca, key.Public(), caKey); err != nil {
			return err
		}
	}
	sa, err := newKey(c.pki("sa.key"))
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(sa.Public())
	if err != nil {
		return err
	}
	return writePEM(c.pki("sa.pub"), "PUBLIC KEY", public)
}

func blank(user string, groups []string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: user, Organization: groups},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}
}

func (w certificate) template() *x509.Certificate {
	t := blank(w.user, w.groups)
	t.KeyUsage = x509.KeyUsageDigitalSignature
	t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	if len(w.names) > 0 {
		t.ExtKeyUsage = append(t.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	for _, name := range w.names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	return t
}

func newKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(path, "EC PRIVATE KEY", der)
}

func sign(path string, cert, parent *x509.Certificate, public crypto.PublicKey, by crypto.Signer) error {
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, public, by)
	if err != nil {
		return fmt.Errorf("cannot sign %s: %w", path, err)
	}
	return writePEM(path, "CERTIFICATE", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// newToken returns a random bearer token.
func newToken() (string, error) {
	b := make([]byte, 16)
	if _, err := rand.Read(b); err != nil {
		return "", errors.Join(errors.New("cannot read random bytes"), err)
	}
	return hex.EncodeToString(b), nil
}
