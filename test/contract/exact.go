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

// Subject is a program on one server path: a column of the table of ends.
type Subject struct {
	Name string
	Program
	Server    Server
	Flags     []string // right behind exec, such as --subprotocol
	Env       []string
	Reference bool // a program that kshell is compared with: what becomes of it is recorded, and fails nothing
}

// Server is where an API server is, to put a bad link before it.
type Server struct {
	Addr   string // host:port
	Name   string // in its certificate; empty: 127.0.0.1 is
	Remote bool   // not on loopback
}

// Bench is where ends are tried. Each of its pods is used by one trial at a time.
type Bench struct {
	Subjects []Subject
	Pods     func(t testing.TB, n int) []string // n pods that have a shell, none the same
	// Left lists what runs in a pod that nobody uses, but for its main process, and the dead that nobody has buried. It waits for up to
	// grace until nothing runs.
	Left func(t testing.TB, pod string, grace time.Duration) (alive, dead []string)
	// Sweep ends what Left lists.
	Sweep func(t testing.TB, pod string)

	Trials     int // of each end that is soon over, by each subject
	LongTrials int // of each other end
	References int // at most so many of either kind, by a reference

	LongAtOnce int // trials of long ends at the same time, which are mostly waiting; 0: 40
}

// How many trials are made at once. A trial of a long end is mostly waiting, the others are work for the machine.
const (
	shortAtOnce = 6
	longAtOnce  = 40
)

// trial is one cell of the table, once.
type trial struct {
	end     End
	subject Subject
}

// Ends tries every end by every subject, and logs the table. Whatever kshell does not do exactly is an error.
func (b Bench) Ends(t *testing.T, ends []End) {
	table := &table{cells: map[[2]string]*cell{}}
	var workers sync.WaitGroup
	for _, work := range [][]trial{b.trials(ends, false), b.trials(ends, true)} {
		atOnce := shortAtOnce
		if len(work) > 0 && work[0].end.long() {
			atOnce = cmp.Or(b.LongAtOnce, longAtOnce)
		}
		todo := make(chan trial, len(work))
		for _, x := range work {
			todo <- x
		}
		close(todo)
		for _, pod := range b.Pods(t, min(atOnce, len(work))) {
			workers.Go(func() {
				var dead []string
				for x := range todo {
					var wrong string
					wrong, dead = b.try(t, x, pod, dead)
					table.add(x, wrong)
				}
			})
		}
	}
	workers.Wait()
	t.Logf("exact of all trials, and the worst of the others:\n%s", table.text(ends, b.Subjects))
}

// trials lists the trials of all ends that are long or short, the longest first.
func (b Bench) trials(ends []End, long bool) []trial {
	var all []trial
	for _, e := range ends {
		if e.long() != long {
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
			all = append(all, slices.Repeat([]trial{{e, s}}, times)...)
		}
	}
	slices.SortStableFunc(all, func(a, b trial) int { return cmp.Compare(b.end.lasts(), a.end.lasts()) })
	return all
}

// try makes one trial in a pod and returns what was wrong; nothing, if it was exact. In the pod there are dead already.
func (b Bench) try(t *testing.T, x trial, pod string, before []string) (wrong string, dead []string) {
	s, e := x.subject, x.end
	seed := newSeed()
	o := e.run(t, s, pod, seed)
	faults := e.faults(o, s.Reference)
	wait := grace
	switch {
	case e.Orphans:
		wait = 0
	case s.Reference:
		wait = time.Second
	}
	alive, dead := b.Left(t, pod, wait)
	if len(alive) > 0 && !e.Orphans {
		faults = append(faults, fmt.Sprintf("%d processes left", len(alive)))
	}
	if len(alive) > 0 {
		b.Sweep(t, pod)
		_, dead = b.Left(t, pod, time.Second)
	}
	if e.Then != "" { // behind the end of all that could still do something
		faults = append(faults, e.after(t, s, pod, o)...)
	}
	if len(dead) > len(before) && e.endsWell() {
		faults = append(faults, fmt.Sprintf("a zombie (%s)", strings.TrimSpace(dead[len(dead)-1])))
	}
	if wrong = strings.Join(faults, ", "); wrong != "" && !s.Reference {
		t.Errorf("%s, by %s: %s (seed %d, pod %s)\nexec %q\nstderr %.500q\nleft %.900q", e.Name, s.Name, wrong, seed, pod, o.args, o.stderr, alive)
	}
	t.Logf("%6.1fs %3d MiB %s, by %s: %s", o.took.Seconds(), o.peak>>10, e.Name, s.Name, cmp.Or(wrong, "exact"))
	return wrong, dead
}

// table is what became of all trials, by end and subject.
type table struct {
	mu    sync.Mutex
	cells map[[2]string]*cell
}

type cell struct {
	trials, exact int
	wrong         map[string]int
}

func (tb *table) add(x trial, wrong string) {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	at := [2]string{x.end.Name, x.subject.Name}
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

// text is the table: a block an end, a line a subject.
func (tb *table) text(ends []End, subjects []Subject) string {
	var b strings.Builder
	for _, e := range ends {
		head := e.Name + "\n"
		for _, s := range subjects {
			c := tb.cells[[2]string{e.Name, s.Name}]
			if c == nil {
				continue
			}
			fmt.Fprintf(&b, "%s    %-18s %3d/%-3d %s\n", head, s.Name, c.exact, c.trials, c.worst())
			head = ""
		}
	}
	return b.String()
}

// worst is what went wrong most often.
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

// Named are the ends whose name matches.
func Named(ends []End, name *regexp.Regexp) []End {
	return slices.DeleteFunc(ends, func(e End) bool { return !name.MatchString(e.Name) })
}

// grace is how soon after the end of a trial nothing may run any more: a command that does not hear TERM is killed after 5 s, and where forty trials
// are made at once on two processors, in pods full of zombies, that has been seen to take more than 12.
const grace = 20 * time.Second
