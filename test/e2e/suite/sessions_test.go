package suite

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"flag"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/test/contract"
	"kshell/test/e2e/harness"
	"kshell/test/faultproxy"
)

var (
	idle   = flag.Duration("idle", 5*time.Minute, "idle time of a session through HAProxy and nginx")
	resets = flag.Int("resets", 10, "number of resets for the median")
	typed  = flag.Int("typed", 1000, "number of lines typed while the connection is cut at random times")
)

// setup describes the cluster with one of its API servers.
func setup(s harness.Server) contract.Setup {
	kubeconfig := cluster.Kubeconfig()
	if s == harness.TranslatingServer {
		kubeconfig = cluster.KubeconfigTranslating()
	}
	return contract.Setup{
		Program:   program(kubeconfig),
		Through:   func(t *testing.T) (*faultproxy.Proxy, []string) { return proxied(t, s) },
		Pod:       func(t *testing.T) string { return createReady(t, sleeper("")) },
		Delete:    func(t *testing.T, pod string) { must(t, deletions["forced"](t.Context(), t, pod)) },
		Remaining: remainingIn,
	}
}

func TestSessions(t *testing.T) {
	notInCI(t)
	onServers(t, func(t *testing.T, s harness.Server) { contract.Sessions(t, setup(s)) })
}

func TestSessions_Durations(t *testing.T) {
	notInCI(t)
	onServers(t, func(t *testing.T, s harness.Server) {
		w := setup(s)
		t.Run("reset", func(t *testing.T) {
			if median, _ := contract.Reset(t, w, *resets); median > time.Second {
				t.Errorf("the shell was reconnected after %v", median)
			}
		})
		t.Run("half-open link", func(t *testing.T) {
			t.Parallel()
			took := contract.HalfOpen(t, w)
			t.Logf("detected after %v", took)
			if took > 25*time.Second {
				t.Errorf("a half-open link was detected after %v", took)
			}
		})
		t.Run("outages", func(t *testing.T) {
			t.Parallel()
			contract.Outages(t, w)
		})
		t.Run("keys", func(t *testing.T) {
			t.Parallel()
			contract.TypeLines(t, w, *typed)
		})
	})
}

// shellIn opens a shell and sets its prompt.
func shellIn(t *testing.T, p contract.Program, args ...string) *contract.Terminal {
	t.Helper()
	return p.Shell(t, append(slices.Concat([]string{"-it"}, args), "--", "sh")...)
}

