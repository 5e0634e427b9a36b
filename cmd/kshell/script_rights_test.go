//go:build unix

package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
	authorizationv1 "k8s.io/api/authorization/v1"

	"kshell/internal/sandbox"
)

// reviewer starts a proxy in front of the sandbox that answers
// SelfSubjectAccessReviews.
func reviewer(ts *testscript.TestScript, neg bool, args []string) {
	hang, incomplete := slices.Equal(args, []string{"hang"}), slices.Equal(args, []string{"incomplete"})
	if neg || len(args) > 0 && !hang && !incomplete {
		ts.Fatalf("usage: reviewer [hang | incomplete]")
	}
	s := sandboxOf(ts)
	server, err := url.Parse(s.URL())
	ts.Check(err)
	ca, err := os.ReadFile(s.CA())
	ts.Check(err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		ts.Fatalf("no certificate in %s", s.CA())
	}
	proxy := httputil.NewSingleHostReverseProxy(server)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	proxy.Transport = transport
	mux := http.NewServeMux()
	mux.Handle("/", proxy)
	const path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var review authorizationv1.SelfSubjectAccessReview
		body, err := io.ReadAll(r.Body) // a server detects a closed connection only after the body is read
		if err == nil {
			err = json.Unmarshal(body, &review)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if hang {
			<-r.Context().Done()
			return
		}
		review.Status.Allowed = allowed(s, r.Header.Get("Authorization"), review.Spec.ResourceAttributes)
		if incomplete {
			review.Status.EvaluationError = `roles "dev" not found`
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(review)
	})
	before := httptest.NewTLSServer(mux)
	ts.Defer(transport.CloseIdleConnections)
	ts.Defer(before.Close)
	ts.Setenv("REVIEWER", before.URL)
}

// httpServers starts two HTTP servers in front of the sandbox. The server HTTP
// removes the prefix /k8s from the path of a request, and forwards the request.
// As an HTTP proxy, it forwards requests for any host to the sandbox. The
// server KUBECTL_PROXY adds credentials, as kubectl proxy does, and rejects
// requests that already have credentials.
func httpServers(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: http-servers")
	}
	s := sandboxOf(ts)
	server, err := url.Parse(s.URL())
	ts.Check(err)
	ca, err := os.ReadFile(s.CA())
	ts.Check(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Path = strings.TrimPrefix(r.Out.URL.Path, "/k8s")
			r.SetURL(server)
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true},
	}
	plain := httptest.NewServer(forward)
	ts.Defer(plain.Close)
	ts.Setenv("HTTP", plain.URL)
	withCredentials := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			http.Error(w, "the request has credentials", http.StatusTeapot)
			return
		}
		r.Header.Set("Authorization", "Bearer "+s.Token("admin"))
		forward.ServeHTTP(w, r)
	}))
	ts.Defer(withCredentials.Close)
	ts.Setenv("KUBECTL_PROXY", withCredentials.URL)
}

// allowed reports whether the sandbox allows a request; see
// sandbox.Server.Token.
func allowed(s *sandbox.Server, authorization string, asked *authorizationv1.ResourceAttributes) bool {
	exec := asked.Resource == "pods" && asked.Subresource == "exec"
	read := slices.Contains([]string{"get", "list", "watch"}, asked.Verb)
	switch strings.TrimPrefix(authorization, "Bearer ") {
	case s.Token("admin"):
		return true
	case s.Token("get-only"):
		return read
	case s.Token("create-only"):
		return read && !exec || exec && asked.Verb == "create"
	case s.Token("exec-only"):
		return exec
	default:
		return false
	}
}

// serve serves the files of a directory over HTTP.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: serve DIR")
	}
	files := httptest.NewServer(http.FileServer(http.Dir(ts.MkAbs(args[0]))))
	ts.Defer(files.Close)
	ts.Setenv("FILES", files.URL)
}
