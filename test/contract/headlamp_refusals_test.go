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

// headlampRefusal is an answer that no API server gives: of a Headlamp server,
// or of a proxy in front of it.
type headlampRefusal struct {
	name   string
	change func(*sandbox.HeadlampConfig) // makes the server refuse; may be nil
	// flags are the flags for a server at host, host:port, with the token of a
	// user. If flags is nil, they are those of headlampFlags.
	flags func(host, token string) []string
	text  string // a part of the message
	hint  string // a part of the hint
	code  int    // 0 means 255
	// plain means that the answer is explained also if the kubeconfig contains
	// the address of the cluster, and --headlamp is not used.
	plain bool
	// passes means that a request is repeated before a command is started, and
	// passesLater that a shell is opened again.
	passes, passesLater bool
}

// headlampFlags select the cluster by --headlamp.
func headlampFlags(host, token string) []string {
	return []string{"--headlamp", "https://" + host + headlampCluster, "--token", token}
}

var headlampRefusals = []headlampRefusal{
	{
		name: "unknown cluster", plain: true, passesLater: true,
		change: func(cfg *sandbox.HeadlampConfig) { cfg.Clusters[0].Name = "man" },
		text:   `/dash knows no cluster "main"`, hint: ": man\n",
	},
	{
		name: "API server down", plain: true, passes: true, passesLater: true,
		change: func(cfg *sandbox.HeadlampConfig) { cfg.Clusters[0].Down = true },
		text:   `Headlamp cannot reach the API server of cluster "main"`, hint: "kshell clusters",
	},
	{
		name: "desktop app", plain: true,
		change: func(cfg *sandbox.HeadlampConfig) { cfg.Gate = "secret" },
		text:   "this Headlamp takes requests from its desktop app only", hint: "KSHELL_HEADLAMP_TOKEN",
	},
	{
		name: "Host header", plain: true,
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
		name: "no WebSockets", plain: true,
		change: func(cfg *sandbox.HeadlampConfig) { cfg.DropUpgrade = true },
		text:   "passes no WebSockets", hint: "proxy_set_header Upgrade $http_upgrade;",
	},
}

// checkRefused checks the message, the hint and the exit code of a command that
// a Headlamp server has refused.
func (r headlampRefusal) checkRefused(t *testing.T, name string, got Result) {
	t.Helper()
	code := r.code
	if code == 0 {
		code = 255
	}
	if got.Code != code || got.Out != "" || !strings.Contains(got.Err, r.text) || !strings.Contains(got.Err, "\nhint: ") ||
		!strings.Contains(got.Err, r.hint) || strings.Contains(got.Err, "RBAC") || strings.Contains(got.Err, "role") ||
		strings.Contains(got.Err, "there is no node") || strings.Contains(got.Err, "may have been created") ||
		strings.Contains(got.Err, "trying again") != r.passes {
		t.Errorf("%s: exit code %d, stdout %q, stderr\n%s", name, got.Code, got.Out, got.Err)
	}
}

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
			if refusal.plain {
				routes["kubeconfig"] = server
			}
			for name, route := range routes {
				route = append([]string{"--connect-timeout=2s"}, route...)
				exec := slices.Concat([]string{"exec"}, route, []string{"web", "--", "true"})
				refusal.checkRefused(t, "exec, "+name, w.Run(t, nil, exec...))
				node := slices.Concat(route, []string{sandboxNodes.Names[0], "--", "true"})
				refusal.checkRefused(t, "node-shell, "+name, w.Run(t, nil, sandboxNodes.args(node...)...))
			}
		})
	}
}

// TestHeadlamp_RefusalsDuringShell makes the server refuse during a shell whose
// connection is then cut. The shell is opened again if the refusal passes.
func TestHeadlamp_RefusalsDuringShell(t *testing.T) {
	t.Parallel()
	for _, refusal := range headlampRefusals {
		if refusal.change == nil || refusal.flags != nil {
			continue // the server does not begin to refuse
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
			if !refusal.passesLater {
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
