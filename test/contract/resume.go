//go:build unix

package contract

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"

	"kshell/test/faultproxy"
)

// ResumeSetup is a Setup for sessions of --resume.
type ResumeSetup struct {
	Setup
	// Flags are flags of exec that select the path to the container.
	Flags []string
	// Dir returns a new --resume-dir, or "" for the default directories.
	Dir func(t *testing.T) string
}

// resumed returns the first arguments of exec for a new session. The session
// ends soon after a test that has failed.
func (w ResumeSetup) resumed(t *testing.T, flags ...string) []string {
	t.Helper()
	args := slices.Concat([]string{"exec"}, w.Flags, []string{"--resume=always", "--resume-timeout=3m"})
	if w.Dir != nil {
		args = append(args, "--resume-dir", w.Dir(t))
	}
	return append(args, flags...)
}

// The messages of sessions of --resume.
const (
	sameShell     = `connected again after [0-9]+ s: the same shell`
	sameCommand   = `connected again after [0-9]+ s: the command continues`
	resumeWaiting = `trying again in [0-9]+ s \(~R: now, ~d: leave it running, ~\.: end it\)`
)

// resumedShell opens a shell in a new pod through a proxy.
func (w ResumeSetup) resumedShell(t *testing.T, flags ...string) (*Terminal, *faultproxy.Proxy, string) {
	t.Helper()
	proxy, server := w.Through(t)
	pod := w.Pod(t)
	args := w.resumed(t, slices.Concat(server, []string{"-it"}, flags, []string{pod, "--", "sh"})...)
	term := w.Shell(t, args[1:]...)
	return term, proxy, pod
}

// checkNothingLeft checks that the pod has no more processes than its first one.
// A zombie of the agent may remain, because the first process does not wait for it.
func (w ResumeSetup) checkNothingLeft(t *testing.T, pod string) {
	t.Helper()
	alive, dead := w.Remaining(t, pod, terminalTimeout)
	if len(alive) > 0 || len(dead) > 1 {
		t.Errorf("left in the container: %q, zombies %q", alive, dead)
	}
}

