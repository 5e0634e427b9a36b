package harness

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

//go:embed node.sh
var nodeScript []byte

//go:embed kubelet.yaml
var kubeletConfig string

//go:embed containerd.toml
var containerdConfig string

//go:embed cni.json
var cniConfig string

const nodeNamespaces = syscall.CLONE_NEWNS | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC |
	syscall.CLONE_NEWNET | syscall.CLONE_NEWPID

func (c *Cluster) nodeDir(n node) string { return filepath.Join(c.Dir, n.name) }

func kubeletOf(n node) string    { return "kubelet-" + n.name }
func containerdOf(n node) string { return "containerd-" + n.name }

// prepareNode writes the files of a node: directories that are mounted in it,
// and the configuration of its daemons.
func (c *Cluster) prepareNode(n node) error {
	dir := c.nodeDir(n)
	for _, sub := range []string{"root", "containerd", "kubelet", "log", "cni", "etc"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o750); err != nil {
			return err
		}
	}
	copies := map[string]string{
		c.pki("ca.crt"):                "ca.crt",
		c.pki(n.name + "-serving.crt"): "serving.crt",
		c.pki(n.name + "-serving.key"): "serving.key",
		c.componentConfig(n.name):      "kubeconfig",
	}
	for from, to := range copies {
		text, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "etc", to), text, 0o600); err != nil { //nolint:gosec // in dir
			return err
		}
	}
	files := map[string]string{
		"etc/kubelet.yaml":       kubeletConfig,
		"etc/containerd.toml":    containerdConfig,
		"cni/10-bridge.conflist": cniConfig,
	}
	for path, text := range files {
		text, err := n.fill(path, text)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, path), text, 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "node.sh"), nodeScript, 0o600)
}

// fill executes the template of one of the node's files.
func (n node) fill(name, text string) ([]byte, error) {
	t, err := template.New(name).Parse(text)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, map[string]string{"Name": n.name, "IP": n.ip, "PodCIDR": n.podCIDR, "PauseImage": pauseImage})
	return out.Bytes(), err
}

// startMachine creates the namespaces and the network link of a node, without
// daemons.
func (c *Cluster) startMachine(ctx context.Context, n node) error {
	dir := c.nodeDir(n)
	machine := process{
		name:       n.name,
		argv:       []string{"bash", filepath.Join(dir, "node.sh"), "join", n.name, dir, filepath.Join(c.Dir, "bin")},
		cloneflags: nodeNamespaces,
	}
	if err := c.start(machine); err != nil {
		return err
	}
	p, ok := c.find(n.name)
	if !ok {
		return fmt.Errorf("%s did not start\n%s", n.name, c.logTail(n.name))
	}
	if err := c.plugNode(ctx, n, p.pid); err != nil {
		return err
	}
	return c.waitProcess(ctx, n.name, func(context.Context) error {
		_, err := os.Stat(fmt.Sprintf("/proc/%d/root/run/node-ready", p.pid))
		return err
	})
}

// Enter returns a command line that runs argv inside a node, in its namespaces
// and cgroups.
func (c *Cluster) Enter(name string, argv ...string) ([]string, error) {
	n, err := nodeNamed(name)
	if err != nil {
		return nil, err
	}
	return c.enter(n, argv...)
}

func (c *Cluster) enter(n node, argv ...string) ([]string, error) {
	p, ok := c.find(n.name)
	if !ok {
		return nil, fmt.Errorf("%s does not run", n.name)
	}
	inside := []string{"nsenter", "-t", strconv.Itoa(p.pid), "-m", "-u", "-i", "-n", "-p", "-C", "--", "/run/join"}
	return append(inside, argv...), nil
}

