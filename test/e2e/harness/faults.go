package harness

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// Partition pulls the cable of a node: nothing gets in or out, and nobody is told.
func (c *Cluster) Partition(ctx context.Context, name string) error {
	n, err := nodeNamed(name)
	if err != nil {
		return err
	}
	return c.run(ctx, "ip", "link", "set", n.link, "down")
}

// Heal plugs the cable of a node in again.
func (c *Cluster) Heal(ctx context.Context, name string) error {
	n, err := nodeNamed(name)
	if err != nil {
		return err
	}
	return c.run(ctx, "ip", "link", "set", n.link, "up")
}

// PauseKubelet stops a node's kubelet where it stands (SIGSTOP): its port accepts connections and then stays silent.
func (c *Cluster) PauseKubelet(name string) error { return c.signalKubelet(name, syscall.SIGSTOP) }

// ResumeKubelet lets a paused kubelet go on.
func (c *Cluster) ResumeKubelet(name string) error { return c.signalKubelet(name, syscall.SIGCONT) }

func (c *Cluster) signalKubelet(name string, sig syscall.Signal) error {
	n, err := nodeNamed(name)
	if err != nil {
		return err
	}
	return c.signal(kubeletOf(n), sig)
}

// PauseAPIServer stops an API server where it stands (SIGSTOP): connections stay open and nothing comes.
func (c *Cluster) PauseAPIServer(s Server) error { return c.signal(string(s), syscall.SIGSTOP) }

// ResumeAPIServer lets a paused API server go on.
func (c *Cluster) ResumeAPIServer(s Server) error { return c.signal(string(s), syscall.SIGCONT) }

func (c *Cluster) signal(name string, sig syscall.Signal) error {
	p, ok := c.find(name)
	if !ok {
		return fmt.Errorf("%s does not run", name)
	}
	return p.signal(sig)
}

// Repair undoes every fault: it resumes what is paused, plugs in cables, starts what does not run, and waits until the API servers
// and the nodes are ready. Pods that were lost with a node are for Restore.
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

// Restore makes the cluster whole again after any fault and any deletion: Repair, then Seed and WaitSeeds. What is evicted goes only when its node
// is back, and is made anew then: so the two are tried again.
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
