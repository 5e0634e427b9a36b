//go:build unix

package contract

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"kshell/internal/sandbox"
	"kshell/test/faultproxy"
)

// headlampRefusal is a case in which a request through a Headlamp server fails,
// and kshell must explain the failure.
type headlampRefusal struct {
	name   string
	change func(*sandbox.HeadlampConfig) // makes the server refuse; may be nil
	// flags returns the flags of kshell. host is host:port of the server, and
	// token that of a user. If flags is nil, headlampFlags is used.
	flags func(host, token string) []string
	text  string // a part of the message
	hint  string // a part of the hint
	// withoutFlag means that kshell also explains the failure if the address of
	// the cluster is in the kubeconfig, and --headlamp is not used.
	withoutFlag bool
	// retried means that kshell retries the first request. reconnects means
	// that a shell that has lost its connection continues to reconnect.
	retried, reconnects bool
}

// headlampFlags returns flags that select the cluster main by --headlamp.
func headlampFlags(host, token string) []string {
	return []string{"--headlamp", "https://" + host + headlampCluster, "--token", token}
}

var headlampRefusals = []headlampRefusal{
	{
		name: "unknown cluster", withoutFlag: true, reconnects: true,
		change: func(cfg *sandbox.HeadlampConfig) { cfg.Clusters[0].Name = "man" },
		text:   `/dash knows no cluster "main"`, hint: ": man\n",
	},
	{
		name: "API server down", withoutFlag: true, retried: true, reconnects: true,
		change: func(cfg *sandbox.HeadlampConfig) { cfg.Clusters[0].Down = true },
		text:   `Headlamp cannot reach the API server of cluster "main"`, hint: "kshell clusters",
	},
	{
		name: "desktop app", withoutFlag: true,
		change: func(cfg *sandbox.HeadlampConfig) { cfg.Gate = "secret" },
		text:   "this Headlamp takes requests from its desktop app only", hint: "KSHELL_HEADLAMP_TOKEN",
	},
	{
		name: "Host header", withoutFlag: true,
		change: func(cfg *sandbox.HeadlampConfig) { cfg.CheckHost = true },
		text:   "Headlamp on loopback answers only under its own port", hint: "ssh -L PORT:127.0.0.1:PORT",
	},
	{
		name: "no credentials",
		flags: func(host, _ string) []string {
			return []string{"--headlamp", "https://" + host + headlampCluster, "--kubeconfig", "/dev/null"}
		},
		text: `no credentials reached cluster "main"`, hint: "--token",
	},
	{
		name:  "wrong credentials",
		flags: func(host, _ string) []string { return headlampFlags(host, "wrong") },
		text:  "the cluster does not know these credentials", hint: "log in again",
	},
	{
		name: "wrong base URL",
		flags: func(host, token string) []string {
			return []string{"--headlamp", "https://" + host + "/clusters/main", "--token", token}
		},
		text: "there is no Headlamp at https://", hint: "base URL",
	},
	{
		name:   "page of the dashboard",
		change: func(cfg *sandbox.HeadlampConfig) { cfg.Page = true },
		flags: func(host, token string) []string {
			return []string{"--headlamp", "https://" + host + "/dash/x/clusters/main", "--token", token}
		},
		text: "a web page answered at https://", hint: "login proxy",
	},
	{
		name:   "login page",
		change: func(cfg *sandbox.HeadlampConfig) { cfg.Redirect = "https://login.example/" },
		text:   "a web page answered at https://", hint: "login proxy",
	},
	{
		name: "no TLS",
		flags: func(host, token string) []string {
			return []string{"--headlamp", "http://" + host + headlampCluster, "--token", token}
		},
		text: "expects HTTPS", hint: "must begin with https://",
	},
	{
		name: "no WebSockets", withoutFlag: true,
		change: func(cfg *sandbox.HeadlampConfig) { cfg.DropUpgrade = true },
		text:   "passes no WebSockets", hint: "proxy_set_header Upgrade $http_upgrade;",
	},
}

