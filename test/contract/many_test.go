package contract

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/agentbin"
	"kshell/internal/sandbox"
)

func TestMany(t *testing.T) {
	t.Parallel()
	Many(t, program(t))
}

func TestMany_Flood(t *testing.T) {
	t.Parallel()
	const pods = 20
	s, err := sandbox.Start(sandbox.Config{Dir: t.TempDir(), Empty: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for i := range pods {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
		p.Name, p.Labels = fmt.Sprintf("flood-%d", i), map[string]string{"flood": "yes"}
		if err := s.AddPod(p); err != nil {
			t.Fatal(err)
		}
	}
	Flood(t, Program{Path: kshellBinary(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir()}, "flood=yes", pods)
}

func TestSignals(t *testing.T) {
	t.Parallel()
	p := program(t)
	if agentbin.BuildID() == "" {
		t.Skip(`there are no agents: run "make agent"`)
	}
	for name, flags := range map[string][]string{
		"v5": nil, "v4": {"--subprotocol", "v4.channel.k8s.io"}, "session agent": {resumeAlways},
	} {
		t.Run(name, func(t *testing.T) { Signals(t, p, flags...) })
	}
}
