package suite

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/test/contract"
	"kshell/test/e2e/harness"
)

var (
	trials = flag.Int("trials", 3, "trials of each end that lies, by kshell: a few every day, 200 when it counts; of those that take long 1 in 3")
	longs  = flag.Int("long-trials", 0, "trials of each end that lies and takes long; 0: a third of -trials")
	atOnce = flag.Int("long-at-once", 0, "trials of ends that take long at the same time; 0: as many as a machine like CI's can do")
	theirs = flag.Int("kubectl-trials", 1, "trials of each end by kubectl, at most; 0 leaves it out")
	ends   = flag.String("ends", "", "a regular expression: only the ends with such a name")
	strict = flag.Bool("strict", false, "more than the budget of exact mode is an error: for a machine that does nothing else")
)

// v4 leads past all translators.
var v4 = []string{"--subprotocol", "v4.channel.k8s.io"}

// subjects are kshell on the three server paths, and kubectl on those that it knows.
func subjects() []contract.Subject {
	at := func(s harness.Server) contract.Server {
		host, _, _ := strings.Cut(s.Addr(), ":")
		return contract.Server{Addr: s.Addr(), Name: host, Remote: true}
	}
	main, translating := at(harness.MainServer), at(harness.TranslatingServer)
	other := kubectl()
	other.Kubeconfig = cluster.KubeconfigTranslating()
	return []contract.Subject{
		{Name: "kshell kubelet", Program: program(cluster.Kubeconfig()), Server: main},
		{Name: "kshell apiserver", Program: program(cluster.KubeconfigTranslating()), Server: translating},
		{Name: "kshell v4", Program: program(cluster.Kubeconfig()), Server: main, Flags: v4},
		{Name: "kubectl kubelet", Program: kubectl(), Server: main, Reference: true},
		{Name: "kubectl apiserver", Program: other, Server: translating, Reference: true},
		{Name: "kubectl SPDY", Program: kubectl(), Server: main, Env: []string{"KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false"}, Reference: true},
	}
}

// ours are the subjects that are kshell.
func ours() []contract.Subject { return subjects()[:3] }

// TestExactEnds tries the ends of a command that servers and clients get wrong. All cells of kshell are exact; kubectl's are told (-v).
func TestExactEnds(t *testing.T) {
	notInCI(t)
	contract.ScenarioRunner{
		Subjects: subjects(), Pods: sleepers, Remaining: leftIn, KillRemaining: sweep,
		Trials: *trials, LongTrials: cmp.Or(*longs, (*trials+2)/3), References: *theirs, LongAtOnce: *atOnce,
	}.Run(t, contract.FilterScenarios(contract.Scenarios(), regexp.MustCompile(*ends)))
}

// sleepers are pods of the test's own.
func sleepers(t testing.TB, n int) []string {
	tt := t.(*testing.T)
	pods := make([]string, n)
	for i := range pods {
		pods[i] = create(tt, sleeper(""))
	}
	for _, p := range pods {
		sees(tt, p, "ready", isReady)
	}
	return pods
}

// others is a script that lists all processes but the main one and itself, the dead that nobody buries as a Z: those that are the main process's to
// bury, which only sleeps. Any other's parent, which may be the runtime, is about to.
const others = `for p in /proc/[0-9]*; do
	p=${p#/proc/}
	[ $p != 1 ] && [ $p != $$ ] && read -r line </proc/$p/stat || continue
	case ${line##*) } in "Z 1 "*) echo "Z ${line%%) *})" ;; Z*) ;; *) echo ${line%%) *}: $(tr '\0\n' '  ' </proc/$p/cmdline | tail -c 200) $(cat /proc/$p/wchan) ;; esac
done 2>/dev/null`

// leftIn waits until nothing is left, or for so long as it may.
func leftIn(t testing.TB, pod string, grace time.Duration) (alive, dead []string) {
	p := program(cluster.Kubeconfig())
	for late := time.Now().Add(grace); ; time.Sleep(100 * time.Millisecond) {
		r := p.Run(t, nil, "exec", "--exact=never", pod, "--", "sh", "-c", others)
		alive, dead = nil, nil
		for line := range strings.Lines(r.Out) {
			if strings.HasPrefix(line, "Z ") {
				dead = append(dead, line)
			} else {
				alive = append(alive, line)
			}
		}
		if r.Code != 0 || r.Err != "" {
			alive = append(alive, fmt.Sprintf("cannot tell: %d, %s", r.Code, r.Err))
		}
		if len(alive) == 0 || time.Now().After(late) {
			return alive, dead
		}
	}
}

// sweep ends everything but the main process, itself included.
func sweep(t testing.TB, pod string) {
	program(cluster.Kubeconfig()).Run(t, nil, "exec", "--exact=never", pod, "--", "sh", "-c", "kill -KILL -1")
}

func TestExactFuzz(t *testing.T) {
	notInCI(t)
	pods := sleepers(t, len(ours()))
	var all sync.WaitGroup
	for i, s := range ours() {
		all.Go(func() { contract.Fuzz(t, s, pods[i], max(20, *runs)) })
	}
	all.Wait()
}

// strange is a pod with such an environment, in a folder with a blank.
func strange(t *testing.T, image string, environ map[string]string) string {
	t.Helper()
	p := sleeper("")
	c := &p.Spec.Containers[0]
	c.Image, c.WorkingDir = image, "/tmp/a folder"
	for name, value := range environ {
		c.Env = append(c.Env, corev1.EnvVar{Name: name, Value: value})
	}
	return ready(t, p)
}