func TestSessions_PodEvents(t *testing.T) {
	notInCI(t)
	onEach(t, func(t *testing.T, p contract.Program) {
		for how, remove := range deletions {
			t.Run(how, func(t *testing.T) {
				t.Parallel()
				pod := createReady(t, sleeper(""))
				term := shellIn(t, p, pod)
				must(t, remove(t.Context(), t, pod))
				if code := term.Exit(); code != 137 && code != 255 {
					t.Errorf("exit code %d", code)
				}
				said := term.Text()
				if !strings.Contains(said, fmt.Sprintf("kshell: warning: pod %q ", pod)) &&
					!strings.Contains(said, fmt.Sprintf("kshell: warning: container \"main\" of pod %q ", pod)) {
					t.Errorf("no message about the pod: %q", said)
				}
			})
		}
		t.Run("out of memory", func(t *testing.T) {
			t.Parallel()
			spec := sleeper("")
			spec.Spec.Containers[0] = busyboxContainer("main", "sh", "-c",
				"until [ -e /grow ]; do sleep 0.1; done; exec tail /dev/zero")
			spec.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}
			pod := createReady(t, spec)
			term := shellIn(t, p, pod)
			term.Type("touch /grow; sleep 600\r")
			how := term.WaitFor(
				fmt.Sprintf(
					`kshell: warning: container "main" of pod "%s" (was killed because it was out of memory|ended with exit code 137)`,
					pod,
				),
			)
			term.CheckExit(137)
			// The runtime may report that the container has ended before it
			// knows why. Then kshell cannot report the reason.
			ended := waitForPod(t, pod, "the container has ended", func(p *corev1.Pod) bool { return lastEnd(p) != nil })
			if knows := lastEnd(ended).Reason == "OOMKilled"; knows && !strings.Contains(how, "out of memory") {
				t.Errorf("the reason is known, but no message contains it: %q", how)
			}
		})
		for mode, args := range map[string][]string{
			"on a terminal": {"-it"}, "in exact mode": {"--exact=always"}, "without exact mode": {"--exact=never"},
		} {
			t.Run("a container that restarts under a command "+mode, func(t *testing.T) {
				t.Parallel()
				spec := sleeper("")
				spec.Spec.Containers[0] = busyboxContainer("main", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
				pod := createReady(t, spec)
				term := p.Open(t, slices.Concat([]string{"exec"}, args, []string{pod, "--", "sh", "-c", "kill 1; sleep 600"})...)
				term.CheckExit(137)
				if said := term.Text(); !strings.Contains(
					said,
					fmt.Sprintf("container \"main\" of pod %q ended with exit code 3", pod),
				) {
					t.Errorf("no message says that the container has ended: %q", said)
				}
			})
		}
		t.Run("a container that restarts under a shell", func(t *testing.T) {
			t.Parallel()
			spec := sleeper("")
			spec.Spec.Containers[0] = busyboxContainer("main", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
			pod := createReady(t, spec)
			term := shellIn(t, p, pod)
			term.Type("kill 1\r")
			term.CheckExit(137)
			if said := term.Text(); !strings.Contains(
				said,
				fmt.Sprintf("container \"main\" of pod %q ended with exit code 3", pod),
			) {
				t.Errorf("no message says that the container has ended: %q", said)
			}
		})
		t.Run("a container that ends", func(t *testing.T) {
			t.Parallel()
			spec := sleeper("")
			spec.Spec.Containers[0] = busyboxContainer("main", "sh", "-c", "until [ -e /end ]; do sleep 0.1; done; exit 3")
			pod := createReady(t, spec)
			term := shellIn(t, p, pod)
			term.Type("touch /end; sleep 600\r")
			term.CheckExit(137)
			if said := term.Text(); !strings.Contains(said, fmt.Sprintf("of pod %q ended with exit code", pod)) {
				t.Errorf("no message says that the container has ended: %q", said)
			}
		})
	})
}

// lastEnd returns how the first container of a pod last ended.
func lastEnd(p *corev1.Pod) *corev1.ContainerStateTerminated {
	if len(p.Status.ContainerStatuses) == 0 {
		return nil
	}
	s := p.Status.ContainerStatuses[0]
	return cmp.Or(s.State.Terminated, s.LastTerminationState.Terminated)
}

func TestSessions_Deployment(t *testing.T) {
	notInCI(t)
	name := createDeployment(t, "suite-followed", 2)
	onEach(t, func(t *testing.T, p contract.Program) {
		for how, remove := range deletions {
			t.Run(how, func(t *testing.T) {
				eventually(t, "two pods are ready", func(ctx context.Context) (bool, error) {
					return countReady(ctx, t, "kshell=suite-followed") >= 2, nil
				})
				term := shellIn(t, p, "deploy/"+name)
				term.Type("hostname; echo e''nd\r")
				old := strings.Fields(term.WaitFor(`suite-\S+\r\nend`))[0]
				must(t, remove(t.Context(), t, old))
				term.WaitFor(`kshell: continuing in pod suite-\S+\r\n`)
				term.WaitFor(`connected again after [0-9]+ s: this is a new shell`)
				term.WaitFor(`[$#] `)
				term.Prompt()
				term.Type("hostname; echo e''nd\r")
				if next := strings.Fields(term.WaitFor(`suite-\S+\r\nend`))[0]; next == old {
					t.Errorf("the new shell is in the same pod")
				}
				term.Type("exit 3\r")
				term.CheckExit(3)
			})
		}
	})
}

// TestSessions_NodeLost kills a node during a shell. The API server still
// answers pings.
func TestSessions_NodeLost(t *testing.T) {
	notInCI(t)
	ctx := breaksCluster(t)
	const faultyNode = "node2"
	pod := createReady(t, sleeper(faultyNode))
	var shells []*contract.Terminal
	for _, way := range apiPaths() {
		shells = append(shells, shellIn(t, program(way.kubeconfig), pod))
	}
	must(t, cluster.KillNode(ctx, faultyNode))
	for _, term := range shells {
		term.WaitForWithin(2*time.Minute, `connection lost|lost contact with node`)
		term.WaitForWithin(time.Minute, `trying again in [0-9]+ s`)
		term.Type("\x04")
		term.CheckExit(255)
	}
	must(t, cluster.StartNode(ctx, faultyNode))
	must(t, cluster.WaitNode(ctx, faultyNode, true))
}

// TestSessions_IdleLoadBalancer uses load balancers that close connections that
// are idle for 10 s.
func TestSessions_IdleLoadBalancer(t *testing.T) {
	notInCI(t)
	for name, balance := range map[string]func(*testing.T, string) string{"haproxy": haproxy, "nginx": nginx} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := program(cluster.Kubeconfig())
			host, _, err := net.SplitHostPort(harness.MainServer.Addr())
			must(t, err)
			server := []string{"--server", "https://" + balance(t, harness.MainServer.Addr()), "--tls-server-name", host}
			if name == "nginx" { // nginx terminates TLS
				server = append(server[:2], "--insecure-skip-tls-verify")
			}
			checkIdleShell(t, p, *idle, server...)
		})
	}
}

