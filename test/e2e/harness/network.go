package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// The network of the cluster: nodes and servers are on one bridge, and each
// node has a network for its pods.
//
// The lower half of the bridge's network is also the service network, whose
// first address is that of the bridge. So the service `kubernetes` (always the
// first address, port 443) is the API server itself, and clients in pods reach
// it without kube-proxy.
const (
	bridgeName     = "kse2e0"
	hostIP         = "10.77.0.1"
	hostCIDR       = hostIP + "/24"
	serviceCIDR    = "10.77.0.0/25"
	etcdURL        = "http://" + hostIP + ":2379"
	etcdPeerURL    = "http://" + hostIP + ":2380"
	mainPort       = 443
	translatePort  = 8443
	unpullableHost = hostIP + ":5999" // nothing listens there, so pulling an image fails at once
)

// node is a node of the cluster.
type node struct {
	name    string
	ip      string
	podCIDR string
	link    string // the host's end of the node's eth0
}

var nodes = []node{
	{name: "node1", ip: "10.77.0.201", podCIDR: "10.88.1.0/24", link: "kse2e-n1"},
	{name: "node2", ip: "10.77.0.202", podCIDR: "10.88.2.0/24", link: "kse2e-n2"},
}

// Nodes returns the names of the nodes.
func Nodes() []string {
	names := make([]string, 0, len(nodes))
	for _, n := range nodes {
		names = append(names, n.name)
	}
	return names
}

func nodeNamed(name string) (node, error) {
	for _, n := range nodes {
		if n.name == name {
			return n, nil
		}
	}
	return node{}, fmt.Errorf("no node %q: there are %s", name, strings.Join(Nodes(), " and "))
}

// bridgeOwner returns the state directory that is recorded on the bridge, or ""
// if there is no bridge.
func bridgeOwner() (string, error) {
	alias, err := os.ReadFile(filepath.Join("/sys/class/net", bridgeName, "ifalias"))
	if os.IsNotExist(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(alias)), nil
}

func (c *Cluster) makeBridge(ctx context.Context) error {
	if err := networkIsFree(); err != nil {
		return err
	}
	return c.runAll(ctx, [][]string{
		{"ip", "link", "add", bridgeName, "type", "bridge"},
		{"ip", "link", "set", bridgeName, "alias", c.Dir},
		{"ip", "addr", "add", hostCIDR, "dev", bridgeName},
		{"ip", "link", "set", bridgeName, "up"},
	})
}

// networkIsFree returns an error if another interface has an address in the
// networks of the cluster.
func networkIsFree() error {
	taken, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	wanted := []string{hostCIDR}
	for _, n := range nodes {
		wanted = append(wanted, n.podCIDR)
	}
	for _, w := range wanted {
		_, ours, err := net.ParseCIDR(w)
		if err != nil {
			return err
		}
		for _, a := range taken {
			theirs, ok := a.(*net.IPNet)
			if ok && (ours.Contains(theirs.IP) || theirs.Contains(ours.IP)) {
				return fmt.Errorf("the network %s of the cluster is in use: an interface has %s", ours, theirs)
			}
		}
	}
	return nil
}

func (c *Cluster) removeBridge(ctx context.Context) error {
	owner, err := bridgeOwner()
	if err != nil || owner != c.Dir {
		return err
	}
	// The kernel removes the link of a node together with the namespaces of the
	// node, but not at once.
	for _, n := range nodes {
		if _, err := os.Stat(filepath.Join("/sys/class/net", n.link)); err == nil {
			_ = c.run(ctx, "ip", "link", "del", n.link)
		}
	}
	return c.run(ctx, "ip", "link", "del", bridgeName)
}

// plugNode creates eth0 in the node whose PID 1 is pid.
func (c *Cluster) plugNode(ctx context.Context, n node, pid int) error {
	inside := []string{"nsenter", "-t", fmt.Sprint(pid), "-n", "ip"}
	steps := [][]string{
		{"ip", "link", "add", n.link, "type", "veth", "peer", "name", "eth0", "netns", fmt.Sprint(pid)},
		{"ip", "link", "set", n.link, "master", bridgeName, "up"},
		append(inside, "addr", "add", n.ip+"/24", "dev", "eth0"),
		append(inside, "link", "set", "eth0", "up"),
		{"ip", "route", "replace", n.podCIDR, "via", n.ip, "dev", bridgeName},
	}
	for _, other := range nodes {
		if other != n {
			steps = append(steps, append(inside, "route", "add", other.podCIDR, "via", other.ip))
		}
	}
	return c.runAll(ctx, steps)
}
