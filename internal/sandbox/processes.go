package sandbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// pollInterval is how often WaitIdle checks.
const pollInterval = 5 * time.Millisecond

// Process is a running process of a container.
type Process struct {
	Pid       int
	Container string
	Args      []string // as the system shows them; the process can change them
	Main      bool     // whether it is the main process of the container
}

func (p Process) String() string {
	return fmt.Sprintf("%d in %s: %s", p.Pid, p.Container, strings.Join(p.Args, " "))
}

// Processes returns the running processes of a pod, sorted by PID: those with
// the markVariable of one of its containers, and those in a session that the
// sandbox started in one of its containers. Zombies are not included. Processes
// returns nil if there is no such pod.
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
			args := commandLine(pid)
			if args == nil {
				continue // it has just exited
			}
			list = append(list, Process{Pid: pid, Container: c.spec.Name, Args: args, Main: main != nil && main.pid == pid})
		}
	}
	slices.SortFunc(list, func(a, b Process) int { return a.Pid - b.Pid })
	return list
}

// WaitIdle waits until only the main processes of a pod run. If the context
// ends first, the error lists the other processes.
func (s *Server) WaitIdle(ctx context.Context, namespace, pod string) error {
	for {
		left := slices.DeleteFunc(s.Processes(namespace, pod), func(p Process) bool { return p.Main })
		if len(left) == 0 {
			return nil
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			return fmt.Errorf("%w: these processes still run in pod %s: %v", context.Cause(ctx), pod, left)
		}
	}
}

// pids returns the running processes of the container.
func (c *container) pids() []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	sessions := c.sessions()
	pids, inUse := findProcesses(c.mark, sessions)
	c.started = slices.DeleteFunc(sessions, func(id int) bool { return !slices.Contains(inUse, id) && !c.leaderRuns(id) })
	return pids
}

// sessions returns the IDs of the sessions that may have members. It first
// removes from c.started each ID that is now the PID of another process. The
// caller must hold mu.
func (c *container) sessions() []int {
	c.started = slices.DeleteFunc(c.started, func(id int) bool { return exists(id) && !c.leaderRuns(id) })
	return slices.Clone(c.started)
}

// leaderRuns reports whether the leader of a session is running. The caller
// must hold mu.
func (c *container) leaderRuns(id int) bool {
	for p := range c.procs {
		if p.pid == id && p.isRunning() {
			return true
		}
	}
	return false
}
