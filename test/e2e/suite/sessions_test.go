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
	idle   = flag.Duration("idle", 5*time.Minute, "how long a session is idle behind HAProxy and nginx")
	resets = flag.Int("resets", 10, "resets of which the median counts")
	typed  = flag.Int("typed", 1000, "number of lines typed while the connection is cut at random times")
)

// world is the cluster by one of its servers.
func world(s harness.Server) contract.Setup {
	kubeconfig := cluster.Kubeconfig()
	if s == harness.TranslatingServer {
		kubeconfig = cluster.KubeconfigTranslating()
	}
	return contract.Setup{
		Program:   program(kubeconfig),
		Through:   func(t *testing.T) (*faultproxy.Proxy, []string) { return through(t, s) },
		Pod:       func(t *testing.T) string { return ready(t, sleeper("")) },
		Delete:    func(t *testing.T, pod string) { check(t, deletions["forced"](t.Context(), t, pod)) },
		Remaining: leftIn,
	}
}

func TestSessions(t *testing.T) {
	notInCI(t)
	onServers(t, func(t *testing.T, s harness.Server) { contract.Sessions(t, world(s)) })
}

func TestSessionsHaveTheirFigures(t *testing.T) {
	notInCI(t)
	onServers(t, func(t *testing.T, s harness.Server) {
		w := world(s)
		t.Run("reset", func(t *testing.T) {
			if median, _ := contract.Reset(t, w, *resets); median > time.Second {
				t.Errorf("a link that was reset is back after %v", median)
			}
		})
		t.Run("black hole", func(t *testing.T) {
			t.Parallel()
			took := contract.BlackHole(t, w)
			t.Logf("noticed after %v", took)
			if took > 25*time.Second {
				t.Errorf("a black hole is noticed after %v", took)
			}
		})
		t.Run("keys", func(t *testing.T) {
			t.Parallel()
			contract.TypeLines(t, w, *typed)
		})
	})
}

// shellIn opens a shell and gives it a prompt.
func shellIn(t *testing.T, p contract.Program, args ...string) *contract.Terminal {
	t.Helper()
	return p.Shell(t, append(slices.Concat([]string{"-it"}, args), "--", "sh")...)
}

