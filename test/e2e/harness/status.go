package harness

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Component is a process of the cluster.
type Component struct {
	Name    string
	Running bool
	Pid     int    // on the host; 0: it does not run
	State   string // state letter of /proc/PID/stat: S sleeping, R running, T paused
	Log     string // the path of its log
}

// Components returns all processes of the cluster, whether they run or not.
func (c *Cluster) Components() []Component {
	var list []Component
	for _, name := range c.components() {
		component := Component{Name: name, Log: c.logFile(name)}
		if p, ok := c.find(name); ok {
			component.Running, component.Pid = true, p.pid
			component.State, _, _ = procStat(p.pid)
		}
		list = append(list, component)
	}
	return list
}

// Summary returns a line for each node, and for each pod of the seeded
// namespace.
func (c *Cluster) Summary(ctx context.Context) ([]string, error) {
	client, err := c.Client()
	if err != nil {
		return nil, err
	}
	found, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, n := range found.Items {
		for _, cond := range n.Status.Conditions {
			if cond.Type == "Ready" {
				lines = append(
					lines,
					fmt.Sprintf("node %s: ready %s, kubelet %s", n.Name, cond.Status, n.Status.NodeInfo.KubeletVersion),
				)
			}
		}
	}
	pods, err := client.CoreV1().Pods(Namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		ready := "not ready"
		if podReady(p) {
			ready = "ready"
		}
		lines = append(lines, fmt.Sprintf("pod %s on %s: %s, %s", p.Name, p.Spec.NodeName, p.Status.Phase, ready))
	}
	return lines, nil
}
