//go:build unix

package contract

import (
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"kshell/internal/sandbox"
)

// headlampProgram returns a program that connects through h, which it gets from
// the variable KSHELL_HEADLAMP. Its kubeconfig is that of the sandbox. env are
// further variables, NAME=VALUE.
func headlampProgram(t *testing.T, s *sandbox.Server, h *sandbox.Headlamp, env ...string) Program {
	t.Helper()
	return Program{
		Path: kshellBinary(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir(),
		Env: append(env, "KSHELL_HEADLAMP="+h.URL()),
	}
}

// checkRun checks the exit code, stdout, and that stderr contains errs. If errs
// is "", stderr must be empty.
func checkRun(t *testing.T, r Result, code int, out, errs string) {
	t.Helper()
	if r.Code != code || r.Out != out || !strings.Contains(r.Err, errs) || errs == "" && r.Err != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q; want %d, %q, %q", r.Code, r.Out, r.Err, code, out, errs)
	}
}

// TestHeadlamp_Addresses checks that --headlamp accepts addresses that are
// copied from a browser, and that they select the server and the cluster.
func TestHeadlamp_Addresses(t *testing.T) {
	t.Parallel()
	s, h, _ := startHeadlamp(t, sandbox.HeadlampConfig{PlainHTTP: true})
	h.Change(func(cfg *sandbox.HeadlampConfig) {
		for _, name := range []string{"other", "a__b?"} {
			cluster := cfg.Clusters[0]
			cluster.Name = name
			cfg.Clusters = append(cfg.Clusters, cluster)
		}
	})
	base := h.URL()
	for _, tt := range []struct{ address, cluster string }{
		{base + "/clusters/other", "other"},
		{base + "/clusters/other/", "other"},
		{base + "/clusters/other/api/v1/pods?limit=1", "other"},
		{base + "/c/other", "other"},
		{base + "/c/other/pods/default/web?x=y", "other"},
		{base + "/c/other/pods?namespace=default#logs", "other"},
		{base + "/#/c/other/pods", "other"},
		{base + "/#/c/main", "main"},
		{base + "/c/a__b%3F/pods", "a__b?"},
		{" " + base + "//c/other//pods ", "other"},
	} {
		t.Run(tt.address, func(t *testing.T) {
			before := len(h.Requests())
			r := headlampProgram(t, s, h).Run(t, nil, "exec", "--headlamp", tt.address, "--token", s.Token("admin"),
				"-n", "default", "web", "--", "echo", "fine")
			checkRun(t, r, 0, "fine\n", "")
			for _, request := range h.Requests()[before:] {
				if prefix := "/dash/clusters/" + url.PathEscape(tt.cluster) + "/"; !strings.HasPrefix(request.RequestURI, prefix) {
					t.Errorf("request for %s, want %s...", request.RequestURI, prefix)
				}
			}
		})
	}
}

// TestHeadlamp_HTTPCredentials checks that a token is sent over http only to
// this machine, unless --http-credentials allows more.
func TestHeadlamp_HTTPCredentials(t *testing.T) {
	t.Parallel()
	s, h, _ := startHeadlamp(t, sandbox.HeadlampConfig{PlainHTTP: true})
	// With its own credentials, the server answers also requests without a token.
	h.Change(func(cfg *sandbox.HeadlampConfig) { cfg.Clusters[0].Config = s.RESTConfig("admin") })
	const refused = "because it is not an https:// address"
	remote := []string{"--headlamp", "http://headlamp.invalid/dash", "--proxy-url", "http://" + h.Addr()}
	for _, tt := range []struct {
		name  string
		flags []string
		rule  string
		sent  bool
		errs  string
	}{
		{"loopback", nil, "", true, ""},
		{"loopback, send", nil, "send", true, ""},
		{"loopback, refuse", nil, "refuse", false, refused},
		{"loopback, drop", nil, "drop", false, ""},
		{"other host", remote, "", false, refused},
		{"other host, send", remote, "send", true, ""},
		{"other host, drop", remote, "drop", false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := len(h.Requests())
			args := slices.Concat([]string{"exec", "--token", s.Token("admin"), "-n", "default"}, tt.flags)
			if tt.rule != "" {
				args = append(args, "--http-credentials="+tt.rule)
			}
			r := headlampProgram(t, s, h).Run(t, nil, append(args, "web", "--", "echo", "fine")...)
			requests := h.Requests()[before:]
			if tt.errs != "" {
				checkRun(t, r, 2, "", tt.errs)
				if len(requests) > 0 {
					t.Errorf("requests: %v", requests)
				}
				return
			}
			checkRun(t, r, 0, "fine\n", "")
			for _, request := range requests {
				api := strings.Contains(request.RequestURI, "/clusters/")
				if got := request.Header.Get("Authorization") != ""; got != (tt.sent && api) {
					t.Errorf("%s: credentials sent: %v", request.RequestURI, got)
				}
			}
		})
	}
}

