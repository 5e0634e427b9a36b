package node

import (
	_ "embed"
	"strconv"
	"strings"
	"time"

	"kshell/internal/script"
)

var (
	//go:embed heartbeat.sh
	heartbeatScript string
	//go:embed wait.sh
	waitScript string
	//go:embed shell.sh
	shellScript string
	//go:embed enter.sh
	enterScript string
	//go:embed login.sh
	loginScript string
	//go:embed mark.sh
	markScript string
	//go:embed leave.sh
	leaveScript string
	//go:embed heartbeat.ps1
	heartbeatScriptWindows string
)

// checkInterval returns the time between two checks for a heartbeat (see
// heartbeat.sh) in the pod: a tenth of HeartbeatTimeout, in seconds, but at
// least 1.
func (o *Options) checkInterval() int { return max(1, int(o.HeartbeatTimeout/time.Second)/10) }

// HeartbeatInterval returns the time between two heartbeats that a client sends
// to a pod: a fifth of timeout, the HeartbeatTimeout of the pod.
func HeartbeatInterval(timeout time.Duration) time.Duration { return timeout / 5 }

// mainCommand returns the command of the pod's main process.
func (o *Options) mainCommand() []string {
	timeout, interval := strconv.Itoa(int(o.HeartbeatTimeout/time.Second)), strconv.Itoa(o.checkInterval())
	if o.Windows {
		source := strings.NewReplacer("TIMEOUT", timeout, "INTERVAL", interval).Replace(heartbeatScriptWindows)
		return []string{"powershell", "-NoLogo", "-NoProfile", "-Command", source}
	}
	mode := "attended"
	if o.Detached {
		mode = "detached"
	}
	if !o.Shell {
		return []string{"sh", "-c", withoutTabs(heartbeatScript + waitScript), "kshell", timeout, interval, mode}
	}
	command := []string{
		"sh", "-c", withoutTabs(heartbeatScript + shellScript), "kshell", timeout, interval, mode, withoutTabs(enterScript),
	}
	return append(append(command, o.enterArgs()...), "sh", "-c", withoutTabs(loginScript))
}

// withoutTabs returns the script indented with spaces instead of tabs, so that
// YAML shows it as a readable block.
func withoutTabs(source string) string { return strings.ReplaceAll(source, "\t", "  ") }

// Command returns the command that, run in the container, runs args on the
// node, or a login shell if args is empty.
func (o *Options) Command(args []string) []string {
	if o.Windows {
		if len(args) == 0 {
			return []string{"powershell"}
		}
		return args
	}
	if len(args) == 0 {
		args = []string{"sh", "-c", script.Shrink(loginScript)}
	}
	return append(append([]string{"sh", "-c", script.Shorten(enterScript)[0], "kshell"}, o.enterArgs()...), args...)
}

// enterArgs returns the arguments of enter.sh: the way to enter the node, and
// the flags of nsenter.
func (o *Options) enterArgs() []string {
	entry := o.Entry
	if entry == "" {
		entry = Auto
	}
	switch {
	case entry == Auto && len(o.Claims) > 0: // the claims are mounted only in the image
		entry = View
	case entry == Auto && o.Private.PID: // process 1 in the container is not the node's first process
		entry = Chroot
	}
	var flags []string
	for _, ns := range []struct {
		flag    string
		private bool
	}{ // no -p: hostPID already shares the node's processes
		{"-m", o.Private.Mount},
		{"-u", o.Private.UTS},
		{"-i", o.Private.IPC},
		{"-n", o.Private.Net},
	} {
		if !ns.private {
			flags = append(flags, ns.flag)
		}
	}
	return []string{entry, strings.Join(flags, " ")}
}

// NeedsPropagation reports whether commands run outside the node's mount
// namespace, so that they see later mounts of the node only with mount
// propagation. If enter.sh chooses the way to the node at run time,
// NeedsPropagation assumes that commands run in the node's mount namespace,
// unless Private.Mount or the profile prevents this.
func (o *Options) NeedsPropagation() bool {
	entry := o.enterArgs()[0]
	outside := entry == Chroot || entry == View || o.Private.Mount || o.Profile == General || o.Profile == NetAdmin
	return outside && !o.Windows
}

// HeartbeatCommand returns the command that, run in the container, sends a
// heartbeat of the client with this ID. The ID may be empty if no other client
// can attach.
func HeartbeatCommand(windows bool, id string) []string {
	if windows {
		const source = `New-Item -Force "$env:KSHELL_STATE\beat" | Out-Null`
		return []string{"powershell", "-NoLogo", "-NoProfile", "-Command", source}
	}
	if id != "" {
		id = "-" + id
	}
	return []string{"sh", "-c", `: >"$KSHELL_STATE/beat$1"`, "kshell", id}
}

// DetachCommand returns the command that, run in the container, makes the pod
// run without heartbeats. ReattachCommand undoes it.
func DetachCommand() []string { return []string{"sh", "-c", `: >"$KSHELL_STATE/detached"`} }

// ReattachCommand returns the command that, run in the container, makes the pod
// require heartbeats again.
func ReattachCommand() []string { return []string{"sh", "-c", `rm -f "$KSHELL_STATE/detached"`} }

// LeaveCommand returns the command that, run in the container, removes the
// client with this ID from the attached clients. Its exit code is 0 if other
// clients are attached, otherwise 1.
func LeaveCommand(id string) []string {
	return []string{"sh", "-c", script.Shrink(leaveScript), "kshell", id}
}

// MarkCommand returns the command that, run in the container, prints a mark to
// the shell's terminal (see Replay). The command also sends a heartbeat of the
// client.
func MarkCommand(clientID, markID string) []string {
	return []string{"sh", "-c", script.Shrink(markScript), "kshell", clientID, markID}
}
