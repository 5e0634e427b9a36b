package node

import (
	_ "embed"
	"strconv"
	"strings"
	"time"

	"kshell/internal/script"
)

var (
	//go:embed keep.sh
	keep string
	//go:embed wait.sh
	idle string
	//go:embed shell.sh
	shell string
	//go:embed enter.sh
	enter string
	//go:embed mark.sh
	marks string
	//go:embed leave.sh
	leave string
	//go:embed keep.ps1
	keepWindows string
)

// look returns the time between two checks for a heartbeat in the pod, in
// seconds: a tenth of Stale.
func (o *Options) look() int { return max(1, int(o.HeartbeatTimeout/time.Second)/10) }

// HeartbeatInterval returns the time between two heartbeats to a pod that ends
// after timeout without one: a fifth of that.
func HeartbeatInterval(timeout time.Duration) time.Duration { return timeout / 5 }

// main returns the command of the pod's main process.
func (o *Options) main() []string {
	stale, look := strconv.Itoa(int(o.HeartbeatTimeout/time.Second)), strconv.Itoa(o.look())
	if o.Windows {
		return []string{"powershell", "-NoLogo", "-NoProfile", "-Command", strings.NewReplacer("STALE", stale, "LOOK", look).Replace(keepWindows)}
	}
	attended := "attended"
	if o.Detached {
		attended = "detached"
	}
	if !o.Shell {
		return []string{"sh", "-c", legible(keep + idle), "kshell", stale, look, attended}
	}
	return append([]string{"sh", "-c", legible(keep + shell), "kshell", stale, look, attended, legible(enter)}, o.way()...)
}

// legible returns a script without tabs, so that YAML shows it as a block.
func legible(source string) string { return strings.ReplaceAll(source, "\t", "  ") }

// Command returns the command that, run in the container, runs args on the
// node, or a login shell without args.
func (o *Options) Command(args []string) []string {
	if o.Windows {
		if len(args) == 0 {
			return []string{"powershell"}
		}
		return args
	}
	return append(append([]string{"sh", "-c", script.Shrink(enter), "kshell"}, o.way()...), args...)
}

// way returns the arguments of enter.sh.
func (o *Options) way() []string {
	how := o.Entry
	if how == "" {
		how = Auto
	}
	switch {
	case how == Auto && len(o.Claims) > 0: // which the node does not see
		how = View
	case how == Auto && o.Private.PID: // the first process is not the node's, then
		how = Chroot
	}
	var into []string
	for _, ns := range []struct {
		flag  string
		apart bool
	}{{"-m", o.Private.Mount}, {"-u", o.Private.UTS}, {"-i", o.Private.IPC}, {"-n", o.Private.Net}} { // hostPID has the node's processes already
		if !ns.apart {
			into = append(into, ns.flag)
		}
	}
	return []string{how, strings.Join(into, " ")}
}

// NeedsPropagation reports whether commands run outside the node's mount namespace, so
// that they see later mounts of the node only with mount propagation. It is
// false where enter.sh decides that when it runs (Auto).
func (o *Options) NeedsPropagation() bool {
	how := o.way()[0]
	return !o.Windows && (how == Chroot || how == View || o.Private.Mount || o.Profile == General || o.Profile == NetAdmin)
}

// BeatCommand returns the command that, run in the container, is a heartbeat of the
// kshell with this id. The id may be empty if no other kshell can attach.
func HeartbeatCommand(windows bool, id string) []string {
	if windows {
		return []string{"powershell", "-NoLogo", "-NoProfile", "-Command", `New-Item -Force "$env:KSHELL_STATE\beat" | Out-Null`}
	}
	if id != "" {
		id = "-" + id
	}
	return []string{"sh", "-c", `: >"$KSHELL_STATE/beat$1"`, "kshell", id}
}

// DetachCommand returns the command that, run in the container, makes the pod run
// without heartbeats. ReattachCommand undoes it.
func DetachCommand() []string { return []string{"sh", "-c", `: >"$KSHELL_STATE/detached"`} }

// ReattachCommand undoes DetachCommand.
func ReattachCommand() []string { return []string{"sh", "-c", `rm -f "$KSHELL_STATE/detached"`} }

// LeaveCommand returns the command that, run in the container, removes the kshell with
// this id from those that are attached. Its exit code is 0 if others are
// attached, else 1.
func LeaveCommand(id string) []string {
	return []string{"sh", "-c", script.Shrink(leave), "kshell", id}
}

// MarkCommand returns the command that, run in the container, prints a mark into the
// shell's terminal (see Replay). It is a heartbeat, too.
func MarkCommand(id, mark string) []string {
	return []string{"sh", "-c", script.Shrink(marks), "kshell", id, mark}
}
