package kubeconfig

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestLoad_PEM(t *testing.T) {
	cleanEnvironment(t)
	dir := t.TempDir()
	cert, key := keyPair(t)
	_, otherKey := keyPair(t)
	bad := write(t, filepath.Join(dir, "bad"), secret)
	load := func(cluster, user string) Flags {
		return Flags{Kubeconfig: write(t, filepath.Join(dir, "config"), `apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "https://one", `+cluster+`}}]
users: [{name: ann, user: {`+user+`}}]
contexts: [{name: c, context: {cluster: c, user: ann}}]
`)}
	}
	in := " in kubeconfig " + filepath.Join(dir, "config")
	certData, keyData := "client-certificate-data: "+inBase64(cert), "client-key-data: "+inBase64(key)
	badData := inBase64(secret)
	for _, tt := range []struct {
		name, cluster, user string
		text, hint          string
	}{
		{
			"CA data", "certificate-authority-data: " + badData, "token: t",
			`certificate-authority-data of cluster "c"` + in + " does not contain a certificate in PEM format",
			"kubectl config set-cluster c --certificate-authority=FILE --embed-certs",
		},
		{
			"CA file", "certificate-authority: " + bad, "token: t",
			"the file " + bad + ` (certificate-authority of cluster "c"` + in + ") does not contain a certificate in PEM format",
			"kubectl config set-cluster c --certificate-authority=FILE --embed-certs",
		},
		{
			"certificate data", "", "client-certificate-data: " + badData + ", " + keyData,
			`client-certificate-data of user "ann"` + in + " does not contain a certificate in PEM format",
			"kubectl config set-credentials ann --client-certificate=FILE --client-key=FILE --embed-certs",
		},
		{
			"key data", "", certData + ", client-key-data: " + badData,
			`client-key-data of user "ann"` + in + " does not contain a private key in PEM format",
			"kubectl config set-credentials ann --client-certificate=FILE --client-key=FILE --embed-certs",
		},
		{
			"key file", "", certData + ", client-key: " + bad,
			"the file " + bad + ` (client-key of user "ann"` + in + ") does not contain a private key in PEM format",
			"kubectl config set-credentials ann --client-certificate=FILE --client-key=FILE --embed-certs",
		},
		{
			"key of another certificate", "", certData + ", client-key-data: " + inBase64(otherKey),
			`client-certificate-data and client-key-data of user "ann"` + in +
				" cannot be used: the certificate and the key do not belong together",
			"kubectl config set-credentials ann --client-certificate=FILE --client-key=FILE --embed-certs",
		},
		{
			"insecure and CA", "insecure-skip-tls-verify: true, certificate-authority-data: " + inBase64(cert), "token: t",
			`cluster "c"` + in + " has insecure-skip-tls-verify and certificate-authority-data, which exclude each other",
			"remove the line `insecure-skip-tls-verify: true` to check the server's certificate, " +
				"or the line certificate-authority-data; ",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := loadError(t, load(tt.cluster, tt.user))
			if err.Error() != tt.text || !strings.Contains(err.Hint(), tt.hint) {
				t.Errorf("got  %s\n     %s\nwant %s\n     …%s…", err, err.Hint(), tt.text, tt.hint)
			}
		})
	}
	for name, f := range map[string]Flags{
		"certificate and key": load("certificate-authority-data: "+inBase64(cert), certData+", "+keyData),
	} {
		t.Run(name, func(t *testing.T) { mustLoad(t, f) })
	}
	for text, f := range map[string]Flags{
		"--insecure-skip-tls-verify and --certificate-authority exclude each other": {
			Server: "https://one", Insecure: true, CAFile: bad,
		},
		"the file " + bad + " (--certificate-authority) does not contain a certificate in PEM format": {
			Server: "https://one", CAFile: bad,
		},
		"the file " + bad + " (--client-certificate) does not contain a certificate in PEM format": {
			Server: "https://one", ClientCert: bad, ClientKey: bad,
		},
	} {
		if err := loadError(t, f); err.Error() != text {
			t.Errorf("got %s, want %s", err, text)
		}
	}
}