// Resume checks sessions that survive a lost connection. The checks that take
// minutes are in ResumeKeys, ResumeTransfer, ResumeReset and ResumeInterrupt.
func Resume(t *testing.T, w ResumeSetup) {
	for name, test := range map[string]func(*testing.T, ResumeSetup){
		"a shell survives each kind of cut":               resumeCuts,
		"keys typed during an outage are applied once":    resumeKeysInOutage,
		"a shell is left running and attached to":         resumeDetach,
		"two clients take part in a shell":                resumeTwoClients,
		"a command is started without attaching":          resumeStartDetached,
		"a session is ended by its ID":                    resumeEnd,
		"~. ends the session":                             resumeLeave,
		"a killed client leaves the session":              resumeKilled,
		"an unfinished input never ends":                  resumeUnfinishedInput,
		"a command across cuts":                           resumeCommand,
		"signals reach the command":                       resumeSignals,
		"--timeout ends the command":                      resumeTimeout,
		"the session ends without clients":                resumeIdle,
		"the agent is copied once":                        resumeReuse,
		"a directory that cannot be used":                 resumeBadDirectory,
		"a slow upload":                                   resumeSlowUpload,
		"the terminal of a command":                       resumeTerminal,
		"nothing is left of sessions that have ended":     resumeNothingLeft,
		"exact=always is satisfied":                       resumeExact,
		"reconnect=always does not run the command again": resumeOnce,
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

// resumeCuts cuts the connection of a shell in several ways. The shell and its
// variables are the same after each cut.
func resumeCuts(t *testing.T, w ResumeSetup) {
	term, proxy, pod := w.resumedShell(t, "--keepalive=2s")
	term.Type("mine=old; echo pid=$$.\r")
	pid := term.WaitFor(`pid=[0-9]+\.`)
	for i, cut := range []func(){
		func() { proxy.Cut(faultproxy.Both, faultproxy.RST) },
		func() { proxy.Cut(faultproxy.Both, faultproxy.FIN) },
		func() { proxy.Cut(faultproxy.Server, faultproxy.RST) }, // half-open
		func() {
			blackHole(proxy, true)
			term.WaitFor(`no (reply|answer) for [0-9]+ s`)
			proxy.Cut(faultproxy.Both, faultproxy.RST)
			blackHole(proxy, false)
		},
		func() { term.TypeEscape("R", "") },
	} {
		cut()
		term.WaitFor(sameShell)
		term.Type(fmt.Sprintf("echo cut=%d.$mine.pid=$$.\r", i))
		term.WaitFor(fmt.Sprintf(`cut=%d\.old\.%s`, i, regexp.QuoteMeta(pid)))
	}
	term.exitShell(4)
	w.checkNothingLeft(t, pod)
}

func resumeKeysInOutage(t *testing.T, w ResumeSetup) {
	term, proxy, _ := w.resumedShell(t)
	refuse(t, proxy, true)
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	term.WaitFor(resumeWaiting)
	term.Type("echo on''ce >>count; cat count; echo en''d\r")
	refuse(t, proxy, false)
	term.WaitFor(sameShell)
	term.WaitFor(`end\r\n`)
	if n := strings.Count(term.Text(), "once\r\n"); n != 1 {
		t.Errorf("the line was run %d times: %q", n, term.Text())
	}
	term.exitShell(5)
}

// sessionID is the ID in the message that a session continues.
var sessionID = regexp.MustCompile(`session ([0-9a-f]+) continues`)

// detach types ~d and returns the ID of the session.
func (w *Terminal) detach() string {
	w.t.Helper()
	w.TypeEscape("d", `kshell: detached: session [0-9a-f]+ continues\r\n`)
	w.CheckExit(0)
	return sessionID.FindStringSubmatch(w.Text())[1]
}

// attachTo attaches to a session from a new terminal.
func (w ResumeSetup) attachTo(t *testing.T, dir, pod string, id ...string) *Terminal {
	t.Helper()
	args := slices.Concat([]string{"exec"}, w.Flags)
	if dir != "" {
		args = append(args, "--resume-dir", dir)
	}
	return w.Open(t, append(append(args, "--attach", pod), id...)...)
}

// onlySession returns the ID of the only session in the directory. The list of
// sessions may have more, because all pods of a sandbox share /tmp.
func (w ResumeSetup) onlySession(t *testing.T, dir, pod string) string {
	t.Helper()
	r := w.Run(t, nil, "exec", modePlain, pod, "--", "sh", "-c", "ls $0/.kshell-agent-*", cmp.Or(dir, "/tmp"))
	ids := regexp.MustCompile(`(?m)^s-([0-9a-f]+)$`).FindAllStringSubmatch(r.Out, -1)
	if len(ids) != 1 {
		t.Fatalf("there is not one session: %+v", r)
	}
	return ids[0][1]
}

// inDir returns w with one directory for all sessions, and the directory.
func (w ResumeSetup) inDir(t *testing.T) (ResumeSetup, string) {
	t.Helper()
	if w.Dir == nil {
		return w, ""
	}
	dir := w.Dir(t)
	w.Dir = func(*testing.T) string { return dir }
	return w, dir
}

func resumeDetach(t *testing.T, w ResumeSetup) {
	w, dir := w.inDir(t)
	term, _, pod := w.resumedShell(t)
	term.Type("mine=old; echo he''re\r")
	term.WaitFor(`here\r\n`)
	id := term.detach()
	for range 2 {
		again := w.attachTo(t, dir, pod, id)
		again.WaitFor(`here\r\n`) // printed before
		again.Type("echo kept=$mine.\r")
		again.WaitFor(`kept=old\.`)
		if again.detach() != id {
			t.Error("the ID has changed")
		}
	}
	last := w.attachTo(t, dir, pod, id)
	last.WaitFor(`kept=old\.`)
	last.exitShell(6)
	gone := w.attachTo(t, dir, pod, id)
	gone.WaitFor(`kshell: .*` + id)
	gone.CheckExit(255)
	w.checkNothingLeft(t, pod)
}

func resumeTwoClients(t *testing.T, w ResumeSetup) {
	w, dir := w.inDir(t)
	first, proxy, pod := w.resumedShell(t)
	id := w.onlySession(t, dir, pod)
	second := w.attachTo(t, dir, pod, id)
	first.WaitFor(`kshell: \S+@\S+ (has )?attached`)
	second.Type("\recho ty''ped\r")
	second.WaitFor(`typed\r\n`)
	first.WaitFor(`typed\r\n`)
	second.Resize(40, 100)
	// The input may arrive before the new size.
	second.Type("until [ \"$(stty size)\" = '40 100' ]; do sleep 0.1; done; stty size\r")
	first.WaitFor(`40 100\r\n`)
	first.Type("stty size\r") // the newest to type sets the size
	second.WaitFor(`24 80\r\n`)
	proxy.Cut(faultproxy.Both, faultproxy.RST) // of the first client only
	second.Type("echo ag''ain\r")
	second.WaitFor(`again\r\n`)
	first.WaitFor(`again\r\n`)
	second.detach()
	first.WaitFor(`kshell: \S+@\S+ (has )?(left|detached)`)
	third := w.attachTo(t, dir, pod, id)
	third.WaitFor(`again\r\n`)
	first.Type("exit 7\r")
	first.CheckExit(7)
	third.CheckExit(7)
	w.checkNothingLeft(t, pod)
}

// startDetached starts a command with --detach, and returns the ID of its session.
func (w ResumeSetup) startDetached(t *testing.T, args ...string) string {
	t.Helper()
	r := w.Run(t, nil, w.resumed(t, append([]string{"--detach"}, args...)...)...)
	if r.Code != 0 || !regexp.MustCompile(`^[0-9a-f]+\n$`).MatchString(r.Out) {
		t.Fatalf("%+v", r)
	}
	return strings.TrimSpace(r.Out)
}

func resumeStartDetached(t *testing.T, w ResumeSetup) {
	w, dir := w.inDir(t)
	pod := w.Pod(t)
	id := w.startDetached(t, pod, "--", "sh", "-c", "echo out; echo err >&2; sleep 1; echo end; exit 8")
	list := w.Run(t, nil, w.list(dir, pod)...)
	if list.Code != 0 || !strings.Contains(list.Out, id) {
		t.Errorf("the list: %+v", list)
	}
	args := slices.Concat([]string{"exec"}, w.Flags, []string{"--attach", pod, id})
	if dir != "" {
		args = slices.Insert(args, 1, "--resume-dir", dir)
	}
	if r := w.Run(t, nil, args...); r.Code != 8 || r.Out != "out\nend\n" || !strings.Contains(r.Err, "err\n") {
		t.Errorf("%+v", r)
	}
	w.checkNothingLeft(t, pod)
}

// list returns the arguments that list the sessions of a pod.
func (w ResumeSetup) list(dir, pod string, more ...string) []string {
	args := slices.Concat([]string{"sessions"}, w.Flags)
	if dir != "" {
		args = append(args, "--resume-dir", dir)
	}
	return append(append(args, pod), more...)
}

func resumeEnd(t *testing.T, w ResumeSetup) {
	w, dir := w.inDir(t)
	term, _, pod := w.resumedShell(t)
	id := w.onlySession(t, dir, pod)
	if r := w.Run(t, nil, w.list(dir, pod)...); r.Code != 0 || !strings.Contains(r.Out, id) {
		t.Fatalf("the list: %+v", r)
	}
	if r := w.Run(t, nil, w.list(dir, pod, "--end", id)...); r.Code != 0 {
		t.Errorf("%+v", r)
	}
	if code := term.Exit(); code == 0 {
		t.Errorf("the shell was ended, and kshell exited with %d: %q", code, last(term.Text(), 500))
	}
	w.checkNothingLeft(t, pod)
}

func resumeLeave(t *testing.T, w ResumeSetup) {
	term, _, pod := w.resumedShell(t)
	term.TypeEscape("i", `round trip to the container [0-9.]+`)
	term.Type("\r")
	term.Type("sleep 1000\r")
	term.WaitFor(`sleep 1000\r\n`)
	term.Type("\x03")
	term.WaitFor(`ready\$ `)
	term.TypeEscape(".", `kshell: session`)
	term.CheckExit(255)
	w.checkNothingLeft(t, pod)
}

func resumeKilled(t *testing.T, w ResumeSetup) {
	w, dir := w.inDir(t)
	term, _, pod := w.resumedShell(t)
	term.Type("mine=old; echo he''re\r")
	term.WaitFor(`here\r\n`)
	term.Signal(syscall.SIGKILL)
	term.Exit()
	again := w.attachTo(t, dir, pod, w.onlySession(t, dir, pod))
	again.WaitFor(`here\r\n`)
	again.Type("echo kept=$mine.\r")
	again.WaitFor(`kept=old\.`)
	again.exitShell(9)
	w.checkNothingLeft(t, pod)
}

func resumeReuse(t *testing.T, w ResumeSetup) {
	w, dir := w.inDir(t)
	pod := w.Pod(t)
	id := w.startDetached(t, pod, "--", "sleep", "1000")
	directories := func() int {
		r := w.Run(t, nil, "exec", modePlain, pod, "--", "sh", "-c", "ls -d $0/.kshell-agent-*", cmp.Or(dir, "/tmp"))
		return strings.Count(r.Out, "\n")
	}
	if r := w.Run(t, nil, w.resumed(t, pod, "--", "true")...); r.Code != 0 || r.Err != "" {
		t.Errorf("%+v", r)
	}
	if n := directories(); n != 1 {
		t.Errorf("there are %d directories of agents", n)
	}
	w.Run(t, nil, w.list(dir, pod, "--end", id)...)
	withTimeLimit(t, "the directory is removed", func() bool { return directories() == 0 })
	w.checkNothingLeft(t, pod)
}

// resumeTerminal compares the terminal of a command with that of plain exec.
func resumeTerminal(t *testing.T, w ResumeSetup) {
	// The server of plain exec sets the size after the start of the command.
	const script = `until [ "$(stty size)" = "40 200" ]; do sleep 0.1; done
		stty -a; tty >/dev/null && echo tty; stty size; echo "[$TERM]"
		tr '\0' '\n' </proc/self/environ | sort
		grep -E '^(Sig(Ign|Blk)|Umask|Cap|NoNewPrivs)' /proc/self/status; ulimit -a; pwd; echo en''d`
	pod := w.Pod(t)
	run := func(args []string) string {
		w := openTerminal(t, w.Command(t.Context(), t, append(args, "-it", pod, "--", "sh", "-c", script)...),
			pty.Winsize{Rows: 40, Cols: 200})
		w.WaitFor(`end\r\n`)
		w.CheckExit(0)
		return w.Text()
	}
	// The sandbox sets these variables only for an exec with a terminal. On a slow
	// machine, kshell prints what it is waiting for.
	filter := regexp.MustCompile(
		`(?m)^(HISTFILE|LANG|PS1)=.*\n|(\r\x1b\[K)?kshell: (waiting for|uploading) [^\r]*(\r\n|\r\x1b\[K)?`)
	plain := filter.ReplaceAllString(run(slices.Concat([]string{"exec"}, w.Flags)), "")
	if got := filter.ReplaceAllString(run(w.resumed(t)), ""); got != plain {
		t.Errorf("the terminal %s", differences(got, plain))
	}
}

func resumeNothingLeft(t *testing.T, w ResumeSetup) {
	pod := w.Pod(t)
	for i := range 5 {
		r := w.Run(t, nil, w.resumed(t, pod, "--", "sh", "-c", fmt.Sprintf("exit %d", i))...)
		if r.Code != i || r.Err != "" {
			t.Errorf("%+v", r)
		}
	}
	if alive, dead := w.Remaining(t, pod, terminalTimeout); len(alive) > 0 || len(dead) > 0 {
		t.Errorf("left in the container: %q, zombies %q", alive, dead)
	}
}

func resumeBadDirectory(t *testing.T, w ResumeSetup) {
	pod := w.Pod(t)
	args := slices.Concat([]string{"exec"}, w.Flags,
		[]string{"--resume=always", "--resume-dir=/proc/none", pod, "--", "sh", "-c", "exit 3"})
	if r := w.Run(t, nil, args...); r.Code != 3 { // one of the default directories is used
		t.Errorf("%+v", r)
	}
}

// withTimeLimit waits until done returns true.
func withTimeLimit(t *testing.T, what string, done func() bool) {
	t.Helper()
	for late := time.Now().Add(runTimeout); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("%s: not after %v", what, runTimeout)
		}
	}
}
