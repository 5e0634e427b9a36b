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

// errNotRunning is returned for an exec or attach if the main process of the
// container does not run.
var errNotRunning = errors.New("container is not running")

// container runs the processes of a container: its main process and the
// commands of execs.
type container struct {
	srv  *Server
	pod  types.NamespacedName
	uid  types.UID
	spec corev1.Container
	mark string
	dir  string
	root string // the directory of its image; "" means the root of the machine
	env  []string

	node    string
	hostPID bool
	// mounts maps the mount path of each volume to the path of the volume on
	// the machine. If the value of an environment variable is a mount path, it
	// is replaced with the path on the machine.
	mounts    map[string]string
	restart   bool // whether the main process is restarted when it ends
	broadcast broadcast

	mu      sync.Mutex
	main    *process              // nil if it does not run
	procs   map[*process]struct{} // running processes, and those whose output is still open
	started []int                 // PIDs, equal to session IDs, of processes that may have left descendants
	stopped bool                  // spawn starts no more processes
}

func (s *Server) newContainer(pod *corev1.Pod, spec corev1.Container, restart bool) (*container, error) {
	c := &container{
		srv:     s,
		pod:     keyOf(pod),
		uid:     pod.UID,
		spec:    spec,
		mark:    s.id + "/" + string(pod.UID) + "/" + spec.Name + "/",
		dir:     filepath.Join(s.dir, "pods", filepath.Base(string(pod.UID)), "c-"+filepath.Base(spec.Name)),
		root:    s.imageRoot(spec.Image),
		restart: restart,
		node:    pod.Spec.NodeName,
		hostPID: pod.Spec.HostPID,
		procs:   map[*process]struct{}{},
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil { //nolint:gosec // in s.dir, because of filepath.Base
		return nil, err
	}
	rc := "PS1='" + prompt(pod.Name) + "'\n"
	if err := os.WriteFile(filepath.Join(c.dir, ".bashrc"), []byte(rc), 0o600); err != nil { //nolint:gosec // in c.dir
		return nil, err
	}
	if err := c.mount(pod.Spec.Volumes); err != nil {
		return nil, err
	}
	c.env = c.environment()
	return c, nil
}

// prompt returns the prompt of shells in a pod, without characters that sh or
// bash would expand.
func prompt(name string) string {
	safe := []byte(name)
	for i, b := range safe {
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' && b != '.' {
			safe[i] = '_'
		}
	}
	return string(safe) + "$ "
}

// spawn starts a process in the container. It starts the main process only if
// none is running, and another process only if the main process is running.
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

// mainCommand returns the command of the container. If the container has no
// command, mainCommand returns cat, because cat exits when its stdin ends, that
// is, when the sandbox ends, even if the sandbox is killed.
func (c *container) mainCommand() command {
	if args := slices.Concat(c.spec.Command, c.spec.Args); len(args) > 0 {
		return command{args: args, stdin: c.spec.Stdin, tty: c.spec.TTY}
	}
	// cat is not started by a shell, because Processes would then list the
	// arguments of the shell at first.
	return command{args: []string{"cat"}, stdin: true, idle: true}
}

// startMessage returns the first line of the log of a container that has no
// command. It returns "" if the container has a command, or if its image has a
// directory of its own (c.root).
func (c *container) startMessage() string {
	if c.root != "" || len(c.spec.Command)+len(c.spec.Args) > 0 {
		return ""
	}
	return variable(c.env, "HOSTNAME") + ": started\n"
}

// run waits for the main process p, and restarts it each time it exits. It
// returns when the context ends. If c.restart is false, it returns after the
// first exit.
func (c *container) run(ctx context.Context, p *process, grace func() time.Duration) {
	for restarts := 0; ; restarts++ {
		c.follow(ctx, p, grace)
		c.killProcesses()
		finished := terminated(p.code)
		select {
		case <-time.After(c.srv.cfg.StatusDelay):
		case <-ctx.Done():
		}
		if ctx.Err() != nil || !c.restart {
			c.writeStatus(finished, corev1.ContainerState{}, restarts)
			return
		}
		c.writeStatus(waiting("CrashLoopBackOff", "back-off restarting failed container"), finished, restarts)
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
		c.writeStatus(started(metav1.Now()), finished, restarts+1)
	}
}

// follow waits until the main process has exited and its output has ended. When
// the context ends, it terminates the process, and kills it after the grace
// period.
func (c *container) follow(ctx context.Context, p *process, grace func() time.Duration) {
	var copies sync.WaitGroup
	copies.Go(func() { c.broadcast.copy(p.stdout, c.startMessage(), func(k *sink) io.Writer { return k.stdout }) })
	if p.stderr != nil {
		copies.Go(func() { c.broadcast.copy(p.stderr, "", func(k *sink) io.Writer { return k.stderr }) })
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
	c.killProcesses()
	p.endReads()
	copies.Wait()
	c.broadcast.dropAll()
	p.closeFiles()
}

// killProcesses kills all processes of the container and waits for those that
// the sandbox started. If another process holds their output open, reading the
// output ends after a second.
func (c *container) killProcesses() {
	c.mu.Lock()
	c.main = nil
	var procs []*process
	for p := range c.procs {
		p.kill()
		procs = append(procs, p)
	}
	c.mu.Unlock()
	if c.srv.ctx.Err() == nil { // otherwise Close kills all processes
		killAll(c.mark, c)
	}
	for _, p := range procs {
		<-p.exited
		p.endReads()
	}
}

// writeStatus writes the state of the container, and its last termination
// state, to the status of the pod.
func (c *container) writeStatus(state, last corev1.ContainerState, restarts int) {
	c.srv.store.updatePod(c.pod, c.uid, func(o object) {
		pod, ok := o.(*corev1.Pod)
		if !ok {
			return
		}
		st := &pod.Status
		for _, list := range [][]corev1.ContainerStatus{
			st.ContainerStatuses, st.InitContainerStatuses, st.EphemeralContainerStatuses,
		} {
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
		updateReadiness(pod)
	})
}
