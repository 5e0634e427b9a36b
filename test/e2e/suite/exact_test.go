package suite

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/test/contract"
	"kshell/test/e2e/harness"
)

var (
	trials        = flag.Int("trials", 3, "trials of each scenario with kshell; a third of that for long scenarios")
	longTrials    = flag.Int("long-trials", 0, "trials of each long scenario; 0: a third of -trials")
	atOnce        = flag.Int("long-at-once", 0, "concurrent trials of long scenarios; 0: as many as suit a CI machine")
	kubectlTrials = flag.Int("kubectl-trials", 1, "maximum number of trials of each scenario with kubectl; 0: none")
	only          = flag.String("scenarios", "", "regular expression: run only the scenarios whose name matches")
	strict        = flag.Bool("strict", false, "fail if exact mode exceeds its budget: for an idle machine")
)

// v5 selects a protocol that a server translates; v4 selects one that no server
// translates.
var (
	v5 = []string{"--subprotocol", "v5.channel.k8s.io"}
	v4 = []string{"--subprotocol", "v4.channel.k8s.io"}
)

// subjects are kshell on three paths to a container, and kubectl on the paths
// that it supports.
func subjects() []contract.Subject {
	at := func(s harness.Server) contract.Server {
		host, _, _ := strings.Cut(s.Addr(), ":")
		return contract.Server{Addr: s.Addr(), Name: host, Remote: true}
	}
	main, translating := at(harness.MainServer), at(harness.TranslatingServer)
	other := kubectl()
	other.Kubeconfig = cluster.KubeconfigTranslating()
	return []contract.Subject{
		{Name: "kshell kubelet", Program: program(cluster.Kubeconfig()), Server: main, Flags: v5},
		{Name: "kshell apiserver", Program: program(cluster.KubeconfigTranslating()), Server: translating, Flags: v5},
		{Name: "kshell v4", Program: program(cluster.Kubeconfig()), Server: main, Flags: v4},
		{Name: "kubectl kubelet", Program: kubectl(), Server: main, Reference: true},
		{Name: "kubectl apiserver", Program: other, Server: translating, Reference: true},
		{
			Name:      "kubectl SPDY",
			Program:   kubectl(),
			Server:    main,
			Env:       []string{"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false"},
			Reference: true,
		},
	}
}

// kshellSubjects are the subjects that are kshell.
func kshellSubjects() []contract.Subject { return subjects()[:3] }

// TestExact_Scenarios runs scenarios in which servers and clients report wrong
// results. kshell must always be exact; the results of kubectl are logged (-v).
func TestExact_Scenarios(t *testing.T) {
	notInCI(t)
	contract.ScenarioRunner{
		Subjects: subjects(), Pods: sleepers, Remaining: remainingIn, KillRemaining: killRemaining,
		Trials: *trials, LongTrials: cmp.Or(*longTrials, (*trials+2)/3), References: *kubectlTrials, LongAtOnce: *atOnce,
	}.Run(t, contract.FilterScenarios(contract.Scenarios(), regexp.MustCompile(*only)))
}

// sleepers creates pods that sleep.
func sleepers(t testing.TB, n int) []string {
	tt := t.(*testing.T)
	pods := make([]string, n)
	for i := range pods {
		pods[i] = createPod(tt, sleeper(""))
	}
	for _, p := range pods {
		waitForPod(tt, p, "ready", isReady)
	}
	return pods
}

// listProcesses is a script that lists the processes of a container except the
// main process and the script itself. It lists a zombie (Z) only if its parent
// is the main process, which does not reap it; the parents of other zombies are
// about to reap them.
const listProcesses = `for p in /proc/[0-9]*; do
	p=${p#/proc/}
	[ $p != 1 ] && [ $p != $$ ] && read -r line </proc/$p/stat || continue
	case ${line##*) } in
	"Z 1 "*) echo "Z ${line%%) *})" ;;
	Z*) ;;
	*) echo ${line%%) *}: $(tr '\0\n' '  ' </proc/$p/cmdline | tail -c 200) $(cat /proc/$p/wchan) ;;
	esac
done 2>/dev/null`

