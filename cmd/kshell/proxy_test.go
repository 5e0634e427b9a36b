//go:build unix

package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/sandbox"
)

// proxiedURL is an address of the sandbox that only a proxy can reach: the name
// is in the certificate, but not in the DNS.
const proxiedURL = "https://sandbox.invalid:6443"

// proxy is a proxy that connects every client to the sandbox.
type proxy struct {
	url string
	to  string // host:port

	mu    sync.Mutex
	asked []string // the requested addresses, as host:port
}

// connect copies between a client and the sandbox until both connections have
// ended.
func (p *proxy) connect(client net.Conn, early io.Reader, asked string) {
	p.mu.Lock()
	p.asked = append(p.asked, asked)
	p.mu.Unlock()
	defer client.Close()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	})
	_, _ = io.Copy(server, early)
	_ = server.Close()
	back.Wait()
}

// requested returns the requested addresses, each once.
func (p *proxy) requested() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Clone(p.asked)
	slices.Sort(all)
	return slices.Compact(all)
}

const proxyUser, proxyPassword = "me", "open sesame"

// ServeHTTP implements http.Handler. It accepts only CONNECT with the password.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	known := "Basic " + base64.StdEncoding.EncodeToString([]byte(proxyUser+":"+proxyPassword))
	if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != known {
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	client, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n")
	p.connect(client, rw, r.Host)
}

// serveSOCKS serves a SOCKS5 client (RFC 1928 and 1929). It accepts only
// CONNECT to a name or an IPv4 address, with the password.
func (p *proxy) serveSOCKS(c net.Conn) {
	r := bufio.NewReader(c)
	asked, err := greetSOCKS(c, r)
	if err != nil {
		_ = c.Close()
		return
	}
	p.connect(c, r, asked)
}

var errSOCKS = errors.New("invalid SOCKS5 request")

// greetSOCKS reads the requests of a SOCKS5 client, and returns the requested
// address.
func greetSOCKS(c io.Writer, r *bufio.Reader) (asked string, err error) {
	field := func() string { // a length, and as many bytes
		n, _ := r.ReadByte()
		b := make([]byte, n)
		_, err = io.ReadFull(r, b)
		return string(b)
	}
	if v, _ := r.ReadByte(); v != 5 || !strings.Contains(field(), "\x02") {
		return "", errSOCKS
	}
	_, _ = c.Write([]byte{5, 2})
	if v, _ := r.ReadByte(); v != 1 || field() != proxyUser || field() != proxyPassword {
		_, _ = c.Write([]byte{1, 1})
		return "", errSOCKS
	}
	_, _ = c.Write([]byte{1, 0})
	head := make([]byte, 4)
	if _, err := io.ReadFull(r, head); err != nil {
		return "", err
	}
	var host string
	switch head[3] {
	case 1:
		ip := make(net.IP, 4)
		_, err = io.ReadFull(r, ip)
		host = ip.String()
	case 3:
		host = field()
	default:
		return "", errSOCKS
	}
	port := make([]byte, 2)
	if _, err := io.ReadFull(r, port); err != nil {
		return "", err
	}
	_, _ = c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	return net.JoinHostPort(host, strconv.Itoa(int(port[0])<<8|int(port[1]))), err
}

// startSOCKS starts a SOCKS5 server.
func startSOCKS(t *testing.T, p *proxy) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.serveSOCKS(c) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		running.Wait()
	})
	return l.Addr().String()
}

// startProxy starts a proxy. trust is the certificate of an https proxy, in
// PEM.
func startProxy(t *testing.T, s *sandbox.Server, scheme string) (p *proxy, trust []byte) {
	t.Helper()
	p = &proxy{to: strings.TrimPrefix(s.URL(), "https://")}
	var address string
	switch scheme {
	case "socks5":
		address = startSOCKS(t, p)
	default:
		server := httptest.NewUnstartedServer(p)
		if scheme == "https" {
			server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
			server.StartTLS()
			trust = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
		} else {
			server.Start()
		}
		t.Cleanup(server.Close)
		address = server.Listener.Addr().String()
	}
	u := url.URL{Scheme: scheme, User: url.UserPassword(proxyUser, proxyPassword), Host: address}
	p.url = u.String()
	return p, trust
}

