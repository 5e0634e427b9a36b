package suite

import (
	"testing"

	"kshell/test/contract"
	"kshell/test/e2e/harness"
)

func TestAccess(t *testing.T) {
	inCI(t)
	for _, s := range kshellSubjects()[:2] {
		t.Run(s.Name, func(t *testing.T) {
			cfg, err := cluster.Config(harness.DevExecOnly, harness.MainServer)
			must(t, err)
			contract.Access(t, contract.Users{
				Program:  s.Program,
				ExecOnly: harness.DevExecOnly, CreateOnly: harness.DevCreate, None: harness.DevNone, Token: cfg.BearerToken,
				Server:         s.Server.Addr,
				FalseSuccesses: s.Kubeconfig == cluster.KubeconfigTranslating(),
			})
		})
	}
}