// checkRefused checks the exit code, the message and the hint of a command for
// which the request failed.
func (r headlampRefusal) checkRefused(t *testing.T, got Result) {
	t.Helper()
	if got.Code != 255 || got.Out != "" || !strings.Contains(got.Err, r.text) || !strings.Contains(got.Err, "\nhint: ") ||
		!strings.Contains(got.Err, r.hint) || strings.Contains(got.Err, "RBAC") || strings.Contains(got.Err, "role") ||
		strings.Contains(got.Err, "there is no node") || strings.Contains(got.Err, "may have been created") ||
		strings.Contains(got.Err, "trying again") != r.retried {
		t.Errorf("exit code %d, stdout %q, stderr\n%s", got.Code, got.Out, got.Err)
	}
}

// TestHeadlamp_Refusals checks exec and node-shell in each case of
// headlampRefusals.
func TestHeadlamp_Refusals(t *testing.T) {
	t.Parallel()
	for _, refusal := range headlampRefusals {
		t.Run(refusal.name, func(t *testing.T) {
			t.Parallel()
			s, front, w := startHeadlamp(t, sandbox.HeadlampConfig{})
			if refusal.change != nil {
				front.Change(refusal.change)
			}
			proxy, server := w.Through(t)
			flags := refusal.flags
			if flags == nil {
				flags = headlampFlags
			}
			routes := map[string][]string{
				"--headlamp": append(flags(proxy.Addr(), s.Token("admin")), "--certificate-authority", front.CA()),
			}
			if refusal.withoutFlag {
				routes["kubeconfig"] = server
			}
			timeout := "--connect-timeout=30s"
			if refusal.retried {
				timeout = "--connect-timeout=5s" // the command exits only then
			}
			for name, route := range routes {
				route = append([]string{timeout}, route...)
				t.Run("exec, "+name, func(t *testing.T) {
					t.Parallel()
					args := slices.Concat([]string{"exec"}, route, []string{"web", "--", "true"})
					refusal.checkRefused(t, w.Run(t, nil, args...))
				})
				t.Run("node-shell, "+name, func(t *testing.T) {
					t.Parallel()
					args := slices.Concat(route, []string{sandboxNodes.Names[0], "--", "true"})
					refusal.checkRefused(t, w.Run(t, nil, sandboxNodes.args(args...)...))
				})
			}
		})
	}
}

// TestHeadlamp_RefusalsDuringShell checks a shell whose connection is cut, and
// whose server then refuses: kshell must exit with 255, or reconnect when the
// server no longer refuses.
func TestHeadlamp_RefusalsDuringShell(t *testing.T) {
	t.Parallel()
	for _, refusal := range headlampRefusals {
		if refusal.change == nil || refusal.flags != nil {
			continue // not a change of the server
		}
		t.Run(refusal.name, func(t *testing.T) {
			t.Parallel()
			s, front, w := startHeadlamp(t, sandbox.HeadlampConfig{})
			proxy, _ := w.Through(t)
			flags := append(headlampFlags(proxy.Addr(), s.Token("admin")), "--certificate-authority", front.CA())
			term := w.Shell(t, append(flags, "-it", "web", "--", "sh")...)
			var before sandbox.HeadlampConfig
			front.Change(func(cfg *sandbox.HeadlampConfig) {
				before = *cfg
				before.Clusters = slices.Clone(cfg.Clusters)
				refusal.change(cfg)
			})
			proxy.Cut(faultproxy.Both, faultproxy.RST)
			term.WaitFor(regexp.QuoteMeta(refusal.text))
			if !refusal.reconnects {
				term.CheckExit(255)
				return
			}
			term.WaitFor(retryCountdown)
			front.Change(func(cfg *sandbox.HeadlampConfig) { *cfg = before })
			term.Type("\r")
			term.WaitFor(newShell)
			term.WaitFor(`[$#] `)
			term.exitShell(3)
		})
	}
}
