package kubeconfig

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const headlampContexts = `apiVersion: v1
kind: Config
current-context: prod
clusters:
- name: east
  cluster: {server: "https://east.example:6443", insecure-skip-tls-verify: true, proxy-url: "http://proxy:1"}
users:
- name: ann
  user: {token: ` + secret + `, as: eve}
- name: certificate
  user: {client-certificate-data: eA==, client-key-data: eA==}
- name: password
  user: {username: me, password: ` + secret + `}
- name: plugin
  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: get-token, interactiveMode: Never}}
- name: both
  user: {token: ` + secret + `, client-certificate-data: eA==, client-key-data: eA==}
contexts:
- name: prod
  context: {cluster: east, user: ann, namespace: shop}
- name: nobody
  context: {cluster: gone}
`

func TestUser(t *testing.T) {
	cleanEnvironment(t)
	file := kubeconfigFile(t, headlampContexts)
	for name, tt := range map[string]struct {
		flags Flags
		want  User
	}{
		"current context":   {Flags{}, User{"ann", Bearer, false}},
		"--context":         {Flags{Context: "prod"}, User{"ann", Bearer, true}},
		"--token":           {Flags{Token: "t"}, User{"ann", Bearer, true}},
		"--user":            {Flags{User: "plugin"}, User{"plugin", Bearer, true}},
		"certificate":       {Flags{User: "certificate"}, User{"certificate", Certificate, true}},
		"password":          {Flags{User: "password"}, User{"password", Password, true}},
		"--username":        {Flags{Username: "me"}, User{"ann", Password, true}},
		"both":              {Flags{User: "both"}, User{"both", Bearer, true}},
		"none":              {Flags{Context: "nobody"}, User{"", NoLogin, true}},
		"password, --token": {Flags{User: "password", Token: "t"}, User{"password", Bearer, true}},
		"certificate flag":  {Flags{Context: "nobody", ClientCert: "f"}, User{"", NoLogin, true}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.flags.Kubeconfig = file
			loaded, err := tt.flags.Read()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, loaded.User()); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// connectTo returns the connection of f to a server.
func connectTo(t *testing.T, f Flags, server Server) *Connection {
	t.Helper()
	loaded, err := f.Read()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := loaded.ConnectTo(server)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestConnectTo(t *testing.T) {
	cleanEnvironment(t)
	const url = "https://dash.example/k/clusters/main"
	file := kubeconfigFile(t, headlampContexts)
	for name, tt := range map[string]struct {
		flags Flags
		want  summary
	}{
		"context":           {Flags{}, summary{url, secret, "", "shop", "prod"}},
		"-n":                {Flags{Namespace: "web"}, summary{url, secret, "", "web", "prod"}},
		"--token":           {Flags{Token: "t"}, summary{url, "t", "", "shop", "prod"}},
		"--user":            {Flags{User: "both"}, summary{url, secret, "", "shop", "prod"}},
		"certificate":       {Flags{User: "certificate"}, summary{url, "", "", "shop", "prod"}},
		"password":          {Flags{User: "password"}, summary{url, "", "", "shop", "prod"}},
		"--username":        {Flags{Username: "me", Password: "p"}, summary{url, secret, "", "shop", "prod"}},
		"undefined cluster": {Flags{Context: "nobody"}, summary{url, "", "", "", "nobody"}},
		"--cluster":         {Flags{Cluster: "east"}, summary{url, secret, "", "shop", "prod"}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.flags.Kubeconfig = file
			conn := connectTo(t, tt.flags, Server{URL: url, Source: "--headlamp"})
			if diff := cmp.Diff(tt.want, summarize(conn)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			cfg := conn.Config
			if cfg.Username+cfg.Password != "" || cfg.CertData != nil || cfg.KeyData != nil || cfg.Insecure || cfg.Proxy != nil {
				t.Errorf("the configuration has values that are not for this server: %v", cfg)
			}
		})
	}
}

func TestConnectTo_NoFile(t *testing.T) {
	cleanEnvironment(t)
	conn := connectTo(t, Flags{Token: "t"}, Server{URL: "https://dash.example"})
	if diff := cmp.Diff(summary{"https://dash.example", "t", "", "", ""}, summarize(conn)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// ConnectTo does not use the service account of the pod.
func TestConnectTo_ServiceAccount(t *testing.T) {
	cleanEnvironment(t)
	dir := t.TempDir()
	write(t, dir+"/token", secret)
	t.Setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	conn := connectTo(t, Flags{accountDir: dir}, Server{URL: "https://dash.example"})
	if diff := cmp.Diff(summary{"https://dash.example", "", "", "", ""}, summarize(conn)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestConnectTo_TLSFlags(t *testing.T) {
	cleanEnvironment(t)
	dir := t.TempDir()
	cert, key := keyPair(t)
	cert, key = write(t, dir+"/cert", cert), write(t, dir+"/key", key)
	flags := Flags{
		Kubeconfig: kubeconfigFile(t, headlampContexts), CAFile: cert, TLSServerName: "name", ProxyURL: "http://proxy:2",
		ClientCert: cert, ClientKey: key, As: "bob", Timeout: "9s",
	}
	cfg := connectTo(t, flags, Server{URL: "https://dash.example"}).Config
	if cfg.CAFile != cert || cfg.ServerName != "name" || cfg.CertFile != cert || cfg.KeyFile != key || cfg.Proxy == nil ||
		cfg.Impersonate.UserName != "bob" || cfg.Timeout.Seconds() != 9 || cfg.BearerToken != secret {
		t.Errorf("%+v", cfg)
	}
	loaded, err := flags.Read()
	if err != nil {
		t.Fatal(err)
	}
	direct, err := loaded.ConnectDirectly()
	if err != nil {
		t.Fatal(err)
	}
	if cfg := direct.Config; cfg.CAFile != "" || cfg.ServerName != "" || cfg.CertFile != "" || !cfg.Insecure ||
		cfg.Host != "https://east.example:6443" || cfg.BearerToken != secret {
		t.Errorf("direct: %+v", cfg)
	}
}

func TestConnectTo_HTTPCredentials(t *testing.T) {
	cleanEnvironment(t)
	file := kubeconfigFile(t, headlampContexts)
	for name, tt := range map[string]struct {
		flags   Flags
		server  Server
		rule    string
		refused bool
		token   string
		dropped bool
	}{
		"loopback":       {Flags{}, Server{URL: "http://127.0.0.1:4466"}, "", false, secret, false},
		"other host":     {Flags{}, Server{URL: "http://dash.example"}, "", true, "", false},
		"send":           {Flags{}, Server{URL: "http://dash.example"}, HTTPSend, false, secret, false},
		"drop":           {Flags{}, Server{URL: "http://dash.example"}, HTTPDrop, false, "", true},
		"no credentials": {Flags{Context: "nobody"}, Server{URL: "http://dash.example"}, "", false, "", false},
		"secret":         {Flags{Context: "nobody"}, Server{URL: "http://dash.example", Secret: true}, "", true, "", false},
		"secret dropped": {
			Flags{Context: "nobody"}, Server{URL: "http://dash.example", Secret: true}, HTTPDrop, false, "", true,
		},
		"secret on loopback": {
			Flags{Context: "nobody"}, Server{URL: "http://localhost", Secret: true}, "", false, "", false,
		},
		"loopback of a proxy": {Flags{ProxyURL: "http://proxy:1"}, Server{URL: "http://localhost"}, "", true, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			tt.flags.Kubeconfig = file
			conn := connectTo(t, tt.flags, tt.server)
			err := conn.UseHTTPCredentials(tt.rule)
			var refused *Error
			if got := errors.As(err, &refused); got != tt.refused {
				t.Fatalf("error %v, want one: %v", err, tt.refused)
			}
			if got := conn.Config.BearerToken; got != tt.token {
				t.Errorf("token %q, want %q", got, tt.token)
			}
			if conn.CredentialsDropped() != tt.dropped {
				t.Errorf("dropped: %v, want %v", conn.CredentialsDropped(), tt.dropped)
			}
		})
	}
}