// kubeconfigOf writes a copy of the sandbox's kubeconfig, modified by the
// function change, and returns its path.
func kubeconfigOf(
	t *testing.T, s *sandbox.Server, change func(all *clientcmdapi.Config, cluster *clientcmdapi.Cluster),
) string {
	t.Helper()
	all, err := clientcmd.LoadFromFile(s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	change(all, all.Clusters["sandbox"])
	path := filepath.Join(t.TempDir(), "config")
	if err := clientcmd.WriteToFile(*all, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// eachTransport runs a test twice: with a user for whom kshell uses WebSocket,
// and with a user who has only the rights for SPDY.
func eachTransport(t *testing.T, test func(t *testing.T, s *sandbox.Server, user string)) {
	t.Helper()
	for name, user := range map[string]string{"WebSocket": "sandbox", "SPDY": "create-only"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			test(t, s, user)
			if all := s.Sessions(); len(all) != 1 || strings.HasPrefix(all[0].Subprotocol, sandbox.SPDY) != (name == "SPDY") {
				t.Errorf("sessions: %+v", all)
			}
		})
	}
}

// mustExec runs a command that copies its input to its output and exits with 7.
func mustExec(t *testing.T, s *sandbox.Server, env []string, args ...string) {
	t.Helper()
	cmd := command(t, s, append(args, "exec", "-i", "web", "--", "sh", "-c", "cat; exit 7")...)
	cmd.Env = append(slices.DeleteFunc(cmd.Env, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasSuffix(strings.ToLower(name), "_proxy") // may be set on the machine that runs the tests
	}), env...)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = strings.NewReader("text"), &stderr
	out, _ := cmd.Output()
	if got := cmd.ProcessState.ExitCode(); got != 7 || string(out) != "text" || stderr.Len() > 0 {
		t.Errorf("exit code %d, stdout %q, stderr %s", got, out, &stderr)
	}
}

func TestProxy(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"http", "https", "socks5"} {
		for _, by := range []string{"HTTPS_PROXY", "proxy-url"} {
			t.Run(scheme+" by "+by, func(t *testing.T) {
				t.Parallel()
				eachTransport(t, func(t *testing.T, s *sandbox.Server, user string) {
					p, trust := startProxy(t, s, scheme)
					var env []string
					path := kubeconfigOf(t, s, func(_ *clientcmdapi.Config, c *clientcmdapi.Cluster) {
						c.Server = proxiedURL
						c.CertificateAuthorityData = append(c.CertificateAuthorityData, trust...)
						if by == "proxy-url" {
							c.ProxyURL = p.url
						} else {
							env = []string{by + "=" + p.url}
						}
					})
					mustExec(t, s, env, "--kubeconfig", path, "--context", user)
					if got := p.requested(); !slices.Equal(got, []string{"sandbox.invalid:6443"}) {
						t.Errorf("requests to the proxy: %q", got)
					}
				})
			})
		}
	}
}

// The test uses 0.0.0.0, which is an address of this machine, because no proxy
// is ever used for loopback addresses.
func TestProxy_NoProxy(t *testing.T) {
	t.Parallel()
	for noProxy, direct := range map[string]bool{
		"":                            false,
		"0.0.0.0/8":                   true, // client-go handles networks in NO_PROXY
		"10.0.0.0/8,0.0.0.0":          true,
		"192.168.0.0/16,sandbox.test": false,
		"*":                           true,
	} {
		t.Run("NO_PROXY="+strings.ReplaceAll(noProxy, "/", "-"), func(t *testing.T) {
			t.Parallel()
			eachTransport(t, func(t *testing.T, s *sandbox.Server, user string) {
				p, _ := startProxy(t, s, "http")
				here := strings.Replace(s.URL(), "127.0.0.1", "0.0.0.0", 1)
				path := kubeconfigOf(t, s, func(_ *clientcmdapi.Config, c *clientcmdapi.Cluster) {
					c.Server, c.TLSServerName = here, "sandbox.invalid"
				})
				mustExec(t, s, []string{"HTTPS_PROXY=" + p.url, "NO_PROXY=" + noProxy}, "--kubeconfig", path, "--context", user)
				if asked := p.requested(); (len(asked) == 0) != direct {
					t.Errorf("requests to the proxy: %q", asked)
				}
			})
		})
	}
}

func TestProxy_Refuses(t *testing.T) {
	t.Parallel()
	s := startSandbox(t)
	p, _ := startProxy(t, s, "http")
	path := kubeconfigOf(t, s, func(_ *clientcmdapi.Config, c *clientcmdapi.Cluster) {
		c.Server, c.ProxyURL = proxiedURL, strings.Replace(p.url, "open", "shut", 1)
	})
	cmd := command(t, s, "--kubeconfig", path, "-v", "exec", "web", "--", "ls")
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); got != 255 || !strings.Contains(string(out), "Proxy Authentication Required") {
		t.Errorf("%v: %s", err, out)
	}
	if strings.Contains(string(out), "sesame") {
		t.Errorf("the password is printed: %s", out)
	}
}

func TestTLSServerName(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{"sandbox.invalid": true, "other.invalid": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			cmd := command(t, s, "--tls-server-name", name, "exec", "web", "--", "true")
			out, _ := cmd.CombinedOutput()
			if got := cmd.ProcessState.ExitCode() == 0; got != ok || !ok && !strings.Contains(string(out), name) {
				t.Errorf("exit code %d: %s", cmd.ProcessState.ExitCode(), out)
			}
		})
	}
	eachTransport(t, func(t *testing.T, s *sandbox.Server, user string) {
		mustExec(t, s, nil, "--tls-server-name", "sandbox.invalid", "--context", user)
	})
}

// writeFile writes a file in a temporary directory, and returns its path.
func writeFile(t *testing.T, name, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}