// remainingIn waits until only the main process of a pod runs, but not longer
// than grace. It returns the other processes that are left: the running ones
// (alive) and the zombies (dead).
func remainingIn(t testing.TB, pod string, grace time.Duration) (alive, dead []string) {
	p := program(cluster.Kubeconfig())
	for late := time.Now().Add(grace); ; time.Sleep(100 * time.Millisecond) {
		r := p.Run(t, nil, "exec", "--exact=never", pod, "--", "sh", "-c", listProcesses)
		alive, dead = nil, nil
		for line := range strings.Lines(r.Out) {
			if strings.HasPrefix(line, "Z ") {
				dead = append(dead, line)
			} else {
				alive = append(alive, line)
			}
		}
		if r.Code != 0 || r.Err != "" {
			alive = append(alive, fmt.Sprintf("unknown: %d, %s", r.Code, r.Err))
		}
		if len(alive) == 0 || time.Now().After(late) {
			return alive, dead
		}
	}
}

// killRemaining kills all processes in the container except the main one.
func killRemaining(t testing.TB, pod string) {
	program(cluster.Kubeconfig()).Run(t, nil, "exec", "--exact=never", pod, "--", "sh", "-c", "kill -KILL -1")
}

func TestExact_Fuzz(t *testing.T) {
	notInCI(t)
	pods := sleepers(t, len(kshellSubjects()))
	var all sync.WaitGroup
	for i, s := range kshellSubjects() {
		all.Go(func() { contract.Fuzz(t, s, pods[i], max(20, *runs)) })
	}
	all.Wait()
}

// podWithEnv creates a pod with the variables, and a working directory with a
// space in its path.
func podWithEnv(t *testing.T, image string, environ map[string]string) string {
	t.Helper()
	p := sleeper("")
	c := &p.Spec.Containers[0]
	c.Image, c.WorkingDir = image, "/tmp/a folder"
	for name, value := range environ {
		c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
	}
	return createReady(t, p)
}

// oddVariables have values that programs use and scripts tend to break.
var oddVariables = map[string]string{
	"PWD": "/elsewhere", "OLDPWD": "before", "SHLVL": "41", "ENV": "/no/such", "BASH_ENV": "/no/such", "HOSTNAME": "named",
	"PS1": "prompt", "UID": "77", "LINES": "a\nb\n\nc\n", "EMPTY": "", "BLANK": "  a  b  ",
	"QUOTES": `it's "q" $HOME $$(id) ` + "`id`" + ` \n *`, "UTF8": "grüße 👋", "LAST": "a\n",
	"with.dots": "1", "with-dashes": "2", "9digits": "3", "with.lines": "a\nb", "CONTROL": "\x01\x1e\x7f",
	"LONG": strings.Repeat("long ", 4000),
}

// shellVariables have a meaning for a shell or for kshell's script.
var shellVariables = map[string]string{
	"_": "/bin/under", "IFS": ":", "PS2": "", "PS4": "$(id)", "OPTIND": "7", "LINENO": "5", "k_mark": "x",
	"kshell_mark": "x", "k_env": "y", "kshell_env": "y",
}

