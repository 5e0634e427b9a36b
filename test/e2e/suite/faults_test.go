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

// victim is the node that is broken. Pods of these tests are put on it by name.
const victim = "node2"

// breaks says that the test breaks the cluster: it is serial, and the cluster is whole again when it ends.
func breaks(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	t.Cleanup(func() {
		cancel()
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := cluster.Restore(ctx); err != nil {
			t.Errorf("the cluster is not whole again: %v", err)
		}
	})
	return ctx
}

// lasts is how long a fault goes on. It is no wait for anything: the fault is that long.
func lasts(d time.Duration) { time.Sleep(d) }

// enters waits until a command runs in the pod again.
func enters(t *testing.T, p contract.Program, pod string) {
	t.Helper()
	eventually(t, "a command runs again in "+pod, func(context.Context) (bool, error) {
		r := p.Run(t, nil, "exec", pod, "--", "sh", "-c", "echo again; exit 8")
		return r.Out == "again\n" && r.Code == 8, nil
	})
}

// flood is a command that prints numbers as fast as it can, for ever.
var flood = []string{"--", "sh", "-c", counting(1<<30, ":")}

func TestAKilledKubeletLosesTheCommandAndKeepsTheContainer(t *testing.T) {
	notInCI(t)
	ctx := breaks(t)
	pod := ready(t, sleeper(victim))
	prints, waits := onBoth(t, append([]string{"exec", pod}, flood...)...), onBoth(t, "exec", pod, "--", "sh", "-c", "echo started; sleep 600")
	for _, way := range paths() {
		prints[way.name].prints(t, "1000\n")
		waits[way.name].prints(t, "started\n")
	}
	check(t, cluster.StopKubelet(ctx, victim, syscall.SIGKILL))
	t.Run("a command that prints", func(t *testing.T) {
		eachEnd(t, prints, soon, func(t *testing.T, r contract.Result) {
			isLost(t, r)
			counts(t, r.Out)
		})
	})
	t.Run("a command that waits", func(t *testing.T) { eachEnd(t, waits, soon, isLost) })
	check(t, cluster.StartKubelet(victim))
	check(t, cluster.WaitNode(ctx, victim, true))
	for _, way := range paths() {
		enters(t, program(way.kubeconfig), pod)
	}
	if n := sees(t, pod, "ready", isReady).Status.ContainerStatuses[0].RestartCount; n != 0 {
		t.Errorf("its container was restarted %d times", n)
	}
}

func TestAnAPIServerThatGoesIsNoSuccess(t *testing.T) {
	notInCI(t)
	pod := ready(t, sleeper(""))
	for name, s := range map[string]harness.Server{"kubelet": harness.MainServer, "apiserver": harness.TranslatingServer} {
		for _, sig := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
			t.Run(name+" "+sig.String(), func(t *testing.T) {
				ctx := breaks(t)
				p := before(s)
				prints := start(t, p, nil, append([]string{"exec", pod}, flood...)...)
				waits := start(t, p, nil, "exec", pod, "--", "sh", "-c", "echo started; sleep 600")
				reads := start(t, p, endless{}, "exec", "-i", pod, "--", "sh", "-c", "echo started; cat >/dev/null; exit 7") // the shell stays: a cat in its place would lose its input (containerd#13934)
				prints.prints(t, "1000\n")
				waits.prints(t, "started\n")
				reads.prints(t, "started\n")
				if prints.ended() || waits.ended() || reads.ended() {
					t.Fatal("one has ended before the fault")
				}
				check(t, cluster.StopAPIServer(ctx, s, sig))
				for what, l := range map[string]*live{"prints": prints, "waits": waits, "reads": reads} {
					t.Run(what, func(t *testing.T) {
						r := l.within(t, soon)
						isLost(t, r)
						if l == prints {
							counts(t, r.Out)
						}
					})
				}
				check(t, cluster.StartAPIServer(ctx, s))
				enters(t, p, pod)
			})
		}
	}
}

