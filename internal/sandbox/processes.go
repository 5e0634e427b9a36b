package sandbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// pollEvery is how often WaitIdle looks.
const pollEvery = 5 * time.Millisecond

// Process is a live process of a container.
type Process struct {
	Pid       int
	Container string
	Args      []string // what it says of itself
	Main      bool     // it is the container's main process
}

func (p Process) String() string {
	return fmt.Sprintf("%d in %s: %s", p.Pid, p.Container, strings.Join(p.Args, " "))
}

// Processes lists what lives in a pod's containers now, in the order of the pids: whatever has the container's environment, and
// whatever belongs to a session that was started there. Zombies do not live. Nil if there is no such pod.
func (s *Server) Processes(namespace, pod string) []Process {
	s.mu.Lock()
	run := s.pods[types.NamespacedName{Namespace: namespace, Name: pod}]
	s.mu.Unlock()
	if run == nil {
		return nil
	}
	var list []Process
	for _, c := range run.containers {
		main := c.running()
		for _, pid := range c.pids() {
			args := arguments(pid)
			if args == nil {
				continue // it has just ended
			}
			list = append(list, Process{Pid: pid, Container: c.spec.Name, Args: args, Main: main != nil && main.pid == pid})
		}
	}
	slices.SortFunc(list, func(a, b Process) int { return a.Pid - b.Pid })
	return list
}

// WaitIdle waits until nothing lives in a pod but its main processes. If the context ends before, the error names what does.
func (s *Server) WaitIdle(ctx context.Context, namespace, pod string) error {
	for {
		left := slices.DeleteFunc(s.Processes(namespace, pod), func(p Process) bool { return p.Main })
		if len(left) == 0 {
			return nil
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return fmt.Errorf("%w: in pod %s still live %v", context.Cause(ctx), pod, left)
		}
	}
}

// pids lists the live processes of the container.
func (c *container) pids() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	sessions := c.sessions()
	pids, inUse := living(c.mark, sessions)
	c.started = slices.DeleteFunc(sessions, func(id int) bool { return !slices.Contains(inUse, id) && !c.leads(id) })
	return pids
}

// sessions are those that may have members. A number that has become another process's is none of ours any more. It is called with mu held.
func (c *container) sessions() []int {
	c.started = slices.DeleteFunc(c.started, func(id int) bool { return exists(id) && !c.leads(id) })
	return slices.Clone(c.started)
}

// leads says whether a session's leader has not ended. It is called with mu held.
func (c *container) leads(id int) bool {
	for p := range c.procs {
		if p.pid == id && p.runs() {
			return true
		}
	}
	return false
}
