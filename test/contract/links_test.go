package contract

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"kshell/test/faultproxy"
)

// behind gives a kshell whose way to a sandbox leads through a proxy that can break it.
func behind(t *testing.T, kshell string) (Program, []string, *faultproxy.Proxy) {
	t.Helper()
	s, host := startWeb(t)
	proxy, err := faultproxy.Start(faultproxy.Config{Target: host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proxy.Close() })
	return Program{Path: kshell, Kubeconfig: s.Kubeconfig(), Home: t.TempDir()}, []string{"exec", "--server", "https://" + proxy.Addr()}, proxy
}

func TestACutLinkIsNeverSuccess(t *testing.T) {
	t.Parallel()
	kshell := build(t)
	for name, end := range map[string]faultproxy.Ending{"RST": faultproxy.RST, "FIN": faultproxy.FIN} {
		for _, n := range []int64{100_000, 1_000_000} {
			t.Run(fmt.Sprint(name, " after ", n, " bytes down"), func(t *testing.T) {
				p, exec, proxy := behind(t, kshell)
				proxy.CutAfter(faultproxy.ToClient, n, end)
				isLost(t, p.Run(t, nil, append(exec, "web", "--", "seq", "1", "2000000")...), n)
			})
			t.Run(fmt.Sprint(name, " after ", n, " bytes up"), func(t *testing.T) {
				p, exec, proxy := behind(t, kshell)
				proxy.CutAfter(faultproxy.ToServer, n, end)
				isLost(t, p.Run(t, lines(500_000), append(exec, "-i", "web", "--", "sh", "-c", "cat >/dev/null; sleep 60")...), 0)
			})
		}
	}
}

// isLost checks that what was cut ends with 255 and one sentence, and that what came before is the true beginning.
func isLost(t *testing.T, r Result, sent int64) {
	t.Helper()
	if r.Code != 255 || strings.Count(r.Err, "kshell: ") != 1 || !strings.Contains(r.Err, "connection lost") {
		t.Errorf("exit code %d, stderr %q", r.Code, r.Err)
	}
	if int64(len(r.Out)) > sent || !strings.HasPrefix(string(lines(2_000_000)), r.Out) {
		t.Errorf("%d bytes of output are not the first of those sent", len(r.Out))
	}
}

func TestASlowAndDistantLinkLosesNothing(t *testing.T) {
	t.Parallel()
	p, exec, proxy := behind(t, build(t))
	proxy.Delay(faultproxy.ToClient, 100*time.Millisecond)
	proxy.Rate(faultproxy.ToClient, 128<<10)
	r := p.Run(t, nil, append(exec, "web", "--", "sh", "-c", "seq 1 50000; exit 5")...)
	if want := string(lines(50_000)); r.Out != want || r.Code != 5 {
		t.Errorf("%d bytes of %d, exit code %d, stderr %q", len(r.Out), len(want), r.Code, r.Err)
	}
}