// startInside starts a daemon inside the node, as a child of the node's PID 1,
// and records its pid on the host.
func (c *Cluster) startInside(n node, name string, argv ...string) error {
	machine, ok := c.find(n.name)
	if !ok {
		return fmt.Errorf("%s does not run", n.name)
	}
	argv, err := c.enter(n, append([]string{"/run/daemon", name}, argv...)...)
	if err != nil {
		return err
	}
	cmd, log, err := c.command(process{name: name, argv: argv})
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("cannot start %s: %w\n%s", name, err, c.logTail(name))
	}
	inside, err := os.ReadFile(fmt.Sprintf("/proc/%d/root/run/%s.pid", machine.pid, name))
	if err != nil {
		return err
	}
	daemon, err := childInside(machine.pid, strings.TrimSpace(string(inside)))
	if err != nil {
		return fmt.Errorf("%s ended at once: %w\n%s", name, err, c.logTail(name))
	}
	return c.note(name, daemon)
}

// childInside returns the child of a node's PID 1 that has the given pid in the
// node.
func childInside(machine int, inside string) (proc, error) {
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", machine, machine))
	if err != nil {
		return proc{}, err
	}
	for _, child := range strings.Fields(string(children)) {
		status, err := os.ReadFile(filepath.Join("/proc", child, "status")) //nolint:gosec // the kernel names it
		if err != nil || innermostPid(string(status)) != inside {
			continue
		}
		pid, err := strconv.Atoi(child)
		if err != nil {
			return proc{}, err
		}
		return procOf(pid)
	}
	return proc{}, fmt.Errorf("no child with the pid %s", inside)
}

// innermostPid returns the pid of a process in its own pid namespace, from its
// /proc/PID/status.
func innermostPid(status string) string {
	for line := range strings.Lines(status) {
		if pids, ok := strings.CutPrefix(line, "NSpid:"); ok {
			fields := strings.Fields(pids)
			return fields[len(fields)-1]
		}
	}
	return ""
}

func (c *Cluster) startContainerd(ctx context.Context, n node) error {
	if err := c.startInside(n, containerdOf(n), "containerd", "--config=/etc/kubernetes/containerd.toml"); err != nil {
		return err
	}
	return c.waitProcess(ctx, containerdOf(n), func(ctx context.Context) error {
		argv, err := c.enter(n, "ctr", "--namespace=k8s.io", "--connect-timeout=1s", "images", "list", "-q")
		if err != nil {
			return err
		}
		return c.run(ctx, argv...)
	})
}

// StartKubelet starts the kubelet of a running node. It does not wait until the
// node is ready: see WaitNode.
func (c *Cluster) StartKubelet(name string) error {
	n, err := nodeNamed(name)
	if err != nil {
		return err
	}
	if _, running := c.find(kubeletOf(n)); running {
		return nil
	}
	return c.startInside(n, kubeletOf(n), "/opt/kube/kube", "kubelet", "--config=/etc/kubernetes/kubelet.yaml",
		"--kubeconfig=/etc/kubernetes/kubeconfig", "--hostname-override="+n.name, "--node-ip="+n.ip,
		"--root-dir=/var/lib/kubelet")
}

// StopKubelet ends the kubelet of a node with the given signal. Its containers
// keep running.
func (c *Cluster) StopKubelet(ctx context.Context, name string, sig syscall.Signal) error {
	n, err := nodeNamed(name)
	if err != nil {
		return err
	}
	return c.stop(ctx, kubeletOf(n), sig)
}

// RestartContainerd kills containerd on a node and starts it again. Its containers
// keep running.
func (c *Cluster) RestartContainerd(ctx context.Context, name string) error {
	n, err := nodeNamed(name)
	if err != nil {
		return err
	}
	if err := c.stop(ctx, containerdOf(n), syscall.SIGKILL); err != nil {
		return err
	}
	return c.startContainerd(ctx, n)
}

// StartNode boots a node that does not run: namespaces, network link,
// containerd, missing images, and the kubelet. A node that was killed has its
// old disk. StartNode returns when the API no longer shows containers from
// before the boot as running: see waitOldContainersGone.
func (c *Cluster) StartNode(ctx context.Context, name string) error {
	n, err := nodeNamed(name)
	if err != nil {
		return err
	}
	if _, running := c.find(n.name); running {
		return nil
	}
	old, err := c.runningContainers(ctx, n)
	if err != nil {
		return err
	}
	if err := c.boot(ctx, n); err != nil {
		return err
	}
	if err := c.StartKubelet(name); err != nil {
		return err
	}
	return c.waitOldContainersGone(ctx, n, old)
}

