package harness

import (
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// StateVar is the environment variable that names the state directory.
const StateVar = "KSHELL_E2E_STATE"

// Cluster is a cluster, running or not. All of its state is in Dir. Its methods
// must not be called concurrently.
type Cluster struct {
	// Dir is the absolute path of the state directory.
	Dir string
	// Log, if not nil, is called with each line of progress, without a newline.
	Log func(line string)
}

// DefaultDir returns the directory that $KSHELL_E2E_STATE names, or else
// kshell-e2e in the user's cache directory.
func DefaultDir() (string, error) {
	if dir := os.Getenv(StateVar); dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	return filepath.Join(cache, "kshell-e2e"), err
}

// Open returns the cluster with the state directory dir; "" means DefaultDir.
// The cluster need not run.
func Open(dir string) (*Cluster, error) {
	if dir == "" {
		var err error
		if dir, err = DefaultDir(); err != nil {
			return nil, err
		}
	}
	dir, err := filepath.Abs(dir)
	return &Cluster{Dir: dir}, err
}

func (c *Cluster) say(format string, args ...any) {
	if c.Log != nil {
		c.Log(fmt.Sprintf(format, args...))
	}
}

// components returns the names of all processes of the cluster, in the order in
// which they are stopped.
func (c *Cluster) components() []string {
	var names []string
	for _, n := range nodes {
		names = append(names, n.name, kubeletOf(n), containerdOf(n))
	}
	return append(names, schedulerName, controllerName, string(TranslatingServer), string(MainServer), etcdName)
}

// rootError means that the caller is not root.
type rootError struct{}

func (rootError) Error() string {
	return "a cluster needs root: it makes namespaces, a bridge and mounts"
}
func (rootError) Hint() string { return "run it as root" }

// lock prevents other calls of Up and Down with the same state directory until
// the returned function is called.
func (c *Cluster) lock(ctx context.Context) (func(), error) {
	if os.Geteuid() != 0 {
		return nil, rootError{}
	}
	if err := os.MkdirAll(c.Dir, 0o750); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(c.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = waitFor(ctx, 500*time.Millisecond,
		func(context.Context) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) })
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("another up or down is using %s: %w", c.Dir, err)
	}
	return func() { _ = f.Close() }, nil
}

// Up starts the cluster, and returns when all seeded workloads are in their
// expected states. If a healthy cluster runs, Up uses it, and creates missing
// workloads. A broken cluster, or one of another version of this package, is
// replaced.
//
// Up installs missing Debian packages, and builds Kubernetes, which takes
// minutes the first time. The working directory must be in the module
// kshell/test/e2e.
func (c *Cluster) Up(ctx context.Context) error {
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	owner, err := bridgeOwner()
	if err != nil {
		return err
	}
	if owner != "" && owner != c.Dir {
		return fmt.Errorf("another cluster runs on this machine, with its state in %s: stop it first", owner)
	}
	if err := c.installPackages(ctx); err != nil {
		return err
	}
	for _, sub := range []string{"bin", "logs", "run", "images", "pki"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, sub), 0o750); err != nil {
			return err
		}
	}
	if err := c.build(ctx); err != nil {
		return err
	}
	if err := c.adopt(ctx); err == nil {
		c.say("using the running cluster")
		return nil
	} else if !errors.Is(err, errNothing) {
		c.say("replacing the existing cluster: %v", err)
	}
	if err := c.clear(ctx); err != nil {
		return err
	}
	return c.create(ctx)
}

var errNothing = errors.New("no cluster runs")

// adopt returns nil if a complete cluster of this version runs.
func (c *Cluster) adopt(ctx context.Context) error {
	running := 0
	var dead []string
	for _, name := range c.components() {
		if _, ok := c.find(name); ok {
			running++
		} else {
			dead = append(dead, name)
		}
	}
	switch {
	case running == 0:
		return errNothing
	case len(dead) > 0:
		return fmt.Errorf("%s does not run", strings.Join(dead, ", "))
	}
	print, err := c.fingerprint()
	if err != nil {
		return err
	}
	if made, _ := os.ReadFile(c.fingerprintFile()); string(made) != print {
		return errors.New("it was started by another version of this package, or by an up that did not finish")
	}
	ctx, cancel := context.WithTimeout(ctx, 45*time.Second)
	defer cancel()
	return c.Restore(ctx)
}

// fingerprintFile returns the path of the file that contains the fingerprint of
// the complete cluster.
func (c *Cluster) fingerprintFile() string { return filepath.Join(c.Dir, "fingerprint") }

