package contract

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	trials = flag.Int("trials", 1, "trials of each end that lies: a few every day, 200 when it counts")
	long   = flag.Bool("long", false, "try the ends that take long, too")
	ends   = flag.String("ends", "", "a regular expression: only the ends with such a name")
	strict = flag.Bool("strict", false, "more than the budget of exact mode is an error: for a machine that does nothing else")
)

// exactPods are those of the sandbox that run one at a time for each trial.
var exactPods = []string{"web", "db-0", "annotated", "pipe"}

// ground is a sandbox for exact mode, and how to get between.
func ground(t *testing.T) (Program, Server) {
	t.Helper()
	s, host := startSandbox(t)
	return Program{Path: build(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir()}, Server{Addr: host}
}

// subjects are kshell by the two protocols that servers speak.
func subjects(p Program, at Server) []Subject {
	return []Subject{
		{Name: "kshell v5", Program: p, Server: at},
		{Name: "kshell v4", Program: p, Server: at, Flags: []string{"--subprotocol", "v4.channel.k8s.io"}},
	}
}

func TestTheEndsThatLie(t *testing.T) {
	t.Parallel()
	p, at := ground(t)
	homes := map[string]string{}
	resident := map[int]bool{}
	for _, pod := range exactPods {
		homes[pod] = strings.TrimSpace(p.Run(t, nil, "exec", plainly, pod, "--", "sh", "-c", "echo $HOME").Out)
		for _, pid := range processes(homes[pod]) {
			resident[pid] = true
		}
	}
	left := func(pod string) []int {
		return slices.DeleteFunc(processes(homes[pod]), func(pid int) bool { return resident[pid] })
	}
	b := Bench{
		Subjects: subjects(p, at), Trials: *trials,
		Pods: func(t testing.TB, n int) []string {
			if n > len(exactPods) {
				n = len(exactPods)
			}
			return exactPods[:n]
		},
		Left: func(_ testing.TB, pod string, grace time.Duration) (alive, _ []string) {
			for late := time.Now().Add(grace); ; time.Sleep(50 * time.Millisecond) {
				pids := left(pod)
				if len(pids) == 0 {
					return nil, nil
				}
				if time.Now().After(late) {
					for _, pid := range pids {
						line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
						if err == nil {
							alive = append(alive, string(bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
						}
					}
					return alive, nil
				}
			}
		},
		Sweep: func(_ testing.TB, pod string) {
			for _, pid := range left(pod) {
				if p, err := os.FindProcess(pid); err == nil {
					_ = p.Kill() // it may have ended
				}
			}
		},
	}
	if *long {
		b.LongTrials = *trials
	}
	todo := Named(Ends(), regexp.MustCompile(*ends))
	if *trials > 1 || *ends != "" {
		b.Ends(t, todo)
		return
	}
	for i, s := range subjects(p, at) { // every day each end is tried by one of them
		b.Subjects = []Subject{s}
		var half []End
		for j, e := range todo {
			if j%2 == i {
				half = append(half, e)
			}
		}
		b.Ends(t, half)
	}
}

// processes lists those that were started with a HOME.
func processes(home string) []int {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil
	}
	var pids []int
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil || !slices.Contains(strings.Split(string(data), "\x00"), "HOME="+home) {
			continue // gone, or another's
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestExactModeIsNotSeen(t *testing.T) {
	t.Parallel()
	p, at := ground(t)
	t.Run("same", func(t *testing.T) { Same(t, p, "web", "sh", true, regexp.MustCompile("")) })
	for _, s := range subjects(p, at) {
		t.Run(s.Name, func(t *testing.T) {
			t.Run("nothing", func(t *testing.T) { Nothing(t, p, s.Flags, "web") })
			t.Run("fuzz", func(t *testing.T) { Fuzz(t, s, "db-0", max(10, *runs)) })
		})
	}
}

func TestExactModeCosts(t *testing.T) {
	if !*strict {
		t.Parallel()
	}
	p, at := ground(t)
	Cost(t, subjects(p, at)[0], "web", 10, 1, 16<<20, Budget{Start: 3 * time.Millisecond, Volume: 0.03, Strict: *strict})
}
