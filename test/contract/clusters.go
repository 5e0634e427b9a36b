package contract

import (
	"path/filepath"
	"regexp"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Clusters checks "kshell clusters" with two contexts: the current context of
// p, whose server can be reached, and "dead", whose server refuses connections.
func Clusters(t *testing.T, p Program) {
	cfg, err := clientcmd.LoadFromFile(p.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	alive := cfg.CurrentContext
	cfg.Clusters["dead"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1"}
	cfg.AuthInfos["dead"] = &clientcmdapi.AuthInfo{Token: "secret"}
	cfg.Contexts["dead"] = &clientcmdapi.Context{Cluster: "dead", AuthInfo: "dead", Namespace: "team"}
	p.Kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, p.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args []string
		out  []string // patterns for lines of stdout
		code int
	}{
		"list": {nil, []string{
			`^  NAME +FROM +SERVER +AUTH +NAMESPACE$`,
			`^\* ` + regexp.QuoteMeta(alive) + ` +kubeconfig +https://\S+ +(token|certificate) +default$`,
			`^  dead +kubeconfig +https://127\.0\.0\.1:1 +token +team$`,
		}, 0},
		"check with one dead": {[]string{"--check"}, []string{
			`^  NAME .* REACHABLE$`,
			`^\* ` + regexp.QuoteMeta(alive) + ` .* yes, v1\.[0-9]+\.`,
			`^  dead .* no: dial tcp 127\.0\.0\.1:1: connect: connection refused$`,
		}, 0},
		"check with all dead": {[]string{"--check", "--context", "dead"}, []string{`^  dead .* no: `}, 1},
		"JSON": {[]string{"--check", "-o", "json"}, []string{
			`"current":true,.*"reachable":true,"version":"v1\.`,
			`^\{"name":"dead",.*"reachable":false,"error":"dial tcp `,
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := p.Run(t, nil, append([]string{"clusters"}, test.args...)...)
			if r.Code != test.code || r.Err != "" {
				t.Errorf("exit code %d, want %d; stderr %q, want nothing", r.Code, test.code, r.Err)
			}
			for _, pattern := range test.out {
				if !regexp.MustCompile(`(?m)` + pattern).MatchString(r.Out) {
					t.Errorf("no line of stdout matches %s:\n%s", pattern, r.Out)
				}
			}
		})
	}
}