// fingerprint returns a digest of everything that determines a cluster: its
// files, the command lines, and the build information of the programs. It does
// not depend on the machine that built them.
func (c *Cluster) fingerprint() (string, error) {
	h := sha256.New()
	for _, text := range []string{string(nodeScript), kubeletConfig, containerdConfig, cniConfig, auditPolicy} {
		fmt.Fprintf(h, "%d %s", len(text), text)
	}
	for _, p := range []process{
		c.etcd(), c.apiServer(MainServer), c.apiServer(TranslatingServer), c.controllers(), c.scheduler(),
	} {
		fmt.Fprintf(h, "%q\n", p.argv)
	}
	for _, name := range []string{"kube", "podtools"} {
		info, err := buildinfo.ReadFile(filepath.Join(c.Dir, "bin", name))
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%s %s\n", name, info)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// create starts a new cluster.
func (c *Cluster) create(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	began := time.Now()
	steps := []struct {
		what string
		do   func(context.Context) error
	}{
		{"keys and kubeconfig files", func(context.Context) error { return errors.Join(c.writePKI(), c.writeAccess()) }},
		{"images", func(context.Context) error { return c.makeImages() }},
		{"network", c.makeBridge},
		{"nodes with images, etcd, API server", c.startMachinesAndServers},
		{"kubelets", c.startKubelets},
		{"workloads", c.Seed},
		{"nodes ready", c.waitNodes},
		{"workloads ready", c.WaitSeeds},
		{"second API server ready", func(ctx context.Context) error { return c.WaitServer(ctx, TranslatingServer) }},
	}
	for _, step := range steps {
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w (logs in %s)", step.what, err, filepath.Join(c.Dir, "logs"))
		}
		c.say("%5.1fs %s", time.Since(began).Seconds(), step.what)
	}
	print, err := c.fingerprint()
	if err != nil {
		return err
	}
	return os.WriteFile(c.fingerprintFile(), []byte(print), 0o600)
}

// startMachinesAndServers starts the nodes and the control plane concurrently.
func (c *Cluster) startMachinesAndServers(ctx context.Context) error {
	tasks := []func() error{func() error { return c.startControlPlane(ctx) }}
	for _, n := range nodes {
		tasks = append(tasks, func() error { return c.prepareAndBoot(ctx, n) })
	}
	results := make(chan error, len(tasks))
	for _, task := range tasks {
		go func() { results <- task() }()
	}
	var failed error
	for range tasks {
		failed = errors.Join(failed, <-results)
	}
	return failed
}

func (c *Cluster) prepareAndBoot(ctx context.Context, n node) error {
	if err := c.prepareNode(n); err != nil {
		return err
	}
	return c.boot(ctx, n)
}

func (c *Cluster) startKubelets(context.Context) error {
	for _, n := range nodes {
		if err := c.StartKubelet(n.name); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) waitNodes(ctx context.Context) error {
	for _, n := range nodes {
		if err := c.WaitNode(ctx, n.name, true); err != nil {
			return fmt.Errorf("%w\n%s", err, c.logTail(kubeletOf(n)))
		}
	}
	return nil
}

// Down stops everything, and removes the bridge, the cgroups and the state of
// the cluster. It keeps the binaries and the logs.
func (c *Cluster) Down(ctx context.Context) error {
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	return c.clear(ctx)
}

// clear stops all processes that belong to this state directory, whether they
// have a pid file or not, and removes what they leave. It returns no error if
// there are no processes.
func (c *Cluster) clear(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, name := range c.components() {
		if err := c.stop(ctx, name, syscall.SIGKILL); err != nil {
			return err
		}
	}
	markedProcesses, err := c.markedProcesses()
	if err != nil {
		return err
	}
	for _, p := range markedProcesses {
		if err := p.end(ctx, syscall.SIGKILL); err != nil {
			return err
		}
	}
	if err := c.removeBridge(ctx); err != nil {
		return err
	}
	for _, n := range nodes {
		if err := removeCgroups(ctx, n); err != nil {
			return err
		}
	}
	return c.removeState()
}

// removeState removes everything except the binaries and the logs. It moves the
// logs to logs.old.
func (c *Cluster) removeState() error {
	gone := []string{"etcd", "pki", "run", "images", "fingerprint", "kubeconfig", "kubeconfig-v5-apiserver"}
	for _, name := range append(gone, Nodes()...) {
		if err := os.RemoveAll(filepath.Join(c.Dir, name)); err != nil {
			return err
		}
	}
	logs, old := filepath.Join(c.Dir, "logs"), filepath.Join(c.Dir, "logs.old")
	if entries, err := os.ReadDir(logs); err == nil && len(entries) > 0 {
		if err := os.RemoveAll(old); err != nil {
			return err
		}
		if err := os.Rename(logs, old); err != nil {
			return err
		}
	}
	for _, sub := range []string{"logs", "run", "images", "pki"} {
		if err := os.MkdirAll(filepath.Join(c.Dir, sub), 0o750); err != nil {
			return err
		}
	}
	return nil
}