func TestAShellTellsWhatBecomesOfItsPod(t *testing.T) {
	notInCI(t)
	onEach(t, func(t *testing.T, p contract.Program) {
		for how, remove := range deletions {
			t.Run(how, func(t *testing.T) {
				t.Parallel()
				pod := ready(t, sleeper(""))
				term := shellIn(t, p, pod)
				check(t, remove(t.Context(), t, pod))
				if code := term.Exit(); code != 137 && code != 255 {
					t.Errorf("exit code %d", code)
				}
				said := term.Text()
				if !strings.Contains(said, fmt.Sprintf("kshell: warning: pod %q ", pod)) && !strings.Contains(said, fmt.Sprintf("kshell: warning: container \"main\" of pod %q ", pod)) {
					t.Errorf("nothing is said of the pod: %q", said)
				}
			})
		}
		t.Run("out of memory", func(t *testing.T) {
			t.Parallel()
			spec := sleeper("")
			spec.Spec.Containers[0] = box("main", "sh", "-c", "until [ -e /grow ]; do sleep 0.1; done; exec tail /dev/zero")
			spec.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("32Mi")}
			pod := ready(t, spec)
			term := shellIn(t, p, pod)
			term.Type("touch /grow; sleep 600\r")
			how := term.WaitFor(fmt.Sprintf(`kshell: warning: container "main" of pod "%s" (was killed because it was out of memory|ended with exit code 137)`, pod))
			term.CheckExit(137)
			// The runtime may hear of the end before it hears of the reason: then nobody knows that.
			ended := sees(t, pod, "its end is told", func(p *corev1.Pod) bool { return lastEnd(p) != nil })
			if knows := lastEnd(ended).Reason == "OOMKilled"; knows && !strings.Contains(how, "out of memory") {
				t.Errorf("the reason is known, and was not said: %q", how)
			}
		})
		for mode, args := range map[string][]string{
			"on a terminal": {"-it"}, "in exact mode": {"--exact=always"}, "plainly": {"--exact=never"},
		} {
			t.Run("a container that restarts under a command "+mode, func(t *testing.T) {
				t.Parallel()
				spec := sleeper("")
				spec.Spec.Containers[0] = box("main", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
				pod := ready(t, spec)
				term := p.Open(t, slices.Concat([]string{"exec"}, args, []string{pod, "--", "sh", "-c", "kill 1; sleep 600"})...)
				term.CheckExit(137)
				if said := term.Text(); !strings.Contains(said, fmt.Sprintf("container \"main\" of pod %q ended with exit code 3", pod)) {
					t.Errorf("no message says that the container has ended: %q", said)
				}
			})
		}
		t.Run("a container that restarts under a shell", func(t *testing.T) {
			t.Parallel()
			spec := sleeper("")
			spec.Spec.Containers[0] = box("main", "sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
			pod := ready(t, spec)
			term := shellIn(t, p, pod)
			term.Type("kill 1\r")
			term.CheckExit(137)
			if said := term.Text(); !strings.Contains(said, fmt.Sprintf("container \"main\" of pod %q ended with exit code 3", pod)) {
				t.Errorf("no message says that the container has ended: %q", said)
			}
		})
		t.Run("a container that ends", func(t *testing.T) {
			t.Parallel()
			spec := sleeper("")
			spec.Spec.Containers[0] = box("main", "sh", "-c", "until [ -e /end ]; do sleep 0.1; done; exit 3")
			pod := ready(t, spec)
			term := shellIn(t, p, pod)
			term.Type("touch /end; sleep 600\r")
			term.CheckExit(137)
			if said := term.Text(); !strings.Contains(said, fmt.Sprintf("of pod %q ended with exit code", pod)) {
				t.Errorf("no message says that the container has ended: %q", said)
			}
		})
	})
}

// lastEnd is how a pod's first container ended last.
func lastEnd(p *corev1.Pod) *corev1.ContainerStateTerminated {
	if len(p.Status.ContainerStatuses) == 0 {
		return nil
	}
	s := p.Status.ContainerStatuses[0]
	return cmp.Or(s.State.Terminated, s.LastTerminationState.Terminated)
}

func TestAShellFollowsItsDeployment(t *testing.T) {
	notInCI(t)
	name := replicated(t, "suite-followed", 2)
	onEach(t, func(t *testing.T, p contract.Program) {
		for how, remove := range deletions {
			t.Run(how, func(t *testing.T) {
				eventually(t, "two pods are ready", func(ctx context.Context) (bool, error) {
					return countReady(ctx, t, "kshell=suite-followed") >= 2, nil
				})
				term := shellIn(t, p, "deploy/"+name)
				term.Type("hostname; echo e''nd\r")
				old := strings.Fields(term.WaitFor(`suite-\S+\r\nend`))[0]
				check(t, remove(t.Context(), t, old))
				term.WaitFor(`kshell: continuing in pod suite-\S+\r\n`)
				term.WaitFor(`connected again after [0-9]+ s: this is a new shell`)
				term.WaitFor(`[$#] `)
				term.Prompt()
				term.Type("hostname; echo e''nd\r")
				if next := strings.Fields(term.WaitFor(`suite-\S+\r\nend`))[0]; next == old {
					t.Errorf("it went on in the same pod")
				}
				term.Type("exit 3\r")
				term.CheckExit(3)
			})
		}
	})
}

// TestALostNodeIsTold kills a node under a shell. The API server goes on answering pings.
func TestALostNodeIsTold(t *testing.T) {
	notInCI(t)
	ctx := breaks(t)
	const victim = "node2"
	pod := ready(t, sleeper(victim))
	var shells []*contract.Terminal
	for _, way := range paths() {
		shells = append(shells, shellIn(t, program(way.kubeconfig), pod))
	}
	check(t, cluster.KillNode(ctx, victim))
	for _, term := range shells {
		term.WaitForWithin(2*time.Minute, `connection lost|lost contact with node`)
		term.WaitForWithin(time.Minute, `trying again in [0-9]+ s`)
		term.Type("\x04")
		term.CheckExit(255)
	}
	check(t, cluster.StartNode(ctx, victim))
	check(t, cluster.WaitNode(ctx, victim, true))
}

// TestAnIdleSessionOutlivesALoadBalancer has real ones between, that end what is idle for 10 s.
func TestAnIdleSessionOutlivesALoadBalancer(t *testing.T) {
	notInCI(t)
	for name, balance := range map[string]func(*testing.T, string) string{"haproxy": haproxy, "nginx": nginx} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := program(cluster.Kubeconfig())
			host, _, err := net.SplitHostPort(harness.MainServer.Addr())
			check(t, err)
			server := []string{"--server", "https://" + balance(t, harness.MainServer.Addr()), "--tls-server-name", host}
			if name == "nginx" { // it ends TLS itself
				server = append(server[:2], "--insecure-skip-tls-verify")
			}
			// That it does end what is idle is seen by a session that sends nothing.
			silent := p.Shell(t, slices.Concat(server, []string{"-it", "--keepalive=0", "--reconnect=never", "web", "--", "sh"})...)
			term := p.Shell(t, slices.Concat(server, []string{"-it", "web", "--", "sh"})...)
			lasts(*idle)
			term.Type("echo al''ive\r")
			term.WaitFor(`alive\r\n`)
			if strings.Contains(term.Text(), "connection lost") {
				t.Errorf("it was lost: %q", term.Text())
			}
			term.Type("exit 3\r")
			term.CheckExit(3)
			silent.CheckExit(255)
		})
	}
}

// haproxy passes TCP on.
func haproxy(t *testing.T, target string) (address string) {
	t.Helper()
	address = freePort(t)
	config := filepath.Join(t.TempDir(), "haproxy.cfg")
	check(t, os.WriteFile(config, fmt.Appendf(nil, `
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
	serveUntilTheEnd(t, address, exec.Command("/usr/sbin/haproxy", "-db", "-f", config))
	return address
}

// nginx ends TLS, and passes HTTP and WebSockets on.
func nginx(t *testing.T, target string) (address string) {
	t.Helper()
	address = freePort(t)
	dir := t.TempDir()
	cert, key := selfSigned(t)
	check(t, os.WriteFile(filepath.Join(dir, "cert.pem"), cert, 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "key.pem"), key, 0o600))
	config := filepath.Join(dir, "nginx.conf")
	check(t, os.WriteFile(config, fmt.Appendf(nil, `
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
			proxy_read_timeout 10s;
			proxy_send_timeout 10s;
		}
	}
}
`, dir, address, target), 0o600))
	serveUntilTheEnd(t, address, exec.Command("/usr/sbin/nginx", "-p", dir, "-c", config, "-e", filepath.Join(dir, "error.log")))
	return address
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.77.1:0") // where nobody else takes one meanwhile
	check(t, err)
	defer l.Close()
	return l.Addr().String()
}

// serveUntilTheEnd runs a server in a process group of its own, for as long as the test.
func serveUntilTheEnd(t *testing.T, address string, cmd *exec.Cmd) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	check(t, cmd.Start())
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
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	check(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

// countReady counts the ready pods with a label that are not on their way out.
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
