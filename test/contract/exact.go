package contract

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Subject is a program with a path to a server. In the table of results, it is
// a line in the block of each scenario.
type Subject struct {
	Name string
	Program
	Server    Server
	Flags     []string // flags of exec, such as --subprotocol
	Env       []string
	Reference bool // a program to compare kshell with: its problems are logged, and do not fail the test
}

// Server is the address of an API server, for a proxy in front of it.
type Server struct {
	Addr   string // host:port
	Name   string // a name in its certificate; "": 127.0.0.1
	Remote bool   // not on loopback
}

// ScenarioRunner runs scenarios. Each of its pods is used by one trial at a
// time.
type ScenarioRunner struct {
	Subjects []Subject
	Pods     func(t testing.TB, n int) []string // returns n different pods that have a shell
	// Remaining waits until only the main process of a pod runs, but not longer
	// than grace. It returns the other processes: the running ones (alive), and
	// the zombies that the main process has not reaped (dead). It must not be
	// called while a trial uses the pod.
	Remaining func(t testing.TB, pod string, grace time.Duration) (alive, dead []string)
	// KillRemaining kills the processes that Remaining returns.
	KillRemaining func(t testing.TB, pod string)

	Trials     int // trials of each short scenario, for each subject
	LongTrials int // trials of each long scenario, for each subject
	References int // maximum of Trials and LongTrials, for subjects with Reference

	LongAtOnce int // concurrent trials of long scenarios, which mostly wait; 0: 40
}

// How many trials run at once. More long trials than short ones can run,
// because long trials mostly wait, and short trials need CPU time.
const (
	shortAtOnce = 6
	longAtOnce  = 40
)

// trial is one run of a scenario by a subject.
type trial struct {
	scenario Scenario
	subject  Subject
}

// Run runs each scenario for each subject, and logs the table of results. The
// test fails if kshell was not exact.
func (b ScenarioRunner) Run(t *testing.T, scenarios []Scenario) {
	table := &table{cells: map[[2]string]*cell{}}
	var workers sync.WaitGroup
	for _, work := range [][]trial{b.trials(scenarios, false), b.trials(scenarios, true)} {
		atOnce := shortAtOnce
		if len(work) > 0 && work[0].scenario.long() {
			atOnce = cmp.Or(b.LongAtOnce, longAtOnce)
		}
		todo := make(chan trial, len(work))
		for _, tr := range work {
			todo <- tr
		}
		close(todo)
		for _, pod := range b.Pods(t, min(atOnce, len(work))) {
			workers.Go(func() {
				var dead []string
				for tr := range todo {
					var wrong string
					wrong, dead = b.try(t, tr, pod, dead)
					table.add(tr, wrong)
				}
			})
		}
	}
	workers.Wait()
	t.Logf(
		"exact trials of all trials, and the most frequent problem of the others:\n%s",
		table.text(scenarios, b.Subjects),
	)
}

// trials returns the trials of all long scenarios if long is true, and those of
// all short scenarios if long is false. The longest trials come first.
func (b ScenarioRunner) trials(scenarios []Scenario, long bool) []trial {
	var all []trial
	for _, sc := range scenarios {
		if sc.long() != long {
			continue
		}
		for _, s := range b.Subjects {
			times := b.Trials
			if long {
				times = b.LongTrials
			}
			if s.Reference {
				times = min(times, b.References)
			}
			all = append(all, slices.Repeat([]trial{{sc, s}}, times)...)
		}
	}
	slices.SortStableFunc(all, func(a, b trial) int { return cmp.Compare(b.scenario.duration(), a.scenario.duration()) })
	return all
}

// try runs a trial in a pod. It returns the problems of the trial ("" if it was
// exact) and the zombies that are now in the pod. before contains the zombies
// that earlier trials left.
func (b ScenarioRunner) try(t *testing.T, tr trial, pod string, before []string) (wrong string, dead []string) {
	s, sc := tr.subject, tr.scenario
	seed := newSeed()
	o := sc.run(t, s, pod, seed)
	problems := sc.problems(o, s.Reference)
	wait := cleanupTimeout
	switch {
	case sc.Orphans:
		wait = 0
	case s.Reference:
		wait = time.Second
	}
	alive, dead := b.Remaining(t, pod, wait)
	if len(alive) > 0 && !sc.Orphans {
		problems = append(problems, fmt.Sprintf("%d processes left", len(alive)))
	}
	if len(alive) > 0 {
		b.KillRemaining(t, pod)
		_, dead = b.Remaining(t, pod, time.Second)
	}
	if sc.Then != "" { // Then runs last, when no process can change the file any more
		problems = append(problems, sc.after(t, s, pod, o)...)
	}
	if len(dead) > len(before) && sc.exitsNormally() {
		problems = append(problems, fmt.Sprintf("a zombie (%s)", strings.TrimSpace(dead[len(dead)-1])))
	}
	if wrong = strings.Join(problems, ", "); wrong != "" && !s.Reference {
		t.Errorf("%s, by %s: %s (seed %d, pod %s)\nexec %q\nstderr %.500q\nleft %.900q", sc.Name, s.Name, wrong, seed, pod,
			o.args, o.stderr, alive)
	}
	t.Logf("%6.1fs %3d MiB %s, by %s: %s", o.took.Seconds(), o.peakMemory>>10, sc.Name, s.Name, cmp.Or(wrong, "exact"))
	return wrong, dead
}

// table contains the results of all trials, by scenario and subject.
type table struct {
	mu    sync.Mutex
	cells map[[2]string]*cell
}

type cell struct {
	trials, exact int
	wrong         map[string]int
}

func (tb *table) add(tr trial, wrong string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	at := [2]string{tr.scenario.Name, tr.subject.Name}
	c := tb.cells[at]
	if c == nil {
		c = &cell{wrong: map[string]int{}}
		tb.cells[at] = c
	}
	c.trials++
	if wrong == "" {
		c.exact++
		return
	}
	c.wrong[wrong]++
}

// text formats the table: a block for each scenario, a line for each subject.
func (tb *table) text(scenarios []Scenario, subjects []Subject) string {
	var b strings.Builder
	for _, sc := range scenarios {
		head := sc.Name + "\n"
		for _, s := range subjects {
			c := tb.cells[[2]string{sc.Name, s.Name}]
			if c == nil {
				continue
			}
			fmt.Fprintf(&b, "%s    %-18s %3d/%-3d %s\n", head, s.Name, c.exact, c.trials, c.worst())
			head = ""
		}
	}
	return b.String()
}

// worst returns the most frequent problem.
func (c *cell) worst() string {
	words, most := "", 0
	for w, n := range c.wrong {
		if n > most || n == most && w < words {
			words, most = w, n
		}
	}
	if most > 0 && most < c.trials-c.exact {
		words += fmt.Sprintf(" (%d times)", most)
	}
	return words
}

// FilterScenarios returns the scenarios whose name matches.
func FilterScenarios(scenarios []Scenario, name *regexp.Regexp) []Scenario {
	return slices.DeleteFunc(scenarios, func(sc Scenario) bool { return !name.MatchString(sc.Name) })
}

// cleanupTimeout is the time after a trial in which all its processes must end.
// A command that ignores TERM is killed after 5 s. With forty concurrent trials
// on two CPUs, in pods full of zombies, the processes have taken more than 12 s
// to end.
const cleanupTimeout = 20 * time.Second
