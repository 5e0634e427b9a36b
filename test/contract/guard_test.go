//go:build unix

package contract

import (
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	p := program(t)
	cfg, err := clientcmd.LoadFromFile(p.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	Guard(t, p, cfg.CurrentContext)
}
