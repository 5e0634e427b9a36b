//go:build unix

package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/client-go/rest"

	"kshell/internal/sandbox"
)

type headlampKey struct{}

// headlampOf returns the variable for the script's Headlamp server.
func headlampOf(ts *testscript.TestScript) **sandbox.Headlamp {
	return ts.Value(headlampKey{}).(**sandbox.Headlamp)
}

// startHeadlamp is the command headlamp of scripts:
//
//	headlamp [OPTION...] CLUSTER...
//
// It starts a Headlamp server whose clusters are the sandbox, and sets HEADLAMP
// to its URL and HEADLAMP_HOST to its host and port. A second call replaces the
// server. The API server of the cluster dead cannot be reached. The options are
// http, base (the base URL /dash), gate (the token "gate" is needed), stateless,
// identity (the server has its own identity) and defaults (an image and a
// namespace for node shells).
func startHeadlamp(ts *testscript.TestScript, neg bool, args []string) {
	s := sandboxOf(ts)
	dir, err := os.MkdirTemp(ts.Getenv("WORK"), ".headlamp")
	ts.Check(err)
	cfg := sandbox.HeadlampConfig{Dir: dir}
	user := ""
	for _, arg := range args {
		switch arg {
		case "http":
			cfg.PlainHTTP = true
		case "base":
			cfg.BaseURL = "/dash"
		case "gate":
			cfg.Gate = "gate"
		case "stateless":
			cfg.DynamicClusters = true
		case "identity":
			user = "admin"
		case "defaults":
			cfg.NodeShellImage, cfg.NodeShellNamespace = "registry.invalid/node:1", "other"
		case "dead":
			cfg.Clusters = append(cfg.Clusters, sandbox.HeadlampCluster{
				Name: arg, Config: &rest.Config{Host: "https://127.0.0.1:1"},
			})
		default:
			cfg.Clusters = append(cfg.Clusters, sandbox.HeadlampCluster{
				Name: arg, Namespace: "other", Config: s.RESTConfig(user),
			})
		}
	}
	if neg {
		ts.Fatalf("usage: headlamp [OPTION...] CLUSTER...")
	}
	h, err := s.StartHeadlamp(cfg)
	ts.Check(err)
	ts.Defer(h.Close)
	*headlampOf(ts) = h
	ts.Setenv("HEADLAMP", h.URL())
	ts.Setenv("HEADLAMP_HOST", h.Addr())
}

// headlampRequests is the command requests of scripts:
//
//	requests FILE
//
// It writes a line for each request that the Headlamp server has received so
// far: the method, the path without the query, and which secrets the request
// contained, such as "GET /config" or "GET /clusters/a/api/v1/pods authorization
// gate kubeconfig".
func headlampRequests(ts *testscript.TestScript, neg bool, args []string) {
	h := *headlampOf(ts)
	if neg || len(args) != 1 || h == nil {
		ts.Fatalf("usage: requests FILE")
	}
	var b strings.Builder
	for _, r := range h.Requests() {
		path, _, _ := strings.Cut(r.RequestURI, "?")
		fmt.Fprintf(&b, "%s %s", r.Method, path)
		for _, header := range []struct{ name, shown string }{
			{"Authorization", "authorization"},
			{"X-Headlamp_backend-Token", "gate"},
			{"Kubeconfig", "kubeconfig"},
			{"Cookie", "cookie"},
			{"Impersonate-User", "impersonation"},
		} {
			if r.Header.Get(header.name) != "" {
				b.WriteString(" " + header.shown)
			}
		}
		b.WriteByte('\n')
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(b.String()), 0o600))
}

// keyPair is the command key-pair of scripts:
//
//	key-pair CERT KEY
//
// It writes a client certificate and its key to two files.
func keyPair(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: key-pair CERT KEY")
	}
	cert, key, err := newCertificate("me")
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), cert, 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), key, 0o600))
}
