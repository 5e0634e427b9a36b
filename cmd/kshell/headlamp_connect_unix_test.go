//go:build unix

package main

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"kshell/internal/kubeconfig"
)

const oneCluster = `{"clusters":[{"name":"main","meta_data":null}]}`

func serveJSON(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, text)
}

// appFor returns an application with flags.
func appFor(t *testing.T, flags ...string) *app {
	t.Helper()
	a := newTestApp()
	a.probeTimeout = deadline
	if err := newRoot(a).ParseFlags(flags); err != nil {
		t.Fatal(err)
	}
	return a
}

// A credential plugin runs while the server is asked for its configuration. In
// this test, the plugin and the answer each wait until the other has started.
func TestHeadlamp_PluginDuringProbe(t *testing.T) {
	dir := t.TempDir()
	started, asked := filepath.Join(dir, "started"), filepath.Join(dir, "asked")
	plugin := writeFile(t, "plugin", `#!/bin/sh
>"$1"
until [ -e "$2" ]; do sleep 0.05; done
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"t"}}'
`, 0o700)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := os.WriteFile(asked, nil, 0o600); err != nil {
			t.Error(err)
		}
		for ; r.Context().Err() == nil; time.Sleep(10 * time.Millisecond) {
			if _, err := os.Stat(started); err == nil {
				serveJSON(w, oneCluster)
				return
			}
		}
		t.Error("the plugin was not started while the server was asked")
	}))
	defer server.Close()
	config := writeFile(t, "config", fmt.Sprintf(`apiVersion: v1
kind: Config
users:
- name: me
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: %q
      args: [%q, %q]
      interactiveMode: Never
contexts: [{name: mine, context: {cluster: none, user: me}}]
`, plugin, started, asked), 0o600)
	a := appFor(t, "--kubeconfig", config, "--context", "mine", "--headlamp", server.URL)
	conn, err := a.connect(t.Context(), connectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want := server.URL + "/clusters/main"; conn.Config.Host != want || conn.Config.ExecProvider == nil {
		t.Errorf("server %s, plugin %v; want %s with the plugin", conn.Config.Host, conn.Config.ExecProvider, want)
	}
}

// The client certificate of the flags is for a proxy in front of Headlamp that
// requires one.
func TestHeadlamp_ClientCertificate(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		serveJSON(w, oneCluster)
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	server.StartTLS()
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	cert, key := certificateFor(t, "me")
	a := appFor(t, "--kubeconfig", os.DevNull, "--headlamp", server.URL, "--token", "t",
		"--certificate-authority", writeFile(t, "ca", string(ca), 0o600),
		"--client-certificate", writeFile(t, "cert", string(cert), 0o600),
		"--client-key", writeFile(t, "key", string(key), 0o600))
	if _, err := a.connect(t.Context(), connectOptions{}); err != nil {
		t.Error(err)
	}
}

// silentHeadlamp returns the URL of a server that does not answer, and a
// channel that receives a value for each request.
func silentHeadlamp(t *testing.T) (url string, asked <-chan struct{}) {
	t.Helper()
	requests := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		requests <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

func TestHeadlamp_SilentServer(t *testing.T) {
	address, _ := silentHeadlamp(t)
	a := appFor(t, "--kubeconfig", os.DevNull, "--headlamp", address)
	a.probeTimeout = time.Millisecond
	_, err := a.connect(t.Context(), connectOptions{})
	if err == nil || !strings.HasSuffix(err.Error(), "no answer from "+address+" within 1ms") {
		t.Errorf("error %v", err)
	}
	// --request-timeout replaces the time limit, also if it is longer.
	a = appFor(t, "--kubeconfig", os.DevNull, "--headlamp", address, "--request-timeout", "20ms")
	a.probeTimeout = time.Millisecond
	_, err = a.connect(t.Context(), connectOptions{})
	if err == nil || !strings.HasSuffix(err.Error(), "no answer from "+address+" within 20ms") {
		t.Errorf("with --request-timeout: error %v", err)
	}
	// If the cluster is known, the server is asked only for the namespace, and
	// an answer is not required.
	a = appFor(t, "--kubeconfig", os.DevNull, "--headlamp", address+"/clusters/main")
	a.probeTimeout = time.Millisecond
	conn, err := a.connect(t.Context(), connectOptions{})
	if err != nil || conn.Namespace != "default" {
		t.Errorf("connection %v, error %v; want one with the namespace default", conn, err)
	}
}

func TestHeadlamp_ProbeCanceled(t *testing.T) {
	address, asked := silentHeadlamp(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-asked
		cancel()
	}()
	for _, flags := range [][]string{{"--headlamp", address}, {"--headlamp", address + "/clusters/main"}} {
		a := appFor(t, append(flags, "--kubeconfig", os.DevNull)...)
		if _, err := a.connect(ctx, connectOptions{}); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want that of the canceled context", err)
		}
	}
}