// runningContainers returns the containers that run on a node according to the
// API: the names of pod and container, by container ID.
func (c *Cluster) runningContainers(ctx context.Context, n node) (map[string]string, error) {
	client, err := c.Client()
	if err != nil {
		return nil, err
	}
	pods, err := client.CoreV1().
		Pods(metav1.NamespaceAll).
		List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + n.name})
	if err != nil {
		return nil, err
	}
	running := map[string]string{}
	for _, p := range pods.Items {
		st := p.Status
		for _, s := range slices.Concat(st.InitContainerStatuses, st.ContainerStatuses, st.EphemeralContainerStatuses) {
			if s.State.Running != nil {
				running[s.ContainerID] = p.Name + "/" + s.Name
			}
		}
	}
	return running, nil
}

// waitOldContainersGone waits until the API shows none of the old containers of
// a node as running. After an outage of a few seconds, the API shows them as
// running until the new kubelet has checked them, although the processes have
// ended with the node.
func (c *Cluster) waitOldContainersGone(ctx context.Context, n node, old map[string]string) error {
	return waitFor(ctx, 200*time.Millisecond, func(ctx context.Context) error {
		now, err := c.runningContainers(ctx, n)
		if err != nil {
			return err
		}
		for id, name := range now {
			if _, is := old[id]; is {
				return fmt.Errorf("%s: the API still shows %s as running", n.name, name)
			}
		}
		return nil
	})
}

// boot starts everything of a node except the kubelet.
func (c *Cluster) boot(ctx context.Context, n node) error {
	if err := c.startMachine(ctx, n); err != nil {
		return err
	}
	if err := c.startContainerd(ctx, n); err != nil {
		return err
	}
	return c.importImages(ctx, n)
}

// KillNode kills a node and all its processes at once, like a power cut.
func (c *Cluster) KillNode(ctx context.Context, name string) error {
	n, err := nodeNamed(name)
	if err != nil {
		return err
	}
	err = c.stop(ctx, n.name, syscall.SIGKILL)
	for _, daemon := range []string{kubeletOf(n), containerdOf(n)} {
		err = errors.Join(err, c.stop(ctx, daemon, syscall.SIGKILL))
	}
	if err != nil {
		return err
	}
	if err := c.waitUnplugged(ctx, n); err != nil {
		return err
	}
	return removeCgroups(ctx, n)
}

// kernelTimeout is how long the kernel may take to remove the resources of a
// killed node.
const kernelTimeout = 30 * time.Second

// waitUnplugged waits until the link of a killed node is gone: the kernel
// removes namespaces in the background.
func (c *Cluster) waitUnplugged(ctx context.Context, n node) error {
	ctx, cancel := context.WithTimeout(ctx, kernelTimeout)
	defer cancel()
	return waitFor(ctx, 20*time.Millisecond, func(context.Context) error {
		_, err := os.Stat(filepath.Join("/sys/class/net", n.link))
		if err == nil {
			return fmt.Errorf("the link %s still exists", n.link)
		}
		return nil
	})
}

// removeCgroups removes the cgroups of a node that does not run: otherwise the
// kubelet would need seconds for each of them. The kernel empties the cgroups
// of a pid namespace in the background, so removeCgroups tries repeatedly.
func removeCgroups(ctx context.Context, n node) error {
	ctx, cancel := context.WithTimeout(ctx, kernelTimeout)
	defer cancel()
	err := waitFor(ctx, 50*time.Millisecond, func(context.Context) error {
		group := "kshell-e2e-" + n.name
		found, err := filepath.Glob("/sys/fs/cgroup/*/" + group)
		for _, top := range append(found, "/sys/fs/cgroup/"+group) {
			err = errors.Join(err, removeTree(top))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot remove the cgroups of %s: %w", n.name, err)
	}
	return nil
}

// removeTree removes a cgroup and those below it, from the leaves up. It does
// not remove the files in a cgroup, because these disappear together with the
// cgroup.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return syscall.Rmdir(dir)
}