// before is kshell with an API server.
func before(s harness.Server) contract.Program {
	if s == harness.MainServer {
		return program(cluster.Kubeconfig())
	}
	return program(cluster.KubeconfigTranslating())
}

// endless is an input that has no end.
type endless struct{}

// Read implements io.Reader.
func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestAPausedAPIServerCostsNothingButTime(t *testing.T) {
	notInCI(t)
	breaks(t)
	pod := ready(t, sleeper(victim))
	const numbers, lines = 120, 300_000
	slow := onBoth(t, "exec", pod, "--", "sh", "-c", counting(numbers, "sleep 0.1"))
	fast := onBoth(t, "exec", pod, "--", "sh", "-c", "sleep 1; "+counting(lines, ":"))
	for _, l := range slow {
		l.prints(t, "\n10\n")
	}
	for _, l := range fast {
		l.prints(t, "\n1000\n")
	}
	for _, s := range []harness.Server{harness.MainServer, harness.TranslatingServer} {
		check(t, cluster.PauseAPIServer(s))
	}
	lasts(2 * time.Second) // by now everything that was under way has arrived
	before := map[string]int{"kubelet": slow["kubelet"].out.size(), "apiserver": slow["apiserver"].out.size()}
	lasts(8 * time.Second)
	for name, n := range before {
		if now := slow[name].out.size(); now != n {
			t.Errorf("%s: %d bytes came through a paused server", name, now-n)
		}
	}
	for _, s := range []harness.Server{harness.MainServer, harness.TranslatingServer} {
		check(t, cluster.ResumeAPIServer(s))
	}
	t.Run("a little output", func(t *testing.T) {
		eachEnd(t, slow, soon, func(t *testing.T, r contract.Result) {
			if n := counts(t, r.Out); n != numbers || r.Code != 9 || unhurried(r.Err) != "" {
				t.Errorf("%d numbers of %d, exit code %d, stderr %s", n, numbers, r.Code, r.Err)
			}
		})
	})
	// What the node has sent and closed while the server stood still is destroyed by the server's own SPDY pings when it goes on: they
	// are answered by an RST. The server then tells of a Success. So does a translating server (the API server of 1.30 to 1.35; since
	// then the kubelet, for its link to the runtime) when its own connection to the node ends: it takes that for the end of
	// the command (StreamTranslatorHandler, k8s.io/apiserver/pkg/util/proxy). kubectl exits 0 then.
	t.Run("a lot of output", func(t *testing.T) {
		eachEnd(t, fast, soon, func(t *testing.T, r contract.Result) {
			if n := counts(t, r.Out); n == lines && r.Code == 9 && unhurried(r.Err) == "" {
				return
			}
			isLost(t, r)
		})
	})
}

func TestAShortPartitionLosesNoNumberOrIsTold(t *testing.T) {
	notInCI(t)
	ctx := breaks(t)
	pod := ready(t, sleeper(victim))
	const numbers = 200
	both := onBoth(t, "exec", pod, "--", "sh", "-c", counting(numbers, "sleep 0.1"))
	for _, l := range both {
		l.prints(t, "\n10\n")
	}
	check(t, cluster.Partition(ctx, victim))
	lasts(time.Second)
	before := map[string]int{"kubelet": both["kubelet"].out.size(), "apiserver": both["apiserver"].out.size()}
	lasts(7 * time.Second)
	for name, n := range before {
		if now := both[name].out.size(); now != n {
			t.Errorf("%s: %d bytes came over a link that is down", name, now-n)
		}
	}
	check(t, cluster.Heal(ctx, victim))
	eachEnd(t, both, aMinute, func(t *testing.T, r contract.Result) {
		n := counts(t, r.Out)
		switch r.Code {
		case 9:
			if n != numbers || unhurried(r.Err) != "" {
				t.Errorf("%d numbers of %d, stderr %s", n, numbers, r.Err)
			}
		default:
			isLost(t, r)
		}
	})
}

