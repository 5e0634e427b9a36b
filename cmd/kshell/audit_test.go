//go:build unix

package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"kshell/internal/agentbin"
	"kshell/internal/sandbox"
)

// recorder is a proxy in front of a sandbox that records the requests. It
// authenticates as admin, unless a request has a token.
type recorder struct {
	address string

	mu  sync.Mutex
	all []*http.Request
}

func startRecorder(t *testing.T, s *sandbox.Server) *recorder {
	t.Helper()
	target, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(s.CA())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			if r.In.Header.Get("Authorization") == "" {
				r.Out.Header.Set("Authorization", "Bearer "+s.Token("admin"))
			}
		},
		Transport: &http.Transport{
			TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true,
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	r := &recorder{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		r.all = append(r.all, &http.Request{Method: req.Method, URL: req.URL, Header: req.Header.Clone()})
		r.mu.Unlock()
		proxy.ServeHTTP(w, req)
	}))
	t.Cleanup(server.Close)
	r.address = server.URL
	return r
}

// requests returns the requests so far.
func (r *recorder) requests() []*http.Request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// auditID returns the audit ID of the requests so far. All requests with
// credentials must have the same audit ID. For each element of paths, there must
// be a request whose URL path contains it.
func (r *recorder) auditID(t *testing.T, paths ...string) string {
	t.Helper()
	ids := map[string]bool{}
	for _, req := range r.requests() {
		// The request that checks whether the server answers has no credentials.
		if req.URL.Path != "/version" {
			ids[strings.Join(req.Header.Values("Audit-ID"), ",")] = true
		}
		paths = slices.DeleteFunc(paths, func(path string) bool { return strings.Contains(req.URL.Path, path) })
	}
	if len(paths) > 0 {
		t.Errorf("no request for %q", paths)
	}
	if len(ids) != 1 || ids[""] {
		t.Fatalf("audit IDs %v", ids)
	}
	for id := range ids {
		return id
	}
	return ""
}

// kshell runs kshell, checks its exit code, and returns what it wrote to stderr.
func kshell(t *testing.T, s *sandbox.Server, code int, args ...string) (stderr string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t), args...)
	cmd.Env, cmd.Dir = environment(t, s), t.TempDir()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	_ = cmd.Run() // the exit code is checked
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("kshell %q: exit code %d, want %d; stderr:\n%s", args, got, code, errs.String())
	}
	return errs.String()
}

// All requests of a command have one audit ID, which -v and --status-file show.
func TestAuditID(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		args  []string
		paths []string
		code  int
	}{
		{"exec", []string{"exec", "web", "--", "sh", "-c", "exit 3"}, []string{"/pods/web", "/exec"}, 3},
		{"all", []string{"exec", "pod/web", "--all", "--", "sh", "-c", "exit 3"}, []string{"/pods/web", "/exec"}, 3},
		{
			"node-shell",
			[]string{"node-shell", "node2", "--", "sh", "-c", "exit 3"},
			[]string{"/selfsubjectaccessreviews", "/default/pods", "/exec"},
			3,
		},
		{
			"resume",
			[]string{"exec", "--resume=always", "web", "--", "sh", "-c", "exit 3"},
			[]string{"/pods/web", "/exec"},
			3,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.name == "resume" && agentbin.BuildID() == "" {
				t.Skip("kshell contains no session agents")
			}
			s := runSandbox(t, sandbox.Config{})
			r := startRecorder(t, s)
			file := pathOf(t, "status")
			errs := kshell(t, s, c.code,
				slices.Concat(c.args[:1], []string{"-v", "--server", r.address, "--status-file", file}, c.args[1:])...)
			id := r.auditID(t, c.paths...)
			if want := "kshell: the audit ID of all requests is " + id + "\n"; !strings.Contains(errs, want) {
				t.Errorf("stderr lacks %q:\n%s", want, errs)
			}
			record, err := os.ReadFile(file)
			if want := `"auditID":"` + id + `"`; err != nil || strings.Count(string(record), want) != 1 {
				t.Errorf("the status record lacks %s: %s (%v)", want, record, err)
			}
		})
	}
}

