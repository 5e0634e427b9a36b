package suite

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"kshell/internal/stream"
	"kshell/test/contract"
	"kshell/test/e2e/harness"
	"kshell/test/faultproxy"
)

// faultyNode is the node that these tests break. The pods that they need on
// this node have its name in their specification.
const faultyNode = "node2"

// breaksCluster restores the cluster at the end of the test. The test must not
// run in parallel with others.
func breaksCluster(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(func() {
		cancel()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := cluster.Restore(ctx); err != nil {
			t.Errorf("the cluster is not restored: %v", err)
		}
	})
	return ctx
}

// keepFault sleeps for d while a fault is active. It does not wait for a
// condition, because the length of the fault is part of the test.
func keepFault(d time.Duration) { time.Sleep(d) }

// waitForExec waits until commands can be run in the pod again.
func waitForExec(t *testing.T, p contract.Program, pod string) {
	t.Helper()
	eventually(t, "a command runs again in "+pod, func(context.Context) (bool, error) {
		r := p.Run(t, nil, "exec", pod, "--", "sh", "-c", "echo again; exit 8")
		return r.Out == "again\n" && r.Code == 8, nil
	})
}

// flood is a command that prints numbers without end.
var flood = []string{"--", "sh", "-c", countScript(1<<30, ":")}

func TestFault_KubeletKilled(t *testing.T) {
	notInCI(t)
	ctx := breaksCluster(t)
	pod := createReady(t, sleeper(faultyNode))
	prints, waits := startOnBoth(
		t,
		append([]string{"exec", pod}, flood...)...), startOnBoth(
		t,
		"exec",
		pod,
		"--",
		"sh",
		"-c",
		"echo started; sleep 600",
	)
	for _, way := range apiPaths() {
		prints[way.name].waitForStdout(t, "1000\n")
		waits[way.name].waitForStdout(t, "started\n")
	}
	must(t, cluster.StopKubelet(ctx, faultyNode, syscall.SIGKILL))
	t.Run("a command that prints", func(t *testing.T) {
		checkEach(t, prints, shortTimeout, func(t *testing.T, r contract.Result) {
			checkLost(t, r)
			checkCounting(t, r.Out)
		})
	})
	t.Run("a command that waits", func(t *testing.T) { checkEach(t, waits, shortTimeout, checkLost) })
	must(t, cluster.StartKubelet(faultyNode))
	must(t, cluster.WaitNode(ctx, faultyNode, true))
	for _, way := range apiPaths() {
		waitForExec(t, program(way.kubeconfig), pod)
	}
	if n := waitForPod(t, pod, "ready", isReady).Status.ContainerStatuses[0].RestartCount; n != 0 {
		t.Errorf("its container was restarted %d times", n)
	}
}

func TestFault_APIServerStopped(t *testing.T) {
	notInCI(t)
	pod := createReady(t, sleeper(""))
	for name, s := range map[string]harness.Server{"kubelet": harness.MainServer, "apiserver": harness.TranslatingServer} {
		for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			t.Run(name+" "+sig.String(), func(t *testing.T) {
				ctx := breaksCluster(t)
				p := programFor(s)
				prints := start(t, p, nil, append([]string{"exec", pod}, flood...)...)
				waits := start(t, p, nil, "exec", pod, "--", "sh", "-c", "echo started; sleep 600")
				// The shell must not exec cat: containerd would lose its input
				// (containerd#13934).
				reads := start(t, p, endless{}, "exec", "-i", pod, "--", "sh", "-c", "echo started; cat >/dev/null; exit 7")
				prints.waitForStdout(t, "1000\n")
				waits.waitForStdout(t, "started\n")
				reads.waitForStdout(t, "started\n")
				if prints.hasExited() || waits.hasExited() || reads.hasExited() {
					t.Fatal("a command has ended before the fault")
				}
				must(t, cluster.StopAPIServer(ctx, s, sig))
				for what, l := range map[string]*background{"prints": prints, "waits": waits, "reads": reads} {
					t.Run(what, func(t *testing.T) {
						r := l.waitExit(t, shortTimeout)
						checkLost(t, r)
						if l == prints {
							checkCounting(t, r.Out)
						}
					})
				}
				must(t, cluster.StartAPIServer(ctx, s))
				waitForExec(t, p, pod)
			})
		}
	}
}