// The harness kills the processes of a node, and the kernel closes their connections: a power cut would not even do that. A loss that nobody
// tells is what a partition looks like as long as it lasts; kshell does not notice it yet, for it sends no pings.
func TestALostNodeEndsTheCommandAndComesBackWithItsPods(t *testing.T) {
	notInCI(t)
	ctx := breaks(t)
	pod := ready(t, sleeper(victim))
	prints, waits := onBoth(t, append([]string{"exec", pod}, flood...)...), onBoth(t, "exec", pod, "--", "sh", "-c", "echo started; sleep 600")
	for _, way := range paths() {
		prints[way.name].prints(t, "1000\n")
		waits[way.name].prints(t, "started\n")
	}
	check(t, cluster.KillNode(ctx, victim))
	t.Run("a command that prints", func(t *testing.T) {
		eachEnd(t, prints, soon, func(t *testing.T, r contract.Result) {
			isLost(t, r)
			counts(t, r.Out)
		})
	})
	t.Run("a command that waits", func(t *testing.T) { eachEnd(t, waits, soon, isLost) })
	t.Run("the next one is refused in words", func(t *testing.T) {
		for name, l := range onBoth(t, "exec", pod, "--", "true") {
			if r := l.within(t, aMinute); r.Code != 255 || !oneSentence.MatchString(unhurried(r.Err)) || strings.Contains(r.Err, "command=") {
				t.Errorf("%s: exit code %d, stderr %q", name, r.Code, r.Err)
			}
		}
	})
	check(t, cluster.StartNode(ctx, victim))
	check(t, cluster.WaitNode(ctx, victim, true))
	for _, way := range paths() {
		enters(t, program(way.kubeconfig), pod)
	}
}

// through puts a proxy before an API server and returns it, and the flags that lead kshell through it.
func through(t *testing.T, s harness.Server) (*faultproxy.Proxy, []string) {
	t.Helper()
	proxy, err := faultproxy.Start(faultproxy.Config{Target: s.Addr(), Remote: true, Buffer: 32 << 10})
	check(t, err)
	t.Cleanup(func() { _ = proxy.Close() })
	host, _, err := net.SplitHostPort(s.Addr())
	check(t, err)
	return proxy, []string{"--server", "https://" + proxy.Addr(), "--tls-server-name", host}
}

func TestAConnectionThatIsCutIsNoSuccess(t *testing.T) {
	notInCI(t)
	pod := ready(t, sleeper(""))
	p := program(cluster.Kubeconfig())
	const upload = 2 << 20
	onServers(t, func(t *testing.T, s harness.Server) {
		for how, ending := range map[string]faultproxy.Ending{"RST": faultproxy.RST, "FIN": faultproxy.FIN} {
			for _, protocol := range contract.Subprotocols {
				t.Run(how+" in the output, "+protocol, func(t *testing.T) {
					t.Parallel()
					proxy, flags := through(t, s)
					proxy.CutAfter(faultproxy.ToClient, 150_000, ending)
					r := p.Run(t, nil, append(append(flags, "exec", "--subprotocol", protocol, pod), flood...)...)
					isLost(t, r)
					if n := counts(t, r.Out); n < 5000 {
						t.Errorf("only %d numbers of 150 kB arrived", n)
					}
				})
			}
			t.Run(how+" in the input", func(t *testing.T) {
				t.Parallel()
				proxy, flags := through(t, s)
				proxy.CutAfter(faultproxy.ToServer, 200_000, ending)
				r := p.Run(t, bytes.Repeat([]byte("x"), upload), append(flags, "exec", "-i", pod, "--", "sh", "-c", "cat >/dev/null; echo all")...)
				isLost(t, r)
				if r.Out != "" {
					t.Errorf("stdout %q", r.Out)
				}
			})
			t.Run(how+" while nothing goes on", func(t *testing.T) {
				t.Parallel()
				proxy, flags := through(t, s)
				l := start(t, p, nil, append(flags, "exec", pod, "--", "sh", "-c", "echo started; sleep 600")...)
				l.prints(t, "started\n")
				if n := proxy.Cut(faultproxy.Both, ending); n == 0 {
					t.Error("there was nothing to cut")
				}
				isLost(t, l.within(t, soon))
			})
		}
	})
}