// If the context ends while a credential plugin is running, connect returns. The
// plugin of this test runs until the end of the test removes its directory.
func TestHeadlamp_PluginCanceled(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		serveJSON(w, `{"clusters":[{"name":"main"}],"isDynamicClusterEnabled":true}`)
	}))
	defer server.Close()
	for name, flags := range map[string][]string{
		"user chosen":     {"--headlamp", server.URL, "--context", "main"},
		"context by name": {"--headlamp", server.URL},
		"upload":          {"--headlamp", server.URL, "--headlamp-stateless=always"},
	} {
		t.Run(name, func(t *testing.T) {
			started := filepath.Join(t.TempDir(), "started")
			plugin := writeFile(t, "plugin", ">\"$1\"\nwhile [ -e \"$1\" ]; do sleep 0.05; done\n", 0o600)
			config := writeFile(t, "config", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users:
- name: me
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: sh
      args: [%q, %q]
      interactiveMode: Never
contexts: [{name: main, context: {cluster: c, user: me}}]
current-context: main
`, plugin, started), 0o600)
			a := appFor(t, append(flags, "--kubeconfig", config)...)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			result := make(chan error, 1)
			go func() {
				_, err := a.connect(ctx, connectOptions{})
				result <- err
			}()
			limit := time.After(deadline)
			for {
				if _, err := os.Stat(started); err == nil {
					cancel()
				}
				select {
				case err := <-result:
					if !errors.Is(err, context.Canceled) {
						t.Errorf("error %v, want that of the canceled context", err)
					}
					return
				case <-limit:
					t.Fatal("connect waits for the plugin")
				case <-time.After(10 * time.Millisecond):
				}
			}
		})
	}
}

// A Headlamp server is not asked if everything is known, or with --server.
func TestHeadlamp_NotAsked(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("unexpected request for %s", r.URL)
	}))
	defer server.Close()
	t.Setenv("KSHELL_HEADLAMP", server.URL)
	for flags, want := range map[string]string{
		"--headlamp-cluster a -n web":            server.URL + "/clusters/a",
		"--server http://127.0.0.1:1 -n web":     "http://127.0.0.1:1",
		"--server " + server.URL + "/clusters/b": server.URL + "/clusters/b",
	} {
		a := appFor(t, append(strings.Fields(flags), "--kubeconfig", os.DevNull)...)
		conn, err := a.connect(t.Context(), connectOptions{})
		if err != nil || strings.TrimSuffix(conn.Config.Host, "/") != want {
			t.Errorf("%s: connection %v, %v; want %s", flags, conn, err, want)
		}
	}
}

// The token of the desktop app is not sent to a server that only looks like a
// Headlamp, except on this machine.
func TestMayGetToken(t *testing.T) {
	for _, tt := range []struct {
		base, file, rule string
		want             bool
	}{
		{"http://localhost:4466", "", "", true},
		{"https://127.0.0.1:4466", "", "", true},
		{"http://localhost:4466", "", kubeconfig.HTTPRefuse, false},
		{"http://localhost:4466", "", kubeconfig.HTTPSend, true},
		{"https://rancher.example/k8s", "", "", false},
		{"https://rancher.example/k8s", "token", "", true},
		{"http://dash.example", "token", "", false},
		{"http://dash.example", "token", kubeconfig.HTTPSend, true},
		{"http://dash.example", "", kubeconfig.HTTPSend, false},
	} {
		a := newTestApp()
		a.headlamp.tokenFile, a.http = tt.file, tt.rule
		if got := a.mayGetToken(tt.base); got != tt.want {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
}
