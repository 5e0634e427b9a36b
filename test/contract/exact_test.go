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
	trials = flag.Int("trials", 1, "trials of each scenario")
	long   = flag.Bool("long", false, "run the long scenarios, too")
	only   = flag.String("scenarios", "", "regular expression: run only the scenarios whose name matches")
	strict = flag.Bool("strict", false, "fail if exact mode exceeds its budget: for an idle machine")
)

// scenarioPods are the pods in which trials run. In each pod, one trial runs at
// a time.
var scenarioPods = []string{"web", "db-0", "annotated", "pipe"}

// exactSandbox starts a sandbox for tests of exact mode.
func exactSandbox(t *testing.T) (Program, Server) {
	t.Helper()
	s, host := startSandbox(t)
	return Program{Path: kshellBinary(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir()}, Server{Addr: host}
}

// exactSubjects returns kshell with each of two subprotocols.
func exactSubjects(p Program, at Server) []Subject {
	return []Subject{
		{Name: "kshell v5", Program: p, Server: at, Flags: []string{"--subprotocol", "v5.channel.k8s.io"}},
		{Name: "kshell v4", Program: p, Server: at, Flags: []string{"--subprotocol", "v4.channel.k8s.io"}},
	}
}

func TestExact_Scenarios(t *testing.T) {
	t.Parallel()
	p, at := exactSandbox(t)
	homes := map[string]string{}
	resident := map[int]bool{}
	for _, pod := range scenarioPods {
		homes[pod] = strings.TrimSpace(p.Run(t, nil, "exec", modePlain, pod, "--", "sh", "-c", "echo $HOME").Out)
		for _, pid := range processes(homes[pod]) {
			resident[pid] = true
		}
	}
	remaining := func(pod string) []int {
		return slices.DeleteFunc(processes(homes[pod]), func(pid int) bool { return resident[pid] })
	}
	b := ScenarioRunner{
		Subjects: exactSubjects(p, at), Trials: *trials,
		Pods: func(t testing.TB, n int) []string {
			if n > len(scenarioPods) {
				n = len(scenarioPods)
			}
			return scenarioPods[:n]
		},
		Remaining: func(_ testing.TB, pod string, grace time.Duration) (alive, _ []string) {
			for late := time.Now().Add(grace); ; time.Sleep(50 * time.Millisecond) {
				pids := remaining(pod)
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
		KillRemaining: func(_ testing.TB, pod string) {
			for _, pid := range remaining(pod) {
				if p, err := os.FindProcess(pid); err == nil {
					_ = p.Kill() // the process may have exited
				}
			}
		},
	}
	if *long {
		b.LongTrials = *trials
	}
	all := FilterScenarios(Scenarios(), regexp.MustCompile(*only))
	if *trials > 1 || *only != "" {
		b.Run(t, all)
		return
	}
	for i, s := range exactSubjects(p, at) { // each subject runs half of the scenarios
		b.Subjects = []Subject{s}
		var half []Scenario
		for j, e := range all {
			if j%2 == i {
				half = append(half, e)
			}
		}
		b.Run(t, half)
	}
}

// processes returns the PIDs of the processes that were started with the given
// directory as HOME.
func processes(home string) []int {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil
	}
	var pids []int
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil || !slices.Contains(strings.Split(string(data), "\x00"), "HOME="+home) {
			continue // the process has exited, or has another HOME
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

func TestExact_Transparent(t *testing.T) {
	t.Parallel()
	p, at := exactSandbox(t)
	t.Run("same", func(t *testing.T) { SameBehavior(t, p, "web", "sh", true, regexp.MustCompile("")) })
	for _, s := range exactSubjects(p, at) {
		t.Run(s.Name, func(t *testing.T) {
			t.Run("nothing", func(t *testing.T) { NoInput(t, p, s.Flags, "web") })
			t.Run("fuzz", func(t *testing.T) { Fuzz(t, s, "db-0", max(10, *runs)) })
		})
	}
}

func TestExact_Cost(t *testing.T) {
	if !*strict {
		t.Parallel()
	}
	p, at := exactSandbox(t)
	Cost(t, exactSubjects(p, at)[0], "web", 10, 1, 16<<20,
		Budget{Start: 3 * time.Millisecond, Volume: 0.03, Strict: *strict})
}