func TestASlowAndDistantLinkLosesNothing(t *testing.T) {
	notInCI(t)
	pod := ready(t, sleeper(""))
	want := strings.Repeat("0123456789abcde\n", 300_000/16)
	onServers(t, func(t *testing.T, s harness.Server) {
		for _, protocol := range []string{stream.V5, stream.V4} {
			t.Run(protocol, func(t *testing.T) {
				t.Parallel()
				proxy, flags := through(t, s)
				proxy.Delay(faultproxy.ToServer, 200*time.Millisecond)
				proxy.Delay(faultproxy.ToClient, 200*time.Millisecond)
				proxy.Rate(faultproxy.ToClient, 64_000)
				r := program(cluster.Kubeconfig()).Run(t, nil, append(flags, "exec", "--subprotocol", protocol, pod, "--", "sh", "-c",
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

// gateway stands before an API server, passes requests as a user that may exec, and never answers those that are to become WebSockets. It
// returns the kubeconfig file that leads to it.
func gateway(t *testing.T, s harness.Server) string {
	t.Helper()
	cfg, err := cluster.Config(harness.DevExec, s)
	check(t, err)
	transport, err := rest.TransportFor(cfg)
	check(t, err)
	target, err := url.Parse(s.URL())
	check(t, err)
	proxy := &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			proxy.ServeHTTP(w, r)
			return
		}
		<-r.Context().Done() // until the client has had enough
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	check(t, os.WriteFile(file, fmt.Appendf(nil, `{apiVersion: v1, kind: Config, current-context: g,
contexts: [{name: g, context: {cluster: g}}], clusters: [{name: g, cluster: {server: %q}}]}`, server.URL), 0o600))
	return file
}

// notStarted matches the message about a command that a node does not start, after
// the lines about the wait and the node.
var notStarted = regexp.MustCompile(`(?m)^kshell: node \S+ has not started the command within 35s; [^\n]+\nhint: [^\n]+\n\z`)

// A command that the kubelet does not start ends after 35 s. The translating API
// server completes the handshake before it asks the kubelet, so there the open
// connection proves nothing.
func TestStartTimeout_PausedKubelet(t *testing.T) {
	notInCI(t)
	breaks(t)
	pod := ready(t, sleeper(victim))
	silent := map[string]*live{}
	for name, s := range map[string]harness.Server{"kubelet": harness.MainServer, "apiserver": harness.TranslatingServer} {
		silent["gateway before "+name] = start(t, program(gateway(t, s)), nil, "exec", pod, "--", "true")
	}
	check(t, cluster.PauseKubelet(victim))
	for name, s := range map[string]harness.Server{"kubelet": harness.MainServer, "apiserver": harness.TranslatingServer} {
		silent["paused kubelet, "+name] = start(t, before(s), nil, "exec", pod, "--", "sh", "-c", "echo late; exit 6")
	}
	for name, l := range silent {
		t.Run(name, func(t *testing.T) {
			r := l.within(t, aMinute)
			if r.Code != 255 || r.Out != "" || !notStarted.MatchString(r.Err) || r.Took < 34*time.Second || r.Took > 50*time.Second {
				t.Errorf("after %v: exit code %d, stdout %q, stderr %q", r.Took, r.Code, r.Out, r.Err)
			}
		})
	}
	check(t, cluster.ResumeKubelet(victim))
}
