package harness

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

// newCluster returns a cluster that does not run, with its own state directory.
func newCluster(t *testing.T) *Cluster {
	t.Helper()
	c := &Cluster{Dir: t.TempDir()}
	for _, sub := range []string{"logs", "run", "pki", "images", "bin"} {
		if err := os.Mkdir(filepath.Join(c.Dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func TestProcess_StoppedByPid(t *testing.T) {
	c := newCluster(t)
	if err := c.start(process{name: "sleeper", argv: []string{"sleep", "1000"}}); err != nil {
		t.Fatal(err)
	}
	other := &Cluster{Dir: c.Dir}
	p, ok := other.find("sleeper")
	if !ok {
		t.Fatal("the process is not found")
	}
	if err := other.stop(t.Context(), "sleeper", syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if p.alive() {
		t.Error("the process still runs")
	}
	if _, ok := c.find("sleeper"); ok {
		t.Error("its pid file still exists")
	}
	if err := other.stop(t.Context(), "sleeper", syscall.SIGTERM); err != nil {
		t.Errorf("stopping a process that does not run: %v", err)
	}
}

func TestProcess_StoppedWhilePaused(t *testing.T) {
	c := newCluster(t)
	if err := c.start(process{name: "sleeper", argv: []string{"sleep", "1000"}}); err != nil {
		t.Fatal(err)
	}
	if err := c.signal("sleeper", syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if err := c.stop(t.Context(), "sleeper", syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > stopTimeout/2 {
		t.Errorf("it took %s", took)
	}
}

func TestProcess_PidReused(t *testing.T) {
	c := newCluster(t)
	stranger := exec.Command("sleep", "1000")
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	p, err := procOf(stranger.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.note("etcd", proc{pid: p.pid, start: "1"}); err != nil {
		t.Fatal(err)
	}
	if err := c.stop(t.Context(), "etcd", syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !p.alive() {
		t.Error("it was killed")
	}
}

func TestProcess_PidFileLost(t *testing.T) {
	c := newCluster(t)
	if err := c.start(process{name: "sleeper", argv: []string{"sleep", "1000"}}); err != nil {
		t.Fatal(err)
	}
	started, _ := c.find("sleeper")
	if err := os.Remove(c.pidFile("sleeper")); err != nil {
		t.Fatal(err)
	}
	markedProcesses, err := c.markedProcesses()
	if err != nil || !slices.Equal(markedProcesses, []proc{started}) {
		t.Fatalf("found %v, %v, want %v", markedProcesses, err, started)
	}
	// A process of a cluster whose directory has a longer name must not be
	// found.
	if others, err := (&Cluster{Dir: strings.TrimSuffix(c.Dir, "1")}).markedProcesses(); err != nil || len(others) != 0 {
		t.Errorf("found %v, %v for another directory", others, err)
	}
	if err := started.end(t.Context(), syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func TestWaitProcess_Ended(t *testing.T) {
	c := newCluster(t)
	if err := c.start(process{name: "etcd", argv: []string{"sh", "-c", "echo the port is taken; exit 1"}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := c.waitProcess(ctx, "etcd", func(context.Context) error { return errors.New("no answer") })
	if !errors.Is(err, errEnded) || !strings.Contains(err.Error(), "the port is taken") {
		t.Errorf("got %v", err)
	}
}

func TestProcFiles(t *testing.T) {
	stat := "123 (a) b (c)) S 1 123 123 0 -1 4194560 500 0 0 0 1 2 0 0 20 0 1 0 98765 1 2 3"
	if state, start, err := parseStat(stat); state != "S" || start != "98765" || err != nil {
		t.Errorf("stat: got %q, %q, %v", state, start, err)
	}
	if _, _, err := parseStat("123 (short) S"); err == nil {
		t.Error("a short stat line was accepted")
	}
	if pid := innermostPid("Name:\tkube\nNSpid:\t2034\t17\nThreads:\t1\n"); pid != "17" {
		t.Errorf("the innermost pid is %q", pid)
	}
	for _, text := range []string{"", "1 5", "-4 5", "0 5", "x 5", "77"} {
		if p, err := parsePid(text); err == nil {
			t.Errorf("%q is parsed as %v", text, p)
		}
	}
}

func TestNetwork_ServiceKubernetes(t *testing.T) {
	services := netip.MustParsePrefix(serviceCIDR)
	if first := services.Addr().Next(); first.String() != hostIP || mainPort != 443 {
		t.Errorf("the first service address is %s:443, the server is %s:%d", first, hostIP, mainPort)
	}
	for _, n := range nodes {
		if services.Contains(netip.MustParseAddr(n.ip)) {
			t.Errorf("%s has an address that a service may get", n.name)
		}
		if len(n.link) > 15 {
			t.Errorf("the name of the link %s is too long", n.link)
		}
	}
}

func TestPKI(t *testing.T) {
	c := newCluster(t)
	if err := c.writePKI(); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(c.pki("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		t.Fatal("no authority")
	}
	for _, want := range certificates() {
		text, err := os.ReadFile(c.pki(want.file + ".crt"))
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		usage := x509.ExtKeyUsageClientAuth
		if len(want.names) > 0 {
			usage = x509.ExtKeyUsageServerAuth
		}
		if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, KeyUsages: []x509.ExtKeyUsage{usage}}); err != nil {
			t.Errorf("%s: %v", want.file, err)
		}
		for _, name := range want.names {
			if err := cert.VerifyHostname(name); err != nil {
				t.Errorf("%s: %v", want.file, err)
			}
		}
	}
}

func TestKubeconfig(t *testing.T) {
	c := newCluster(t)
	if err := errors.Join(c.writePKI(), c.writeAccess()); err != nil {
		t.Fatal(err)
	}
	tokens, err := os.ReadFile(c.tokenFile())
	if err != nil {
		t.Fatal(err)
	}
	for path, server := range map[string]Server{c.Kubeconfig(): MainServer, c.KubeconfigTranslating(): TranslatingServer} {
		cfg, err := clientcmd.LoadFromFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if cfg.CurrentContext != Admin {
			t.Errorf("the current context is %s", cfg.CurrentContext)
		}
		for _, user := range Users() {
			rest, err := c.Config(user, server)
			if err != nil {
				t.Fatal(err)
			}
			if rest.Host != server.URL() || !strings.Contains(string(tokens), rest.BearerToken+","+user+",") {
				t.Errorf("%s: host %s, token %s", user, rest.Host, rest.BearerToken)
			}
		}
	}
	if n := strings.Count(string(tokens), "system:masters"); n != 1 {
		t.Errorf("%d users are masters", n)
	}
}

func TestNodeFiles(t *testing.T) {
	for _, n := range nodes {
		text, err := n.fill("kubelet", kubeletConfig)
		if err != nil {
			t.Fatal(err)
		}
		var kubelet map[string]any
		if err := yaml.UnmarshalStrict(text, &kubelet); err != nil || kubelet["address"] != n.ip {
			t.Errorf("the kubelet listens on %v, %v", kubelet["address"], err)
		}
		if text, err = n.fill("cni", cniConfig); err != nil || !json.Valid(text) || !bytes.Contains(text, []byte(n.podCIDR)) {
			t.Errorf("the network is %s, %v", text, err)
		}
		if text, err = n.fill("containerd", containerdConfig); err != nil || !bytes.Contains(text, []byte(pauseImage)) {
			t.Errorf("the configuration of containerd is %s, %v", text, err)
		}
	}
}

func TestManifests(t *testing.T) {
	images := []string{BusyboxImage, BashImage, AshImage, NoShellImage}
	for _, doc := range strings.Split(rbacManifest+"---\n"+workloadsManifest, "\n---\n") {
		var object map[string]any
		if err := yaml.UnmarshalStrict([]byte(doc), &object); err != nil || object["kind"] == nil {
			t.Errorf("%v in %s", err, doc)
		}
	}
	for line := range strings.Lines(workloadsManifest) {
		_, image, found := strings.Cut(line, "image: ")
		if !found {
			continue
		}
		image = strings.Trim(
			strings.FieldsFunc(image, func(r rune) bool { return r == ',' || r == '}' || r == '\n' })[0],
			`"`,
		)
		if !slices.Contains(images, image) && !strings.HasPrefix(image, unpullableHost) {
			t.Errorf("the image %s does not exist", image)
		}
	}
}

func TestImage_Archive(t *testing.T) {
	l := unixLayer()
	l.text("a/b/c", "deep")
	l.links["bin/sh"] = "/bin/busybox"
	first, err := archive([]string{"kshell.local/x:1"}, l, "sleep")
	if err != nil {
		t.Fatal(err)
	}
	second, err := archive([]string{"kshell.local/x:1"}, l, "sleep")
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the same content makes a different image, %v", err)
	}
	files := untar(t, first)
	var manifest []struct{ Layers, RepoTags []string }
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	if len(manifest) != 1 || manifest[0].RepoTags[0] != "kshell.local/x:1" {
		t.Fatalf("the manifest is %+v", manifest)
	}
	content := untar(t, files[manifest[0].Layers[0]])
	for _, path := range []string{"tmp/", "etc/passwd", "a/", "a/b/", "a/b/c", "bin/sh"} {
		if _, ok := content[path]; !ok {
			t.Errorf("%s is missing", path)
		}
	}
}

func untar(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

func TestImage_NoShell(t *testing.T) {
	tool := filepath.Join(t.TempDir(), "podtools")
	if err := os.WriteFile(tool, []byte("x"), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := toolLayer(tool, "hello", "cat")
	if err != nil {
		t.Fatal(err)
	}
	for path := range l.links {
		if isShell(filepath.Base(path)) {
			t.Errorf("%s exists", path)
		}
	}
	if len(l.files) != 1 || l.links["cat"] != "hello" {
		t.Errorf("the layer contains %v and %v", l.files, l.links)
	}
}

func TestRemoveState(t *testing.T) {
	c := newCluster(t)
	for _, path := range []string{"bin/kube", "logs/etcd.log", "pki/ca.crt", "kubeconfig", "run/etcd.pid"} {
		if err := os.WriteFile(filepath.Join(c.Dir, path), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.removeState(); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{
		"bin/kube": true, "logs.old/etcd.log": true, "logs/etcd.log": false, "pki/ca.crt": false, "kubeconfig": false,
		"run/etcd.pid": false,
	} {
		if _, err := os.Stat(filepath.Join(c.Dir, path)); (err == nil) != want {
			t.Errorf("%s exists: %v, want %v", path, err == nil, want)
		}
	}
}

func TestDown_NothingRuns(t *testing.T) {
	c := newCluster(t)
	for _, name := range []string{"kube", "podtools"} {
		if err := os.WriteFile(filepath.Join(c.Dir, "bin", name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.adopt(t.Context()); !errors.Is(err, errNothing) {
		t.Errorf("adopt: %v", err)
	}
	for _, component := range c.Components() {
		if component.Running {
			t.Errorf("%s runs", component.Name)
		}
	}
}