// odd variables are such as programs have, and scripts break.
var odd = map[string]string{
	"PWD": "/elsewhere", "OLDPWD": "before", "SHLVL": "41", "ENV": "/no/such", "BASH_ENV": "/no/such", "HOSTNAME": "named",
	"PS1": "prompt", "UID": "77", "LINES": "a\nb\n\nc\n", "EMPTY": "", "BLANK": "  a  b  ", "QUOTES": `it's "q" $HOME $$(id) ` + "`id`" + ` \n *`, "UTF8": "grüße 👋", "LAST": "a\n",
	"with.dots": "1", "with-dashes": "2", "9digits": "3", "with.lines": "a\nb", "CONTROL": "\x01\x1e\x7f", "LONG": strings.Repeat("long ", 4000),
}

// shellish variables mean something to a shell, and kshell's are kshell's.
var shellish = map[string]string{
	"_": "/bin/under", "IFS": ":", "PS2": "", "PS4": "$(id)", "OPTIND": "7", "LINENO": "5", "k_mark": "x", "kshell_mark": "x", "k_env": "y", "kshell_env": "y",
}

// TestExactModeIsNotSeen compares exact mode with the plain way, in every kind of image.
func TestExactModeIsNotSeen(t *testing.T) {
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
		{"busybox, odd variables", strange(t, harness.BusyboxImage, odd), "sh", true, environs},
		{"bash, odd variables", strange(t, harness.BashImage, odd), "bash", true, environs},
		{"busybox, shellish variables", strange(t, harness.BusyboxImage, shellish), "sh", true, environs},
		{"bash, shellish variables", strange(t, harness.BashImage, shellish), "bash", true, environs},
	} {
		t.Run(i.name, func(t *testing.T) {
			t.Parallel()
			contract.SameBehavior(t, program(cluster.Kubeconfig()), i.pod, i.shell, i.always, i.only)
		})
	}
	for _, s := range ours() {
		t.Run(s.Name, func(t *testing.T) { contract.NoInput(t, s.Program, s.Flags, "web") })
	}
}

// TestWithoutAShellExactModeStepsBack checks that an image without sh costs a command nothing but one more request.
func TestWithoutAShellExactModeStepsBack(t *testing.T) {
	notInCI(t)
	for _, s := range ours() {
		t.Run(s.Name, func(t *testing.T) {
			for _, c := range []contract.Case{
				{Args: []string{"noshell", "--", "/args", "a b", "", "c"}, Out: "a b\n\nc\n", Quiet: true},
				{Args: []string{"noshell", "--", "/exit", "7"}, Code: 7, Quiet: true},
				{Args: []string{"noshell", "--", "/no-such"}, Code: 127, Err: []string{`no command "/no-such"`}},
				{Args: []string{"ashonly", "--", "ash", "-c", "echo $0; exit 9"}, Out: "ash\n", Code: 9, Quiet: true},
				{Args: []string{"--exact=always", "noshell", "--", "/exit", "7"}, Code: 255, Err: []string{"--exact=always", "hint: "}},
			} {
				c.Args = append(append([]string{}, s.Flags...), c.Args...)
				c.Run(t, s.Program)
			}
		})
	}
}

func TestExactModeCosts(t *testing.T) {
	notInCI(t)
	for _, s := range ours() {
		contract.Cost(t, s, "web", 15, 1, min(*volume, 64<<20), contract.Budget{Start: 3 * time.Millisecond, Volume: 0.03, Strict: *strict})
	}
}

// TestThePlainWayDoesNotHangWithUnreadInput: a server that is stuck with it never says how the command has ended, on one of the paths though it
// answers. The container is asked.
func TestThePlainWayDoesNotHangWithUnreadInput(t *testing.T) {
	notInCI(t)
	for _, way := range paths() {
		for _, c := range []struct {
			name    string
			command []string
			code    int
		}{{"true", []string{"true"}, 0}, {"exit 3", []string{"sh", "-c", "exit 3"}, 3}, {"head -1", []string{"head", "-n", "1"}, 0}, {"sleep 3", []string{"sleep", "3"}, 0}} {
			for _, size := range []int{200_000, 8 << 20, 64 << 20} {
				t.Run(fmt.Sprint(way.name, " ", size, " bytes into ", c.name), func(t *testing.T) {
					t.Parallel()
					pod := ready(t, sleeper("")) // nothing else may run there
					run := func() contract.Result {
						return program(way.kubeconfig).Run(t, bytes.Repeat([]byte("y\n"), size/2), append([]string{"exec", "-i", "--exact=never", pod, "--"}, c.command...)...)
					}
					r := run()
					for n := 1; n < contract.MaxFalseSuccesses && way.name == "apiserver" && r.FalseSuccess(t, c.code); n++ {
						r = run()
					}
					if r.Took > 50*time.Second || r.Code != c.code && (r.Code != 255 || !oneSentence.MatchString(r.Err)) {
						t.Errorf("exit code %d after %v, stderr %q", r.Code, r.Took, r.Err)
					}
					t.Logf("%d after %v: %q", r.Code, r.Took.Round(time.Second), r.Err)
				})
			}
		}
	}
}
