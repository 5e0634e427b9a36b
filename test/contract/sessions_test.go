//go:build unix

package contract

import (
	"context"
	"fmt"
	"net/url"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/sandbox"
	"kshell/test/faultproxy"
)

// sandboxSetup returns a Setup with a new sandbox.
func sandboxSetup(t *testing.T) Setup {
	t.Helper()
	s, _ := startSandbox(t)
	return setupOf(t, s, s.URL())
}

// setupOf returns a Setup with the sandbox s. address is the URL to which
// kshell connects: that of s, or of a cluster of a Headlamp server in front of
// s.
func setupOf(t *testing.T, s *sandbox.Server, address string) Setup {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return Setup{
		Program: Program{Path: kshellBinary(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir()},
		Through: func(t *testing.T) (*faultproxy.Proxy, []string) {
			t.Helper()
			proxy, err := faultproxy.Start(faultproxy.Config{Target: u.Host})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = proxy.Close() })
			through := *u
			through.Host = proxy.Addr()
			return proxy, []string{"--server", through.String()}
		},
		Pod: func(t *testing.T) string {
			t.Helper()
			p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}}}
			p.Name = fmt.Sprintf("own-%d", newMark())
			if err := s.AddPod(p); err != nil {
				t.Fatal(err)
			}
			return p.Name
		},
		Delete: func(t *testing.T, pod string) {
			t.Helper()
			if err := s.DeletePod("default", pod, 0); err != nil {
				t.Error(err)
			}
		},
		Remaining: func(t testing.TB, pod string, grace time.Duration) (alive, dead []string) {
			ctx, cancel := context.WithTimeout(t.Context(), grace)
			defer cancel()
			if s.WaitIdle(ctx, "default", pod) == nil {
				return nil, nil
			}
			for _, p := range s.Processes("default", pod) {
				alive = append(alive, fmt.Sprint(p))
			}
			return alive, nil
		},
	}
}

func TestSessions(t *testing.T) {
	t.Parallel()
	w := sandboxSetup(t)
	Sessions(t, w)
}

func TestSessions_Durations(t *testing.T) {
	t.Parallel()
	w := sandboxSetup(t)
	t.Run("reset", func(t *testing.T) {
		t.Parallel()
		if back, opening := Reset(t, w, 5); back > time.Second+opening { // a second more, because the machine may be busy
			t.Errorf("a shell reconnects after %v, a new shell opens in %v", back, opening)
		}
	})
	t.Run("large output", func(t *testing.T) {
		t.Parallel()
		const rate = 500_000 // 1.9 MB take 3.9 s
		if took := LargeOutput(t, w, rate); took > 20*time.Second {
			t.Errorf("1.9 MB over a link of %d bytes per second took %v", rate, took)
		}
	})
	t.Run("half-open link", func(t *testing.T) {
		t.Parallel()
		if took := HalfOpen(t, w); took > 25*time.Second {
			t.Errorf("a half-open link is detected after %v", took)
		}
	})
}

func TestSessions_Outages(t *testing.T) {
	t.Parallel()
	Outages(t, sandboxSetup(t))
}

func TestSessions_DroppedConnection(t *testing.T) {
	t.Parallel()
	DroppedConnection(t, sandboxSetup(t))
}