// TestExact_Transparent compares commands with and without exact mode, in each
// kind of image.
func TestExact_Transparent(t *testing.T) {
	notInCI(t)
	all, environs := regexp.MustCompile(""), regexp.MustCompile("environment|variables|options|folder")
	for _, i := range []struct {
		name, pod, shell string
		always           bool
		only             *regexp.Regexp
	}{
		{"busybox", "web", "sh", true, all},
		{"bash", "bashpod", "bash", true, all},
		{"ash alone", "ashonly", "ash", false, all},
		{"busybox, odd variables", podWithEnv(t, harness.BusyboxImage, oddVariables), "sh", true, environs},
		{"bash, odd variables", podWithEnv(t, harness.BashImage, oddVariables), "bash", true, environs},
		{"busybox, shellish variables", podWithEnv(t, harness.BusyboxImage, shellVariables), "sh", true, environs},
		{"bash, shellish variables", podWithEnv(t, harness.BashImage, shellVariables), "bash", true, environs},
	} {
		t.Run(i.name, func(t *testing.T) {
			t.Parallel()
			contract.SameBehavior(t, program(cluster.Kubeconfig()), i.pod, i.shell, i.always, i.only)
		})
	}
	for _, s := range kshellSubjects() {
		t.Run(s.Name, func(t *testing.T) { contract.NoInput(t, s.Program, s.Flags, "web") })
	}
}

// In an image without sh, exact mode falls back, and costs one more request.
func TestExact_NoShell(t *testing.T) {
	notInCI(t)
	for _, s := range kshellSubjects() {
		t.Run(s.Name, func(t *testing.T) {
			for _, c := range []contract.Case{
				{Args: []string{"noshell", "--", "/args", "a b", "", "c"}, Out: "a b\n\nc\n", Quiet: true},
				{Args: []string{"noshell", "--", "/exit", "7"}, Code: 7, Quiet: true},
				{Args: []string{"noshell", "--", "/no-such"}, Code: 127, Err: []string{`no command "/no-such"`}},
				{Args: []string{"ashonly", "--", "ash", "-c", "echo $0; exit 9"}, Out: "ash\n", Code: 9, Quiet: true},
				{
					Args: []string{"--exact=always", "noshell", "--", "/exit", "7"}, Code: 255,
					Err: []string{"--exact=always", "hint: "},
				},
			} {
				c.Args = append(append([]string{}, s.Flags...), c.Args...)
				c.Run(t, s.Program)
			}
		})
	}
}

func TestExact_Cost(t *testing.T) {
	notInCI(t)
	for _, s := range kshellSubjects() {
		if slices.Equal(s.Flags, v5) { // kshell selects the subprotocol, as for users
			s.Flags = nil
		}
		contract.Cost(t, s, "web", 61, 5, min(*volume, 64<<20),
			contract.Budget{Start: 3 * time.Millisecond, Volume: 0.03, Strict: *strict})
	}
}

// If unread input blocks a server, the server never reports how the command
// ended. One of the two API servers still answers pings in this state. kshell
// then looks for the command's processes in the container.
func TestPlain_UnreadInput(t *testing.T) {
	notInCI(t)
	for _, way := range apiPaths() {
		for _, c := range []struct {
			name    string
			command []string
			code    int
		}{
			{"true", []string{"true"}, 0},
			{"exit 3", []string{"sh", "-c", "exit 3"}, 3},
			{"head -1", []string{"head", "-n", "1"}, 0},
			{"sleep 3", []string{"sleep", "3"}, 0},
		} {
			for _, size := range []int{200_000, 8 << 20, 64 << 20} {
				t.Run(fmt.Sprint(way.name, " ", size, " bytes into ", c.name), func(t *testing.T) {
					t.Parallel()
					pod := createReady(t, sleeper("")) // no other process may run there
					run := func() contract.Result {
						args := append([]string{"exec", "-i", "--exact=never", pod, "--"}, c.command...)
						return program(way.kubeconfig).Run(t, bytes.Repeat([]byte("y\n"), size/2), args...)
					}
					r := run()
					for n := 1; n < contract.MaxFalseSuccesses && way.name == "apiserver" && r.FalseSuccess(t, c.code); n++ {
						r = run()
					}
					if r.Took > 50*time.Second || r.Code != c.code && (r.Code != 255 || !oneMessage.MatchString(r.Err)) {
						t.Errorf("exit code %d after %v, stderr %q", r.Code, r.Took, r.Err)
					}
					t.Logf("%d after %v: %q", r.Code, r.Took.Round(time.Second), r.Err)
				})
			}
		}
	}
}
