package kubeconfig

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"strings"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/script"
)

// checkTLS returns an error for certificates and keys that client-go cannot
// use. Client-go reports them without the name of the field.
func (f *Flags) checkTLS(raw *clientcmdapi.Config, files sources, cfg *rest.Config) error {
	c := cfg.TLSClientConfig
	ca := f.caLocation(raw, files, c)
	if c.Insecure && (c.CAFile != "" || len(c.CAData) > 0) {
		return f.insecureWithCA(raw, files, ca)
	}
	if data, ok := contents(c.CAFile, c.CAData); ok && !x509.NewCertPool().AppendCertsFromPEM(data) {
		return badPEM(ca, c.CAFile, "a certificate in PEM format",
			"kubectl config set-cluster "+script.Quote(f.clusterName(raw))+" --certificate-authority=FILE --embed-certs")
	}
	cert, hasCert := contents(c.CertFile, c.CertData)
	key, hasKey := contents(c.KeyFile, c.KeyData)
	login := "kubectl config set-credentials " + script.Quote(f.userName(raw)) +
		" --client-certificate=FILE --client-key=FILE --embed-certs"
	certLocation := f.certLocation(raw, files, "client-certificate", f.ClientCert, c.CertData)
	keyLocation := f.certLocation(raw, files, "client-key", f.ClientKey, c.KeyData)
	switch {
	case hasCert && !hasBlock(cert, "CERTIFICATE"):
		return badPEM(certLocation, c.CertFile, "a certificate in PEM format", login)
	case hasKey && !hasBlock(key, "PRIVATE KEY"):
		return badPEM(keyLocation, c.KeyFile, "a private key in PEM format", login)
	case !hasCert || !hasKey:
		return nil
	}
	if _, err := tls.X509KeyPair(cert, key); err != nil {
		return badPair(certLocation, keyLocation, err, login)
	}
	return nil
}

// contents returns the contents of a field: data, or else those of file. ok is
// false if there are none, or if file is not a regular file, such as a pipe,
// which can be read only once.
func contents(file string, data []byte) (all []byte, ok bool) {
	if len(data) > 0 {
		return data, true
	}
	if info, err := os.Stat(file); err != nil || !info.Mode().IsRegular() {
		return nil, false
	}
	all, err := os.ReadFile(file)
	return all, err == nil
}

// hasBlock reports whether data has a PEM block whose type ends in kind.
func hasBlock(data []byte, kind string) bool {
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return false
		}
		if strings.HasSuffix(block.Type, kind) {
			return true
		}
		data = rest
	}
}

// caLocation returns where the certificate authority is set.
func (f *Flags) caLocation(raw *clientcmdapi.Config, files sources, c rest.TLSClientConfig) location {
	switch {
	case f.CAFile != "" || raw.Clusters[f.clusterName(raw)] == nil:
		return location{field: "--certificate-authority"}
	case len(c.CAData) > 0:
		return f.clusterField(raw, files, "certificate-authority-data")
	}
	return f.clusterField(raw, files, "certificate-authority")
}

// certLocation returns where a client certificate or its key is set. field is
// the name of the flag and of the field that names a file. flag is the value of
// the flag, and data is the value of the field whose name ends in -data.
func (f *Flags) certLocation(raw *clientcmdapi.Config, files sources, field, flag string, data []byte) location {
	switch {
	case flag != "" || raw.AuthInfos[f.userName(raw)] == nil:
		return location{field: "--" + field}
	case len(data) > 0:
		return f.userField(raw, files, field+"-data")
	}
	return f.userField(raw, files, field)
}

func (f *Flags) insecureWithCA(raw *clientcmdapi.Config, files sources, ca location) error {
	if ca.entry == "" {
		return &Error{
			Kind: Usage,
			text: "--insecure-skip-tls-verify and --certificate-authority exclude each other",
			hint: "omit --insecure-skip-tls-verify to check the server's certificate",
		}
	}
	entry := f.clusterField(raw, files, "").entry
	return &Error{
		Kind: Invalid,
		text: fmt.Sprintf("%s has insecure-skip-tls-verify and %s, which exclude each other", entry, ca.field),
		hint: fmt.Sprintf("remove the line `insecure-skip-tls-verify: true` to check the server's certificate, "+
			"or the line %s; `kubectl config set-cluster %s --insecure-skip-tls-verify=false` removes the first one",
			ca.field, script.Quote(f.clusterName(raw))),
	}
}

// badPEM is the error for a field that does not contain what. file is the file
// that the field names, or "" if the field holds the data itself. command is a
// command that sets the field.
func badPEM(where location, file, what, command string) error {
	text := fmt.Sprintf("%s does not contain %s", where, what)
	if file != "" && !strings.HasSuffix(where.field, "-data") {
		text = fmt.Sprintf("the file %s (%s) does not contain %s", file, where, what)
	}
	hint := "log in again with the command that wrote the entry, or type `" + command + "`"
	switch where.entry {
	case "":
		hint = "name a file that contains " + what
	case podAccount:
		hint = "Kubernetes mounts the files of a service account: check the volumes of this pod"
	}
	return &Error{Kind: Invalid, text: text, hint: hint}
}

func badPair(cert, key location, err error, command string) error {
	reason := "the certificate and the key do not belong together"
	if !strings.Contains(err.Error(), "does not match") {
		reason = "the certificate or the key is damaged"
	}
	text := fmt.Sprintf("%s and %s cannot be used: %s", cert.field, key, reason)
	hint := "log in again with the command that wrote the entry, or type `" + command + "`"
	if key.entry == "" {
		hint = "name the two files of one key pair"
	}
	return &Error{Kind: Invalid, text: text, hint: hint}
}
