package kubeconfig

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

const httpContexts = `apiVersion: v1
kind: Config
clusters:
- name: http
  cluster: {server: "http://one:8080/k8s"}
- name: proxied
  cluster: {server: "http://localhost:8080", proxy-url: "http://proxy:3128"}
users:
- name: token
  user: {token: ` + secret + `}
- name: basic
  user: {username: me, password: ` + secret + `}
- name: plugin
  user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: get-token, interactiveMode: Never}}
- name: certificate
  user: {client-certificate-data: eA==, client-key-data: eA==}
- name: none
  user: {}
contexts:
- name: token
  context: {cluster: http, user: token}
- name: basic
  context: {cluster: http, user: basic}
- name: plugin
  context: {cluster: http, user: plugin}
- name: certificate
  context: {cluster: http, user: certificate}
- name: none
  context: {cluster: http, user: none}
- name: proxied
  context: {cluster: proxied, user: token}
`

func TestUseHTTPCredentials(t *testing.T) {
	const refuse, drop, send = HTTPRefuse, HTTPDrop, HTTPSend
	cleanEnvironment(t)
	file := kubeconfigFile(t, httpContexts)
	tests := []struct {
		name  string
		flags Flags
		rules map[string]string // from the rule to the result: refuse, drop or send
	}{
		{"https", Flags{Server: "https://one", Token: secret}, map[string]string{"": send, refuse: send, drop: send}},
		{"no credentials", Flags{Server: "http://one"}, map[string]string{"": drop, refuse: drop, drop: drop, send: drop}},
		{"empty user", Flags{Context: "none"}, map[string]string{"": drop, refuse: drop}},
		{"certificate", Flags{Context: "certificate"}, map[string]string{"": drop, refuse: drop, send: drop}},
		{"token", Flags{Context: "token"}, map[string]string{"": refuse, refuse: refuse, drop: drop, send: send}},
		{"basic", Flags{Context: "basic"}, map[string]string{"": refuse, drop: drop, send: send}},
		{"plugin", Flags{Context: "plugin"}, map[string]string{"": refuse, drop: drop, send: send}},
		{"--token", Flags{Server: "http://one", Token: secret}, map[string]string{"": refuse, drop: drop, send: send}},
		{"no scheme", Flags{Server: "one:8080", Token: secret}, map[string]string{"": refuse, drop: drop, send: send}},
		{"user info", Flags{Server: "http://me:" + secret + "@one"}, map[string]string{"": refuse, drop: drop, send: send}},
		{"localhost", Flags{Server: "http://localhost:80", Token: secret}, map[string]string{"": send, drop: drop}},
		{"loopback", Flags{Server: "http://127.0.0.2:80", Token: secret}, map[string]string{"": send, refuse: refuse}},
		{"IPv6 loopback", Flags{Server: "http://[::1]:80", Token: secret}, map[string]string{"": send, refuse: refuse}},
		{"like loopback", Flags{Server: "http://127.0.0.1.example", Token: secret}, map[string]string{"": refuse}},
		{"localhost of a proxy", Flags{Context: "proxied"}, map[string]string{"": refuse, send: send}},
	}
	for _, tt := range tests {
		for rule, want := range tt.rules {
			t.Run(tt.name+"/"+rule, func(t *testing.T) {
				if tt.flags.Server == "" {
					tt.flags.Kubeconfig = file
				}
				conn := mustLoad(t, tt.flags)
				if strings.HasPrefix(conn.Config.Host, "http:") && hasAny(conn.Config) {
					t.Error("Load returned credentials for an http:// address")
				}
				err := conn.UseHTTPCredentials(rule)
				var refused *Error
				switch got := result(conn.Config, err); {
				case got != want:
					t.Errorf("%v: %s, want %s", err, got, want)
				case errors.As(err, &refused) && (refused.Kind != Usage || refused.Hint() == ""):
					t.Errorf("kind %v, hint %q", refused.Kind, refused.Hint())
				case err != nil && strings.Contains(err.Error(), secret):
					t.Errorf("%s contains the password", err)
				case len(conn.Notes) > 0:
					t.Errorf("notes %q", conn.Notes)
				}
			})
		}
	}
}

func result(cfg *rest.Config, err error) string {
	switch {
	case err != nil:
		return HTTPRefuse
	case hasAny(cfg):
		return HTTPSend
	}
	return HTTPDrop
}

func hasAny(cfg *rest.Config) bool { return hasCredentials(cfg) || strings.Contains(cfg.Host, "@") }

func TestUseHTTPCredentials_Message(t *testing.T) {
	cleanEnvironment(t)
	err := mustLoad(t, Flags{Kubeconfig: kubeconfigFile(t, httpContexts), Context: "token"}).UseHTTPCredentials("")
	const want = `the credentials of user "token" are not sent to http://one:8080/k8s, ` +
		"because it is not an https:// address"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// A credential that cannot be read matters only if it would be sent.
func TestUseHTTPCredentials_UnreadableToken(t *testing.T) {
	cleanEnvironment(t)
	file := kubeconfigFile(t, `apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "http://localhost:8080"}}]
users: [{name: c, user: {tokenFile: /no/such/file}}]
contexts: [{name: c, context: {cluster: c, user: c}}]
`)
	if err := mustLoad(t, Flags{Kubeconfig: file}).UseHTTPCredentials(HTTPDrop); err != nil {
		t.Error(err)
	}
	if err := mustLoad(t, Flags{Kubeconfig: file}).UseHTTPCredentials(HTTPSend); err == nil {
		t.Error("no error")
	}
}

// TestUseHTTPCredentials_TokenFile checks that a token file is read again.
func TestUseHTTPCredentials_TokenFile(t *testing.T) {
	home := cleanEnvironment(t)
	token := filepath.Join(home, "token")
	write(t, token, "first")
	file := kubeconfigFile(t, `apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "http://localhost:8080"}}]
users: [{name: c, user: {tokenFile: "`+token+`"}}]
contexts: [{name: c, context: {cluster: c, user: c}}]
`)
	conn := mustLoad(t, Flags{Kubeconfig: file})
	if err := conn.UseHTTPCredentials(""); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"first", "second"} {
		write(t, token, want)
		var got string
		cfg := rest.CopyConfig(conn.Config)
		cfg.Transport = sent(func(r *http.Request) { got = r.Header.Get("Authorization") })
		client, err := rest.HTTPClientFor(cfg) // a new client, as after a 401
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Get("http://localhost:8080/api")
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if got != "Bearer "+want {
			t.Errorf("sent %q, want the token %q", got, want)
		}
	}
}

// sent is a transport that records requests and answers with 200.
type sent func(*http.Request)

func (s sent) RoundTrip(r *http.Request) (*http.Response, error) {
	s(r)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}
