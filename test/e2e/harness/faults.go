package harness

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// Partition disconnects a node from the network, without notifying any peer.
func (c *Cluster) Partition(ctx context.Context, name string) error {
	n, err := nodeNamed(name)
	if err != nil {
		return err
	}
	return c.run(ctx, "ip", "link", "set", n.link, "down")
}

// Heal reconnects a node to the network.
func (c *Cluster) Heal(ctx context.Context, name string) error {
	n, err := nodeNamed(name)
	if err != nil {
		return err
	}
	return c.run(ctx, "ip", "link", "set", n.link, "up")
}

// PauseKubelet pauses a node's kubelet (SIGSTOP): its port accepts connections
// but does not answer.
func (c *Cluster) PauseKubelet(name string) error { return c.signalKubelet(name, syscall.SIGSTOP) }

// ResumeKubelet continues a paused kubelet.
func (c *Cluster) ResumeKubelet(name string) error { return c.signalKubelet(name, syscall.SIGCONT) }

func (c *Cluster) signalKubelet(name string, sig syscall.Signal) error {
	n, err := nodeNamed(name)
	if err != nil {
		return err
	}
	return c.signal(kubeletOf(n), sig)
}

// PauseAPIServer pauses an API server (SIGSTOP): connections stay open and
// silent.
func (c *Cluster) PauseAPIServer(s Server) error { return c.signal(string(s), syscall.SIGSTOP) }

// ResumeAPIServer continues a paused API server.
func (c *Cluster) ResumeAPIServer(s Server) error { return c.signal(string(s), syscall.SIGCONT) }

func (c *Cluster) signal(name string, sig syscall.Signal) error {
	p, ok := c.find(name)
	if !ok {
		return fmt.Errorf("%s does not run", name)
	}
	return p.signal(sig)
}

// Repair ends every fault: it continues what is paused, reconnects nodes,
// starts what does not run, and waits until the API servers and the nodes are
// ready. It does not restore lost pods; see Restore.
func (c *Cluster) Repair(ctx context.Context) error {
	for _, name := range c.components() {
		if p, ok := c.find(name); ok {
			if err := p.signal(syscall.SIGCONT); err != nil {
				return err
			}
		}
	}
	for _, s := range []Server{MainServer, TranslatingServer} {
		if err := c.StartAPIServer(ctx, s); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if err := c.StartNode(ctx, n.name); err != nil {
			return err
		}
		if err := c.Heal(ctx, n.name); err != nil {
			return err
		}
		if err := c.StartKubelet(n.name); err != nil {
			return err
		}
	}
	for _, n := range nodes {
		if err := c.WaitNode(ctx, n.name, true); err != nil {
			return err
		}
	}
	return nil
}

// Restore restores the cluster after any fault and any deletion. It calls
// Repair, and then Seed and WaitSeeds until both succeed: an evicted pod
// disappears only when its node is back, and only then can Seed create it
// again.
func (c *Cluster) Restore(ctx context.Context) error {
	if err := c.Repair(ctx); err != nil {
		return err
	}
	return waitFor(ctx, time.Second, func(ctx context.Context) error {
		if err := c.Seed(ctx); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		return c.WaitSeeds(ctx)
	})
}