// programFor returns kshell with an API server.
func programFor(s harness.Server) contract.Program {
	if s == harness.MainServer {
		return program(cluster.Kubeconfig())
	}
	return program(cluster.KubeconfigTranslating())
}

// endless is an input without end.
type endless struct{}

// Read implements io.Reader.
func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestFault_APIServerPaused(t *testing.T) {
	notInCI(t)
	breaksCluster(t)
	pod := createReady(t, sleeper(faultyNode))
	const numbers, lines = 120, 300_000
	slow := startOnBoth(t, "exec", pod, "--", "sh", "-c", countScript(numbers, "sleep 0.1"))
	fast := startOnBoth(t, "exec", pod, "--", "sh", "-c", "sleep 1; "+countScript(lines, ":"))
	for _, l := range slow {
		l.waitForStdout(t, "\n10\n")
	}
	for _, l := range fast {
		l.waitForStdout(t, "\n1000\n")
	}
	for _, s := range []harness.Server{harness.MainServer, harness.TranslatingServer} {
		must(t, cluster.PauseAPIServer(s))
	}
	keepFault(2 * time.Second) // after that, nothing is in flight any more
	before := map[string]int{"kubelet": slow["kubelet"].out.size(), "apiserver": slow["apiserver"].out.size()}
	keepFault(8 * time.Second)
	for name, n := range before {
		if now := slow[name].out.size(); now != n {
			t.Errorf("%s: %d bytes arrived through a paused server", name, now-n)
		}
	}
	for _, s := range []harness.Server{harness.MainServer, harness.TranslatingServer} {
		must(t, cluster.ResumeAPIServer(s))
	}
	t.Run("a little output", func(t *testing.T) {
		checkEach(t, slow, shortTimeout, func(t *testing.T, r contract.Result) {
			if n := checkCounting(t, r.Out); n != numbers || r.Code != 9 || withoutSlowLines(r.Err) != "" {
				t.Errorf("%d numbers of %d, exit code %d, stderr %s", n, numbers, r.Code, r.Err)
			}
		})
	})
	// Output is lost in two cases, and in both the server then reports Success,
	// and kubectl exits with 0. First, when a paused server continues, its SPDY
	// pings are answered by an RST, which destroys what the node sent and
	// closed during the pause. Second, a program that translates v5 treats the
	// end of its connection to the next component as the end of the command
	// (StreamTranslatorHandler, k8s.io/apiserver/pkg/util/proxy). That program
	// is the API server in 1.30 to 1.35, and since then the kubelet, for its
	// link to the runtime.
	t.Run("a lot of output", func(t *testing.T) {
		checkEach(t, fast, shortTimeout, func(t *testing.T, r contract.Result) {
			if n := checkCounting(t, r.Out); n == lines && r.Code == 9 && withoutSlowLines(r.Err) == "" {
				return
			}
			checkLost(t, r)
		})
	})
}

func TestFault_ShortPartition(t *testing.T) {
	notInCI(t)
	ctx := breaksCluster(t)
	pod := createReady(t, sleeper(faultyNode))
	const numbers = 200
	both := startOnBoth(t, "exec", pod, "--", "sh", "-c", countScript(numbers, "sleep 0.1"))
	for _, l := range both {
		l.waitForStdout(t, "\n10\n")
	}
	must(t, cluster.Partition(ctx, faultyNode))
	keepFault(time.Second)
	before := map[string]int{"kubelet": both["kubelet"].out.size(), "apiserver": both["apiserver"].out.size()}
	keepFault(7 * time.Second)
	for name, n := range before {
		if now := both[name].out.size(); now != n {
			t.Errorf("%s: %d bytes arrived over a link that is down", name, now-n)
		}
	}
	must(t, cluster.Heal(ctx, faultyNode))
	checkEach(t, both, waitTimeout, func(t *testing.T, r contract.Result) {
		n := checkCounting(t, r.Out)
		switch r.Code {
		case 9:
			if n != numbers || withoutSlowLines(r.Err) != "" {
				t.Errorf("%d numbers of %d, stderr %s", n, numbers, r.Err)
			}
		default:
			checkLost(t, r)
		}
	})
}

