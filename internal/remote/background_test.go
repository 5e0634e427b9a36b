package remote

import (
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"
)

// TestWithQuietPlugin_Policy checks that a policy that allows the plugin does
// not stop the kshell process that runs the plugin during a session.
func TestWithQuietPlugin_Policy(t *testing.T) {
	policy := api.PluginPolicy{
		PolicyType: api.PluginPolicyAllowlist, Allowlist: []api.AllowlistEntry{{Command: "get-token"}},
	}
	cfg := &rest.Config{ExecProvider: &api.ExecConfig{Command: "get-token", PluginPolicy: policy}}
	quiet, err := withQuietPlugin(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if got := quiet.ExecProvider.PluginPolicy; got.PolicyType != "" || got.Allowlist != nil {
		t.Errorf("policy %v of the process that runs the plugin", got)
	}
	if got := cfg.ExecProvider.PluginPolicy.PolicyType; got != api.PluginPolicyAllowlist {
		t.Errorf("the policy of the plugin has become %q", got)
	}
}