// checkIdleShell checks two shells that are idle for a while, through a load
// balancer that closes connections that are idle for a shorter time. A shell
// must keep its connection. A shell without pings must lose it, which shows
// that the load balancer closes idle connections. server are the flags of the
// server.
func checkIdleShell(t *testing.T, p contract.Program, idle time.Duration, server ...string) {
	t.Helper()
	silent := p.Shell(
		t,
		slices.Concat(server, []string{"-it", "--keepalive=0", "--reconnect=never", "web", "--", "sh"})...)
	term := p.Shell(t, slices.Concat(server, []string{"-it", "web", "--", "sh"})...)
	keepFault(idle)
	term.Type("echo al''ive\r")
	term.WaitFor(`alive\r\n`)
	if strings.Contains(term.Text(), "connection lost") {
		t.Errorf("the connection was lost: %q", term.Text())
	}
	term.Type("exit 3\r")
	term.CheckExit(3)
	silent.CheckExit(255)
}

// haproxy starts HAProxy, which passes TCP on.
func haproxy(t *testing.T, target string) (address string) {
	t.Helper()
	address = freePort(t)
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `
defaults
	mode tcp
	timeout connect 10s
	timeout client 10s
	timeout server 10s
	timeout tunnel 10s
listen api
	bind %s
	server api %s
`, address, target), 0o600))
	serveDuringTest(t, address, exec.Command("/usr/sbin/haproxy", "-db", "-f", config))
	return address
}

// nginx starts nginx with timeouts of 10 s.
func nginx(t *testing.T, target string) (address string) {
	t.Helper()
	address, _ = startNginx(t, target, "proxy_read_timeout 10s; proxy_send_timeout 10s;")
	return address
}

// nobodyID is the ID of the user and the group nobody.
const nobodyID = 65534

// startNginx starts nginx as an unprivileged user. nginx terminates TLS, and
// passes HTTP and WebSockets on to target. settings are directives that change
// the defaults, such as timeouts. cert is the certificate of nginx, in PEM.
func startNginx(t *testing.T, target, settings string) (address string, cert []byte) {
	t.Helper()
	address = freePort(t)
	dir, err := os.MkdirTemp("", "nginx-") // only root can read t.TempDir
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	cert, key := selfSigned(t)
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	must(t, os.WriteFile(certFile, cert, 0o600))
	must(t, os.WriteFile(keyFile, key, 0o600))
	config := filepath.Join(dir, "nginx.conf")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `
daemon off;
pid %[1]s/pid;
error_log %[1]s/error.log;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	map $http_upgrade $connection_upgrade { default upgrade; '' close; }
	server {
		listen %[2]s ssl;
		ssl_certificate %[1]s/cert.pem;
		ssl_certificate_key %[1]s/key.pem;
		location / {
			proxy_pass https://%[3]s;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection $connection_upgrade;
			proxy_set_header Host $http_host;
			%[4]s
		}
	}
}
`, dir, address, target, settings), 0o600))
	for _, file := range []string{dir, certFile, keyFile, config} {
		must(t, os.Chown(file, nobodyID, nobodyID))
	}
	cmd := exec.Command("/usr/sbin/nginx", "-p", dir, "-c", config, "-e", filepath.Join(dir, "error.log"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobodyID, Gid: nobodyID}}
	serveDuringTest(t, address, cmd)
	return address, cert
}

// loadBalancerIP is an address that no other process uses.
var loadBalancerIP = net.IPv4(127, 0, 77, 1)

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", loadBalancerIP.String()+":0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// serveDuringTest runs a server in its own process group until the end of the
// test.
func serveDuringTest(t *testing.T, address string, cmd *exec.Cmd) {
	t.Helper()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %s", cmd.Path, said.String())
		}
	})
	eventually(t, cmd.Path+" answers", func(context.Context) (bool, error) {
		c, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			err = c.Close()
		}
		return err == nil, err
	})
}

func selfSigned(t *testing.T) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), loadBalancerIP, net.ParseIP(harness.HeadlampIP)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return pem.EncodeToMemory(
			&pem.Block{Type: "CERTIFICATE", Bytes: der},
		), pem.EncodeToMemory(
			&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8},
		)
}

// countReady counts the ready pods with a label that are not terminating.
func countReady(ctx context.Context, t *testing.T, selector string) (n int) {
	pods, err := clientset(t).CoreV1().Pods(harness.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return 0
	}
	for _, p := range pods.Items {
		if isReady(&p) && p.DeletionTimestamp == nil {
			n++
		}
	}
	return n
}

func TestWatches(t *testing.T) {
	notInCI(t)
	onServers(t, func(t *testing.T, s harness.Server) { contract.Watches(t, setup(s)) })
}
