package node

import (
	_ "embed"
	"strconv"
	"strings"
	"time"
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

// look is how often the pod looks for a sign of life: a tenth of the time after which it misses one, in whole seconds.
func (o *Options) look() int { return max(1, int(o.Stale/time.Second)/10) }

// HeartbeatInterval is how often a heartbeat is sent to a pod that ends after
// timeout without one: five times in that time.
func HeartbeatInterval(timeout time.Duration) time.Duration { return timeout / 5 }

// main is the pod's main process.
func (o *Options) main() []string {
	stale, look := strconv.Itoa(int(o.Stale/time.Second)), strconv.Itoa(o.look())
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

// legible is a script that stands in YAML as it is written: that has no tabs.
func legible(source string) string { return strings.ReplaceAll(source, "\t", "  ") }

// Command is what has to be run in the container for args to run on the node; without args a login shell.
func (o *Options) Command(args []string) []string {
	if o.Windows {
		if len(args) == 0 {
			return []string{"powershell"}
		}
		return args
	}
	return append(append([]string{"sh", "-c", compact(enter), "kshell"}, o.way()...), args...)
}

// way is what enter.sh is told.
func (o *Options) way() []string {
	how := o.How
	if how == "" {
		how = Auto
	}
	switch {
	case how == Auto && len(o.Claims) > 0: // which the node does not see
		how = View
	case how == Auto && o.Apart.PID: // the first process is not the node's, then
		how = Chroot
	}
	var into []string
	for _, ns := range []struct {
		flag  string
		apart bool
	}{{"-m", o.Apart.Mount}, {"-u", o.Apart.UTS}, {"-i", o.Apart.IPC}, {"-n", o.Apart.Net}} { // hostPID has the node's processes already
		if !ns.apart {
			into = append(into, ns.flag)
		}
	}
	return []string{how, strings.Join(into, " ")}
}

// Follows reports whether commands are certain to see the node's files in the
// pod's folder for them, and not in the node's own mount namespace: mounts that
// the node makes later are seen there only with mount propagation.
func (o *Options) Follows() bool {
	how := o.way()[0]
	return !o.Windows && (how == Chroot || how == View || o.Apart.Mount || o.Profile == General || o.Profile == NetAdmin)
}

// Beat is the command of a heartbeat, to be run in the container, of the kshell with this id; "" if no other kshell can be there.
func Beat(windows bool, id string) []string {
	if windows {
		return []string{"powershell", "-NoLogo", "-NoProfile", "-Command", `New-Item -Force "$env:KSHELL_STATE\beat" | Out-Null`}
	}
	if id != "" {
		id = "-" + id
	}
	return []string{"sh", "-c", `: >"$KSHELL_STATE/beat$1"`, "kshell", id}
}

// Detach is what has to be run in the container so that it does without signs of life, and Return so that it does not any more.
func Detach() []string { return []string{"sh", "-c", `: >"$KSHELL_STATE/detached"`} }

// Return undoes Detach.
func Return() []string { return []string{"sh", "-c", `rm -f "$KSHELL_STATE/detached"`} }

// Leave is what has to be run in the container when the kshell with this id leaves the shell. It ends with 0 if others are there, else with 1.
func Leave(id string) []string { return []string{"sh", "-c", compact(leave), "kshell", id} }

// Mark is what has to be run in the container to put a mark into what the shell prints (see Tape), which is a sign of life, too.
func Mark(id, mark string) []string { return []string{"sh", "-c", compact(marks), "kshell", id, mark} }

// compact is a script without comments.
func compact(source string) string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		if !strings.HasPrefix(strings.TrimLeft(line, "\t"), "#") {
			b.WriteString(strings.TrimLeft(line, "\t"))
		}
	}
	return b.String()
}
