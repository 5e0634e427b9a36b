package sandbox

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// errNotRunning is what exec and attach meet when the container's main process is not there.
var errNotRunning = errors.New("container is not running")

// container runs one container: its main process, again and again if the pod says so, and whatever is executed in it.
type container struct {
	srv  *Server
	pod  types.NamespacedName
	uid  types.UID
	spec corev1.Container
	mark string
	dir  string
	root string // of its image; "" is the machine's
	env  []string

	node   string
	mounts map[string]string // where volumes are, by where they should be: variables with these values are changed for them
	again  bool              // restart when the main process ends
	fan    fan

	mu      sync.Mutex
	main    *process              // nil while it does not run
	procs   map[*process]struct{} // those that run, and those whose output is still held open
	started []int                 // the pids, and so the sessions, of all that was ever started here and may have left something behind
	stopped bool                  // nothing may be started any more
}

func (s *Server) newContainer(pod *corev1.Pod, spec corev1.Container, again bool) (*container, error) {
	c := &container{
		srv:   s,
		pod:   keyOf(pod),
		uid:   pod.UID,
		spec:  spec,
		mark:  s.id + "/" + string(pod.UID) + "/" + spec.Name + "/",
		dir:   filepath.Join(s.dir, "pods", filepath.Base(string(pod.UID)), "c-"+filepath.Base(spec.Name)),
		root:  s.imageRoot(spec.Image),
		again: again,
		node:  pod.Spec.NodeName,
		procs: map[*process]struct{}{},
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil { //nolint:gosec // the last elements of names only: it stays below s.dir
		return nil, err
	}
	rc := "PS1='" + prompt(pod.Name) + "'\n"
	if err := os.WriteFile(filepath.Join(c.dir, ".bashrc"), []byte(rc), 0o600); err != nil { //nolint:gosec // likewise
		return nil, err
	}
	if err := c.mount(pod.Spec.Volumes); err != nil {
		return nil, err
	}
	c.env = c.environment()
	return c, nil
}

// prompt keeps to what sh and bash both print as it stands.
func prompt(name string) string {
	safe := []byte(name)
	for i, b := range safe {
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' && b != '.' {
			safe[i] = '_'
		}
	}
	return string(safe) + "$ "
}

// spawn starts a process in the container. The main one may be started while there is none, any other only beside it.
func (c *container) spawn(cmd command, main bool) (*process, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped || main == (c.main != nil) {
		return nil, errNotRunning
	}
	cmd.dir, cmd.env = c.dir, c.env
	if !cmd.idle {
		if err := c.srv.makeImage(c.spec.Image); err != nil {
			return nil, err
		}
		cmd.root = c.root
	}
	if cmd.tty {
		cmd.env = c.ttyEnvironment()
	}
	if !main {
		cmd.cgroup = c.srv.cfg.Cgroup
	}
	p, err := startProcess(cmd)
	if err != nil {
		return nil, err
	}
	c.procs[p] = struct{}{}
	c.started = append(c.started, p.pid)
	if main {
		c.main = p
	}
	c.srv.wg.Go(func() {
		<-p.exited
		c.mu.Lock()
		if c.main == p {
			c.main = nil
		}
		c.mu.Unlock()
		<-p.closed
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.procs, p)
	})
	return p, nil
}

// running returns the main process, or nil.
func (c *container) running() *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.main
}

// mainCommand is what the pod says, or a process that does nothing until the sandbox itself ends, however it ends.
func (c *container) mainCommand() command {
	if args := slices.Concat(c.spec.Command, c.spec.Args); len(args) > 0 {
		return command{args: args, stdin: c.spec.Stdin, tty: c.spec.TTY}
	}
	return command{args: []string{"cat"}, stdin: true, idle: true} // and no shell that execs it: its arguments are these from the start
}

// greeting is what a container of the machine that does nothing says first.
func (c *container) greeting() string {
	if c.root != "" || len(c.spec.Command)+len(c.spec.Args) > 0 {
		return ""
	}
	return variable(c.env, "HOSTNAME") + ": started\n"
}

// run keeps the main process going until the context ends or it has ended for good. The first one runs already.
func (c *container) run(ctx context.Context, p *process, grace func() time.Duration) {
	for restarts := 0; ; restarts++ {
		c.follow(ctx, p, grace)
		c.killRest()
		finished := terminated(p.code)
		select {
		case <-time.After(c.srv.cfg.StatusDelay):
		case <-ctx.Done():
		}
		if ctx.Err() != nil || !c.again {
			c.report(finished, corev1.ContainerState{}, restarts)
			return
		}
		c.report(waiting("CrashLoopBackOff", "back-off restarting failed container"), finished, restarts)
		select {
		case <-time.After(min(time.Duration(restarts)*time.Second, 10*time.Second)):
		case <-ctx.Done():
			return
		}
		next, err := c.spawn(c.mainCommand(), true)
		if err != nil {
			return
		}
		p = next
		c.report(started(metav1.Now()), finished, restarts+1)
	}
}

// follow waits for the end of the main process and of its output. When the context ends it asks it to end, then makes it.
func (c *container) follow(ctx context.Context, p *process, grace func() time.Duration) {
	var copies sync.WaitGroup
	copies.Go(func() { c.fan.copy(p.stdout, c.greeting(), func(k *sink) io.Writer { return k.stdout }) })
	if p.stderr != nil {
		copies.Go(func() { c.fan.copy(p.stderr, "", func(k *sink) io.Writer { return k.stderr }) })
	}
	select {
	case <-p.exited:
	case <-ctx.Done():
		c.mu.Lock()
		c.stopped = true
		c.mu.Unlock()
		p.terminate()
		select {
		case <-p.exited:
		case <-time.After(grace()):
			p.kill()
			<-p.exited
		}
	}
	c.killRest()
	p.expire()
	copies.Wait()
	c.fan.dropAll()
	p.closeFiles()
}

// killRest kills everything that is left of the container and waits for what the sandbox itself started. Output that somebody still holds
// open, who could not be found, ends soon.
func (c *container) killRest() {
	c.mu.Lock()
	c.main = nil
	var procs []*process
	for p := range c.procs {
		p.kill()
		procs = append(procs, p)
	}
	c.mu.Unlock()
	if c.srv.ctx.Err() == nil { // else Close has done it for all
		killAll(c.mark, c)
	}
	for _, p := range procs {
		<-p.exited
		p.expire()
	}
}

// report writes the container's state into the pod's status, and the one that it last ended in, if it is started again.
func (c *container) report(state, last corev1.ContainerState, restarts int) {
	c.srv.store.updatePod(c.pod, c.uid, func(o object) {
		pod, ok := o.(*corev1.Pod)
		if !ok {
			return
		}
		st := &pod.Status
		for _, list := range [][]corev1.ContainerStatus{st.ContainerStatuses, st.InitContainerStatuses, st.EphemeralContainerStatuses} {
			for i := range list {
				if list[i].Name != c.spec.Name {
					continue
				}
				list[i].State, list[i].LastTerminationState = state, last
				if state.Running != nil {
					list[i].ContainerID = containerID()
				}
				list[i].Ready = state.Running != nil
				list[i].RestartCount = int32(restarts)
			}
		}
		settle(pod)
	})
}
