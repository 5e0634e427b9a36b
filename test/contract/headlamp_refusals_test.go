//go:build unix

package contract

import (
	"strings"
	"testing"

	"kshell/internal/sandbox"
)

// headlampRefusal is an answer of a Headlamp server, or of a proxy in front of
// it, that no API server gives.
type headlampRefusal struct {
	name   string
	change func(*sandbox.HeadlampConfig)
	text   string // the message
	hint   string // a part of the hint
	passes bool   // the request is repeated
}

// unknownCluster makes a server know only a cluster with another name.
func unknownCluster(cfg *sandbox.HeadlampConfig) { cfg.Clusters[0].Name = "man" }

var headlampRefusals = []headlampRefusal{
	{"unknown cluster", unknownCluster, `knows no cluster "main"`, "--headlamp-cluster with one of: man", false},
	{
		"API server down", func(cfg *sandbox.HeadlampConfig) { cfg.Clusters[0].Down = true },
		`Headlamp cannot reach the API server of cluster "main"`, "kshell clusters", true,
	},
	{
		"desktop app", func(cfg *sandbox.HeadlampConfig) { cfg.Gate = "secret" },
		"this Headlamp takes requests from its desktop app only", "KSHELL_HEADLAMP_TOKEN", false,
	},
}

// checkRefused checks the message, the hint and the exit code of a command that
// a Headlamp server has refused.
func (r headlampRefusal) checkRefused(t *testing.T, name string, got Result) {
	t.Helper()
	if got.Code != 255 || got.Out != "" || !strings.Contains(got.Err, r.text) || !strings.Contains(got.Err, "\nhint: ") ||
		!strings.Contains(got.Err, r.hint) || strings.Contains(got.Err, "RBAC") || strings.Contains(got.Err, "role") ||
		strings.Contains(got.Err, "there is no node") || strings.Contains(got.Err, "trying again") != r.passes {
		t.Errorf("%s: exit code %d, stdout %q, stderr\n%s", name, got.Code, got.Out, got.Err)
	}
}

func TestHeadlamp_Refusals(t *testing.T) {
	t.Parallel()
	for _, refusal := range headlampRefusals {
		t.Run(refusal.name, func(t *testing.T) {
			t.Parallel()
			_, front, w := startHeadlamp(t, sandbox.HeadlampConfig{})
			front.Change(refusal.change)
			timeout := "--connect-timeout=2s"
			refusal.checkRefused(t, "exec", w.Run(t, nil, "exec", timeout, "web", "--", "true"))
			refusal.checkRefused(t, "node-shell",
				w.Run(t, nil, sandboxNodes.args(timeout, sandboxNodes.Names[0], "--", "true")...))
		})
	}
}
