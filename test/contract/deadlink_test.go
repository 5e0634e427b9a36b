//go:build unix

package contract

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/sandbox"
	"kshell/test/faultproxy"
)

// onePod starts a sandbox with one pod, web, and a proxy in front of it that
// can break connections. It returns the flags that make kshell connect through
// the proxy.
func onePod(t *testing.T) (Program, []string, *sandbox.Server, *faultproxy.Proxy) {
	t.Helper()
	s, err := sandbox.Start(sandbox.Config{Dir: t.TempDir(), Empty: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "sandbox/local:1"}}}}
	p.Name, p.Namespace, p.Labels = "web", "default", map[string]string{"app": "web"}
	if err := s.AddPod(p); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := faultproxy.Start(faultproxy.Config{Target: u.Host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	program := Program{Path: kshellBinary(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir()}
	return program, []string{"--server", "https://" + proxy.Addr()}, s, proxy
}

// A dead connection is detected in the middle of a message as fast as between
// two messages.
func TestDeadLink_MiddleOfDownload(t *testing.T) {
	t.Parallel()
	const before = 1_500_000
	for name, c := range map[string]struct {
		exact  string
		breaks func(t *testing.T, s *sandbox.Server, proxy *faultproxy.Proxy)
	}{
		"half-open link": {"auto", func(t *testing.T, _ *sandbox.Server, proxy *faultproxy.Proxy) {
			proxy.Rate(faultproxy.ToClient, 1<<20)
			go func() {
				for t.Context().Err() == nil && proxy.Stats().Bytes[faultproxy.ToClient] < before {
					time.Sleep(10 * time.Millisecond)
				}
				proxy.Cut(faultproxy.Server, faultproxy.RST)
			}()
		}},
		"server stops in the middle of a frame": {"never", func(_ *testing.T, s *sandbox.Server, _ *faultproxy.Proxy) {
			s.Inject(sandbox.Fault{Do: sandbox.Hang, When: sandbox.AfterSent, N: before + 100, Times: 1})
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, through, s, proxy := onePod(t)
			c.breaks(t, s, proxy)
			args := slices.Concat([]string{"exec"}, through,
				[]string{"--exact", c.exact, "--keepalive", "1s", "web", "--", "dd", "if=/dev/zero", "bs=64k"})
			r := p.Run(t, nil, args...)
			if r.Code != 255 || !strings.Contains(r.Err, "connection lost: the server does not answer any more") {
				t.Errorf("exit code %d, stderr %q", r.Code, r.Err)
			}
			if zeros := strings.Count(r.Out, "\x00"); zeros != len(r.Out) || zeros < before/2 {
				t.Errorf("%d bytes, %d of them zero", len(r.Out), zeros)
			}
		})
	}
}

// --reconnect-timeout also ends the attempts if a proxy accepts every
// connection and then drops it.
func TestReconnectTimeout_AcceptedAndDropped(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"auto", "never"} {
		t.Run("--exact="+mode, func(t *testing.T) {
			t.Parallel()
			p, through, s, proxy := onePod(t)
			shell := p.Shell(
				t,
				slices.Concat(through, []string{"-it", "--exact", mode, "--reconnect-timeout", "4s", "web", "--", "sh"})...)
			s.Inject(sandbox.Fault{Do: sandbox.FIN, When: sandbox.AfterSent})
			before := proxy.Stats().Accepted
			start := time.Now()
			proxy.Cut(faultproxy.Both, faultproxy.RST)
			shell.CheckExit(255)
			if took := time.Since(start); took > 15*time.Second {
				t.Errorf("ended after %v", took)
			}
			waits := strings.Count(shell.Text(), "trying again in 1 s")
			if attempts := proxy.Stats().Accepted - before; attempts > 30 || waits == 0 {
				t.Errorf("%d connections, the screen shows %q", attempts, shell.Text())
			}
		})
	}
}
