package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// markerVar is set in the environment of every process that the harness starts.
// Its value begins with the state directory. Down uses it to find processes
// without a pid file.
const markerVar = "KSHELL_E2E_COMPONENT"

// stopTimeout is how long a process may take to end after the first signal.
const stopTimeout = 10 * time.Second

// process describes a daemon to start.
type process struct {
	name       string // the name of its pid file and its log
	argv       []string
	cloneflags uintptr
}

// proc identifies a process that was started: by its pid and its start time,
// because pids are reused.
type proc struct {
	pid   int
	start string // field 22 of /proc/PID/stat, in clock ticks since boot
}

func (c *Cluster) logFile(name string) string { return filepath.Join(c.Dir, "logs", name+".log") }
func (c *Cluster) pidFile(name string) string { return filepath.Join(c.Dir, "run", name+".pid") }

// command returns a command that runs in its own session, with its output
// appended to its log. The caller closes the log.
func (c *Cluster) command(p process) (*exec.Cmd, *os.File, error) {
	log, err := os.OpenFile(c.logFile(p.name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = c.Dir
	cmd.Env = append(os.Environ(), markerVar+"="+c.Dir+":"+p.name)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Cloneflags: p.cloneflags}
	return cmd, log, nil
}

// start starts a process that outlives this program, and records its pid.
func (c *Cluster) start(p process) error {
	cmd, log, err := c.command(p)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", p.name, err)
	}
	pid := cmd.Process.Pid
	if err := cmd.Process.Release(); err != nil {
		return err
	}
	started, err := procOf(pid)
	if err != nil {
		return err
	}
	return c.note(p.name, started)
}

func (c *Cluster) note(name string, p proc) error {
	return os.WriteFile(c.pidFile(name), fmt.Appendf(nil, "%d %s\n", p.pid, p.start), 0o600)
}

// find returns the running process with the name, and whether there is one.
func (c *Cluster) find(name string) (proc, bool) {
	text, err := os.ReadFile(c.pidFile(name))
	if err != nil {
		return proc{}, false
	}
	p, err := parsePid(string(text))
	return p, err == nil && p.alive()
}

func parsePid(text string) (proc, error) {
	pid, start, ok := strings.Cut(strings.TrimSpace(text), " ")
	n, err := strconv.Atoi(pid)
	if !ok || err != nil || n <= 1 {
		return proc{}, fmt.Errorf("not a pid file: %q", text)
	}
	return proc{pid: n, start: start}, nil
}

// procOf returns the process that now has this pid.
func procOf(pid int) (proc, error) {
	_, start, err := procStat(pid)
	return proc{pid: pid, start: start}, err
}

// procStat returns the state letter and the start time of a process.
func procStat(pid int) (state, start string, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", "", err
	}
	return parseStat(string(stat))
}

// parseStat parses /proc/PID/stat. The command name is in parentheses, and may
// contain any characters, including parentheses.
func parseStat(stat string) (state, start string, err error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 20 {
		return "", "", fmt.Errorf("not a stat line: %q", stat)
	}
	return fields[0], fields[19], nil
}

// alive reports whether the process still runs: it exists, has the same start
// time, and is not a zombie. A zombie that has other threads counts as running,
// because these may still use its ports.
func (p proc) alive() bool {
	state, start, err := procStat(p.pid)
	if err != nil || start != p.start {
		return false
	}
	if state != "Z" && state != "X" {
		return true
	}
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.pid))
	return err == nil && len(threads) > 1
}

// signal sends a signal to the process, unless its pid was reused.
func (p proc) signal(sig syscall.Signal) error {
	if !p.alive() {
		return nil
	}
	err := syscall.Kill(p.pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

// end sends sig and waits for the process to end. After stopTimeout, it kills
// the process.
func (p proc) end(ctx context.Context, sig syscall.Signal) error {
	if err := p.signal(sig); err != nil {
		return err
	}
	_ = p.signal(syscall.SIGCONT) // a paused process would not handle sig
	polite, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	gone := func(context.Context) error {
		if p.alive() {
			return fmt.Errorf("process %d does not end", p.pid)
		}
		return nil
	}
	if waitFor(polite, 20*time.Millisecond, gone) == nil {
		p.reap()
		return nil
	}
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	err := waitFor(ctx, 20*time.Millisecond, gone)
	p.reap()
	return err
}

// reap waits for a zombie that is our own child. For other processes, it does
// nothing.
func (p proc) reap() {
	_, _ = syscall.Wait4(p.pid, nil, syscall.WNOHANG, nil)
}

// stop ends the named process and removes its pid file. It returns no error if
// the process does not run.
func (c *Cluster) stop(ctx context.Context, name string, sig syscall.Signal) error {
	if p, ok := c.find(name); ok {
		if err := p.end(ctx, sig); err != nil {
			return fmt.Errorf("cannot stop %s: %w", name, err)
		}
	}
	err := os.Remove(c.pidFile(name))
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// markedProcesses returns all processes that run for this state directory, with
// or without a pid file. It finds them by markerVar.
func (c *Cluster) markedProcesses() ([]proc, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []proc
	marker := []byte("\x00" + markerVar + "=" + c.Dir + ":")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		environ, err := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		if err != nil || !bytes.Contains(append([]byte{0}, environ...), marker) {
			continue
		}
		if p, err := procOf(pid); err == nil && p.alive() {
			found = append(found, p)
		}
	}
	return found, nil
}

// waitFor calls check until it returns nil. When the context ends, it returns
// the last error of check.
func waitFor(ctx context.Context, every time.Duration, check func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (gave up: %w)", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
