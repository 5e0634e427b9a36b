package contract

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kshell/internal/sandbox"
	"kshell/test/faultproxy"
)

// proxiedSandbox starts a sandbox with one pod, web, and a proxy in front of
// it. It returns kshell, and the beginning of its arguments, which select the
// proxy.
func proxiedSandbox(t *testing.T, kshell string) (Program, []string, *faultproxy.Proxy) {
	t.Helper()
	_, p, exec, proxy := startProxied(t, kshell)
	return p, exec, proxy
}

// startProxied is like proxiedSandbox, and also returns the sandbox.
func startProxied(t *testing.T, kshell string) (*sandbox.Server, Program, []string, *faultproxy.Proxy) {
	t.Helper()
	s, host := startWeb(t)
	proxy, err := faultproxy.Start(faultproxy.Config{Target: host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	p := Program{Path: kshell, Kubeconfig: s.Kubeconfig(), Home: t.TempDir()}
	return s, p, []string{"exec", "--server", "https://" + proxy.Addr()}, proxy
}

func TestLink_Cut(t *testing.T) {
	t.Parallel()
	kshell := kshellBinary(t)
	for name, end := range map[string]faultproxy.Ending{"RST": faultproxy.RST, "FIN": faultproxy.FIN} {
		for _, n := range []int64{100_000, 1_000_000} {
			t.Run(fmt.Sprint(name, " after ", n, " bytes down"), func(t *testing.T) {
				p, exec, proxy := proxiedSandbox(t, kshell)
				proxy.CutAfter(faultproxy.ToClient, n, end)
				checkLost(t, p.Run(t, nil, append(exec, "web", "--", "seq", "1", "2000000")...), n)
			})
			t.Run(fmt.Sprint(name, " after ", n, " bytes up"), func(t *testing.T) {
				p, exec, proxy := proxiedSandbox(t, kshell)
				proxy.CutAfter(faultproxy.ToServer, n, end)
				checkLost(t, p.Run(t, lines(500_000), append(exec, "-i", "web", "--", "sh", "-c", "cat >/dev/null; sleep 60")...),
					0)
			})
		}
	}
}

// checkLost checks that kshell exited with 255 and one message, and that its
// output is the beginning of what the command printed. The parameter sent is
// the maximum length of the output.
func checkLost(t *testing.T, r Result, sent int64) {
	t.Helper()
	if r.Code != 255 || strings.Count(r.Err, "kshell: ") != 1 || !strings.Contains(r.Err, "connection lost") {
		t.Errorf("exit code %d, stderr %q", r.Code, r.Err)
	}
	if int64(len(r.Out)) > sent || !strings.HasPrefix(string(lines(2_000_000)), r.Out) {
		t.Errorf("the %d bytes of output are not the first bytes that were sent", len(r.Out))
	}
}

func TestLink_Slow(t *testing.T) {
	t.Parallel()
	p, exec, proxy := proxiedSandbox(t, kshellBinary(t))
	proxy.Delay(faultproxy.ToClient, 100*time.Millisecond)
	proxy.Rate(faultproxy.ToClient, 128<<10)
	r := p.Run(t, nil, append(exec, "web", "--", "sh", "-c", "seq 1 50000; exit 5")...)
	if want := string(lines(50_000)); r.Out != want || r.Code != 5 {
		t.Errorf("%d bytes of %d, exit code %d, stderr %q", len(r.Out), len(want), r.Code, r.Err)
	}
}