func TestAuditID_Reconnect(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	r := startRecorder(t, s)
	path, _, _ := withPlugin(t, s, "admin", false) // its requests use the background clients
	c := open(t, s, program(t), "exec", "--kubeconfig", path, "--server", r.address, "--http-credentials=send", "web")
	c.prompt()
	up := s.Down()
	c.waitFor("connection lost")
	up()
	c.waitFor("connected again after [0-9]+ s")
	c.prompt()
	c.keys("exit\r")
	c.mustEnd(0)
	r.auditID(t, "/pods/web", "/exec")
	var shells int
	for _, req := range r.requests() {
		if strings.HasSuffix(req.URL.Path, "/exec") && req.URL.Query().Get("tty") == "true" {
			shells++
		}
	}
	if shells < 2 {
		t.Errorf("%d shells, want 2", shells)
	}
}

func TestAuditID_Clusters(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	r := startRecorder(t, s)
	kshell(t, s, 0, "watch", "pods", "--once", "--server", r.address)
	r.auditID(t, "/pods")
}

// The header User-Agent of each request contains the reason. (testdata/reason.txtar
// tests the annotation of the pod.)
func TestReason(t *testing.T) {
	t.Parallel()
	s := runSandbox(t, sandbox.Config{})
	r := startRecorder(t, s)
	kshell(t, s, 0, "exec", "--server", r.address, "--reason", "INC-4711\ndisk full", "web", "--", "true")
	kshell(t, s, 0, "node-shell", "--server", r.address, "--reason", "INC-4711\ndisk full", "node2", "--", "true")
	var created int
	for _, req := range r.requests() {
		if agent := req.UserAgent(); !strings.HasSuffix(agent, ` reason="INC-4711 disk full"`) {
			t.Errorf("%s %s: User-Agent %q", req.Method, req.URL, agent)
		}
		if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/pods") {
			created++
		}
	}
	if created != 1 {
		t.Errorf("%d pods were created", created)
	}
}

// On a terminal, kshell asks for a required reason.
func TestReason_Asked(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	settings := writeFile(t, "settings", "reason: required\n", 0o600)
	args := []string{"env", "KSHELL_CONFIG=" + settings, program(t), "exec"}
	for _, test := range []struct {
		name, typed string
		code        int
	}{
		{"answer", "INC-1\r", 4},
		{"nothing", "\r", 2},
		{"Ctrl-D", "\x04", 2},
		{"Ctrl-C", "\x03", 130},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := startRecorder(t, s)
			command := []string{"--server", r.address, "web", "--", "sh", "-c", "exit 4"}
			c := open(t, s, args[0], slices.Concat(args[1:], command)...)
			c.waitFor("^kshell: reason for the audit log: ")
			if n := len(r.requests()); n > 0 {
				t.Errorf("%d requests before the answer", n)
			}
			c.keys(test.typed)
			c.mustEnd(test.code)
			requests := r.requests()
			if test.code != 4 && len(requests) > 0 {
				t.Errorf("%d requests", len(requests))
			}
			if test.code == 4 && !strings.HasSuffix(requests[0].UserAgent(), ` reason="INC-1"`) {
				t.Errorf("User-Agent %q", requests[0].UserAgent())
			}
		})
	}
}

// The setting guard also applies to node-shell --attach, exec --attach,
// sessions --end and node-shell gc. The question describes what will be done.
func TestGuard_Running(t *testing.T) {
	t.Parallel()
	s := runSandbox(t, sandbox.Config{})
	kshell(t, s, 0, "node-shell", "--detach", "node2")
	settings := "KSHELL_CONFIG=" + writeFile(t, "settings", "guard: ask\n", 0o600)
	for _, test := range []struct{ args, text, answer string }{
		{"node-shell --attach", `the shell of pod node-shell-node2-\w+ on node node2`, "no"},
		{"node-shell gc --older-than 1ns", `delete 1 pod of node shells in namespace default`, "no"},
		{"sessions web --end 0", `end session 0 in pod/web in namespace default`, "no"},
		{"exec --attach web", `a session that is already running in pod/web, namespace default`, "no"},
		{"node-shell --attach", `the shell of pod node-shell-node2-\w+ on node node2`, "sandbox"},
	} {
		c := open(t, s, "env", append([]string{settings, program(t)}, strings.Fields(test.args)...)...)
		c.waitFor("kshell: context sandbox: " + test.text + `\r\n`)
		c.waitFor("kshell: type the name of the context to continue: ")
		c.keys(test.answer + "\r")
		if test.answer == "no" {
			c.waitFor(`kshell: nothing was done: "no" is not the name of the context\r\n`)
			c.mustEnd(2)
			continue
		}
		c.waitFor(`[$#] `)
		c.keys("exit 5\r")
		c.mustEnd(5)
	}
}