// The harness kills the processes of a node, and the kernel closes their
// connections. A power cut would not close them: for that, see the tests of
// partitions.
func TestFault_NodeLost(t *testing.T) {
	notInCI(t)
	ctx := breaksCluster(t)
	pod := createReady(t, sleeper(faultyNode))
	prints, waits := startOnBoth(
		t,
		append([]string{"exec", pod}, flood...)...), startOnBoth(
		t,
		"exec",
		pod,
		"--",
		"sh",
		"-c",
		"echo started; sleep 600",
	)
	for _, way := range apiPaths() {
		prints[way.name].waitForStdout(t, "1000\n")
		waits[way.name].waitForStdout(t, "started\n")
	}
	must(t, cluster.KillNode(ctx, faultyNode))
	t.Run("a command that prints", func(t *testing.T) {
		checkEach(t, prints, shortTimeout, func(t *testing.T, r contract.Result) {
			checkLost(t, r)
			checkCounting(t, r.Out)
		})
	})
	t.Run("a command that waits", func(t *testing.T) { checkEach(t, waits, shortTimeout, checkLost) })
	t.Run("the next command is refused with a message", func(t *testing.T) {
		for name, l := range startOnBoth(t, "exec", pod, "--", "true") {
			if r := l.waitExit(t, waitTimeout); r.Code != 255 || !oneMessage.MatchString(withoutSlowLines(r.Err)) ||
				strings.Contains(r.Err, "command=") {
				t.Errorf("%s: exit code %d, stderr %q", name, r.Code, r.Err)
			}
		}
	})
	must(t, cluster.StartNode(ctx, faultyNode))
	must(t, cluster.WaitNode(ctx, faultyNode, true))
	for _, way := range apiPaths() {
		waitForExec(t, program(way.kubeconfig), pod)
	}
}

// proxied starts a proxy in front of an API server, and returns the flags that
// make kshell use it.
func proxied(t *testing.T, s harness.Server) (*faultproxy.Proxy, []string) {
	t.Helper()
	proxy, err := faultproxy.Start(faultproxy.Config{Target: s.Addr(), Remote: true, Buffer: 32 << 10})
	must(t, err)
	t.Cleanup(func() { _ = proxy.Close() })
	host, _, err := net.SplitHostPort(s.Addr())
	must(t, err)
	return proxy, []string{"--server", "https://" + proxy.Addr(), "--tls-server-name", host}
}

func TestFault_ConnectionCut(t *testing.T) {
	notInCI(t)
	pod := createReady(t, sleeper(""))
	p := program(cluster.Kubeconfig())
	const upload = 2 << 20
	onServers(t, func(t *testing.T, s harness.Server) {
		for how, ending := range map[string]faultproxy.Ending{"RST": faultproxy.RST, "FIN": faultproxy.FIN} {
			for _, protocol := range contract.Subprotocols {
				t.Run(how+" in the output, "+protocol, func(t *testing.T) {
					t.Parallel()
					proxy, flags := proxied(t, s)
					proxy.CutAfter(faultproxy.ToClient, 150_000, ending)
					r := p.Run(t, nil, append(append(flags, "exec", "--subprotocol", protocol, pod), flood...)...)
					checkLost(t, r)
					if n := checkCounting(t, r.Out); n < 5000 {
						t.Errorf("only %d numbers of 150 kB arrived", n)
					}
				})
			}
			t.Run(how+" in the input", func(t *testing.T) {
				t.Parallel()
				proxy, flags := proxied(t, s)
				proxy.CutAfter(faultproxy.ToServer, 200_000, ending)
				r := p.Run(
					t,
					bytes.Repeat([]byte("x"), upload),
					append(flags, "exec", "-i", pod, "--", "sh", "-c", "cat >/dev/null; echo all")...)
				checkLost(t, r)
				if r.Out != "" {
					t.Errorf("stdout %q", r.Out)
				}
			})
			t.Run(how+" while idle", func(t *testing.T) {
				t.Parallel()
				proxy, flags := proxied(t, s)
				l := start(t, p, nil, append(flags, "exec", pod, "--", "sh", "-c", "echo started; sleep 600")...)
				l.waitForStdout(t, "started\n")
				if n := proxy.Cut(faultproxy.Both, ending); n == 0 {
					t.Error("there was no connection to cut")
				}
				checkLost(t, l.waitExit(t, shortTimeout))
			})
		}
	})
}