// TestHeadlamp_DesktopToken checks that exec and node-shell send the token of
// Headlamp's desktop app, and never print it.
func TestHeadlamp_DesktopToken(t *testing.T) {
	t.Parallel()
	const secret = "desktop-secret"
	s, h, _ := startHeadlamp(t, sandbox.HeadlampConfig{PlainHTTP: true, Gate: secret})
	const refused = "this Headlamp takes requests from its desktop app only"
	for _, tt := range []struct {
		name, token, errs string
		code              int
	}{
		{"right", secret, "", 0},
		{"wrong", "desktop-wrong", refused, 255},
		{"missing", "", refused, 255},
	} {
		for _, command := range [][]string{{"exec", "web"}, {"node-shell", "-q", "node1"}} {
			t.Run(tt.name+"/"+command[0], func(t *testing.T) {
				p := headlampProgram(t, s, h, "KSHELL_HEADLAMP_TOKEN="+tt.token)
				args := slices.Concat(command, []string{"--token", s.Token("admin"), "-n", "default", "--", "echo", "fine"})
				out := "fine\n"
				if tt.code != 0 {
					out = ""
				}
				r := p.Run(t, nil, args...)
				checkRun(t, r, tt.code, out, tt.errs)
				if tt.token != "" && strings.Contains(r.Err, tt.token) {
					t.Errorf("stderr contains the token: %s", r.Err)
				}
			})
		}
	}
	for _, request := range h.Requests() {
		if strings.Contains(request.RequestURI, secret) {
			t.Errorf("the URI of a request contains the token: %s", request.RequestURI)
		}
	}
}

// TestHeadlamp_Stateless checks that kshell uploads a context with each
// request: if the first request is a handshake, after the server has lost the
// context, and if the server has a cluster of the same name. The server's own
// credentials must never be used.
func TestHeadlamp_Stateless(t *testing.T) {
	t.Parallel()
	s, h, w := startHeadlamp(t, sandbox.HeadlampConfig{PlainHTTP: true, DynamicClusters: true})
	const own = "exec-only" // the user whose credentials the server has
	h.Change(func(cfg *sandbox.HeadlampConfig) { cfg.Clusters[0].Config = s.RESTConfig(own) })
	w.Program = headlampProgram(t, s, h, "KSHELL_HEADLAMP_STATELESS=always")

	// With -c, the first request for the cluster may be the handshake.
	checkRun(t, w.Run(t, nil, "exec", "-c", "web", "web", "--", "echo", "cold"), 0, "cold\n", "")
	name := checkUploads(t, h)
	h.Forget()
	checkRun(t, w.Run(t, nil, "exec", "web", "--", "echo", "forgotten"), 0, "forgotten\n", "")

	h.Change(func(cfg *sandbox.HeadlampConfig) {
		same := cfg.Clusters[0]
		same.Name = name
		cfg.Clusters = append(cfg.Clusters, same)
	})
	h.Forget()
	checkRun(t, w.Run(t, nil, "exec", "-c", "web", "web", "--", "echo", "same name"), 0, "same name\n", "")

	t.Run("killed", func(t *testing.T) { headlampKilled(t, w) })
	if again := checkUploads(t, h); again != name {
		t.Errorf("the context is named %s, and was named %s", again, name)
	}
	for _, session := range s.Sessions() {
		if session.User == own {
			t.Errorf("a command was run with the server's own credentials: %v", session.Query["command"])
		}
	}
}

// uploadID matches the user ID of an uploaded context.
var uploadID = regexp.MustCompile(`^[0-9a-f]{32}-[0-9a-f]{8}$`)

// checkUploads checks that all requests for a cluster contain the same uploaded
// context, and returns the name of the context.
func checkUploads(t *testing.T, h *sandbox.Headlamp) (name string) {
	t.Helper()
	const protocol = "base64url.headlamp.authorization.k8s.io."
	uploads := map[string]bool{}
	for _, request := range h.Requests() {
		if !strings.Contains(request.RequestURI, "/clusters/") {
			continue
		}
		id, upload := request.Header.Get("X-Headlamp-User-Id"), request.Header.Get("Kubeconfig")
		uploads[id+upload] = true
		if !uploadID.MatchString(id) || upload == "" || request.Header.Get("Cookie") != "" {
			t.Errorf("%s: user ID %q, %d bytes uploaded", request.RequestURI, id, len(upload))
			continue
		}
		offer := request.Header.Get("Sec-Websocket-Protocol")
		if request.Header.Get("Upgrade") == "websocket" && !strings.HasSuffix(offer, protocol+id) {
			t.Errorf("%s: the offered subprotocols do not end with the user ID: %s", request.RequestURI, offer)
		}
		raw, err := base64.StdEncoding.DecodeString(upload)
		if err != nil {
			t.Fatal(err)
		}
		name = checkFlat(t, raw)
		if !strings.Contains(request.RequestURI, "/clusters/"+name+"/") || !strings.HasSuffix(name, id[32:]) {
			t.Errorf("%s: the uploaded context is named %s, the user ID is %s", request.RequestURI, name, id)
		}
	}
	if len(uploads) != 1 {
		t.Errorf("%d different uploads, want 1", len(uploads))
	}
	return name
}

// checkFlat checks that an uploaded kubeconfig has one entry of each kind, with
// a token and without plugins, files and proxies. It returns the name of the
// context.
func checkFlat(t *testing.T, raw []byte) string {
	t.Helper()
	cfg, err := clientcmd.Load(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(cfg.Contexts) != 1 || len(cfg.Clusters) != 1 || len(cfg.AuthInfos) != 1 {
		t.Errorf("%d contexts, %d clusters, %d users", len(cfg.Contexts), len(cfg.Clusters), len(cfg.AuthInfos))
	}
	for _, cluster := range cfg.Clusters {
		if cluster.CertificateAuthority != "" || cluster.ProxyURL != "" || len(cluster.Extensions) > 0 {
			t.Errorf("the uploaded cluster has a file, a proxy or extensions: %+v", cluster)
		}
	}
	for _, user := range cfg.AuthInfos {
		if user.Exec != nil || user.AuthProvider != nil || user.TokenFile != "" || user.ClientKey != "" ||
			user.ClientKeyData != nil || user.Username != "" || user.Token == "" {
			t.Error("the uploaded user has other credentials than a token")
		}
	}
	return cfg.CurrentContext
}