func TestFault_SlowLink(t *testing.T) {
	notInCI(t)
	pod := createReady(t, sleeper(""))
	want := strings.Repeat("0123456789abcde\n", 300_000/16)
	onServers(t, func(t *testing.T, s harness.Server) {
		for _, protocol := range []string{stream.V5, stream.V4} {
			t.Run(protocol, func(t *testing.T) {
				t.Parallel()
				proxy, flags := proxied(t, s)
				proxy.Delay(faultproxy.ToServer, 200*time.Millisecond)
				proxy.Delay(faultproxy.ToClient, 200*time.Millisecond)
				proxy.Rate(faultproxy.ToClient, 64_000)
				r := program(
					cluster.Kubeconfig(),
				).Run(t, nil, append(flags, "exec", "--subprotocol", protocol, pod, "--", "sh", "-c",
					"yes 0123456789abcde | head -c 300000; exit 5")...)
				if r.Out != want || r.Code != 5 || r.Err != "" {
					t.Errorf("%d bytes of %d, exit code %d, stderr %s", len(r.Out), len(want), r.Code, r.Err)
				}
				if r.Took < 4*time.Second {
					t.Errorf("took %v: the link was not slow", r.Took)
				}
			})
		}
	})
}

// gateway starts a gateway in front of an API server, which passes requests on
// as a user that may exec, but never answers WebSocket requests. It returns the
// kubeconfig file.
func gateway(t *testing.T, s harness.Server) string {
	t.Helper()
	cfg, err := cluster.Config(harness.DevExec, s)
	must(t, err)
	transport, err := rest.TransportFor(cfg)
	must(t, err)
	target, err := url.Parse(s.URL())
	must(t, err)
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			proxy.ServeHTTP(w, r)
			return
		}
		<-r.Context().Done() // until the client gives up
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `{apiVersion: v1, kind: Config, current-context: g,
contexts: [{name: g, context: {cluster: g}}], clusters: [{name: g, cluster: {server: %q}}]}`, server.URL), 0o600))
	return file
}

// notStarted matches the message about a command that a node does not start,
// after the lines about the wait and the node.
var notStarted = regexp.MustCompile(
	`(?m)^kshell: node \S+ has not started the command within 35s; [^\n]+\nhint: [^\n]+\n\z`,
)

// A command that the kubelet does not start ends after 35 s. The translating
// API server completes the handshake before it connects to the kubelet, so an
// open connection does not prove that the command starts.
func TestStartTimeout_PausedKubelet(t *testing.T) {
	notInCI(t)
	breaksCluster(t)
	pod := createReady(t, sleeper(faultyNode))
	silent := map[string]*background{}
	for name, s := range map[string]harness.Server{"kubelet": harness.MainServer, "apiserver": harness.TranslatingServer} {
		silent["gateway before "+name] = start(t, program(gateway(t, s)), nil, "exec", pod, "--", "true")
	}
	must(t, cluster.PauseKubelet(faultyNode))
	for name, s := range map[string]harness.Server{"kubelet": harness.MainServer, "apiserver": harness.TranslatingServer} {
		silent["paused kubelet, "+name] = start(t, programFor(s), nil, "exec", pod, "--", "sh", "-c", "echo late; exit 6")
	}
	for name, l := range silent {
		t.Run(name, func(t *testing.T) {
			r := l.waitExit(t, waitTimeout)
			if r.Code != 255 || r.Out != "" || !notStarted.MatchString(r.Err) || r.Took < 34*time.Second ||
				r.Took > 50*time.Second {
				t.Errorf("after %v: exit code %d, stdout %q, stderr %q", r.Took, r.Code, r.Out, r.Err)
			}
		})
	}
	must(t, cluster.ResumeKubelet(faultyNode))
}
