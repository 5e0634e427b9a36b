package fanout

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"kshell/internal/outcome"
)

// folds collects the outputs of all commands and keeps each distinct output
// once. The zero value is ready to use.
type folds struct {
	memory atomic.Int64 // bytes that all spools keep in memory

	mu    sync.Mutex
	list  []*fold
	byKey map[foldKey]*fold
}

// fold is the output of one command, and of all other commands that had the
// same output and outcome.
type fold struct {
	stdout, stderr spool
	titles         []string // of the targets
	outcome        outcome.Outcome
}

// foldKey is equal for commands that are folded together.
type foldKey struct {
	stdout, stderr [sha256.Size]byte
	exitCode       int
	cause          outcome.Cause
}

// newFold returns a fold for the output of one command. If the command was run,
// the caller must call add when it has ended.
func (f *folds) newFold() *fold {
	return &fold{stdout: newSpool(&f.memory), stderr: newSpool(&f.memory)}
}

// add adds the output of a command that has ended.
func (f *folds) add(one *fold, r result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := foldKey{exitCode: r.ExitCode, cause: r.Cause}
	one.stdout.sum.Sum(key.stdout[:0])
	one.stderr.sum.Sum(key.stderr[:0])
	if same := f.byKey[key]; same != nil {
		same.titles = append(same.titles, r.Title)
		one.close()
		return
	}
	if f.byKey == nil {
		f.byKey = map[foldKey]*fold{}
	}
	one.titles, one.outcome = []string{r.Title}, r.Outcome
	f.byKey[key], f.list = one, append(f.list, one)
}

// close frees the outputs. All commands must have ended.
func (f *folds) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.list {
		one.close()
	}
	f.list, f.byKey = nil, nil
}

func (f *fold) close() {
	f.stdout.close()
	f.stderr.close()
}

// rule is the line before and after the titles, as in the output of dshbak.
const rule = "----------------"

// heading returns the lines before the output: the titles, and the exit code if
// the command failed.
func (f *fold) heading() string {
	titles := strings.Join(f.titles, ", ")
	switch {
	case f.outcome.Cause != outcome.Exited:
		titles += fmt.Sprintf(" (exit code %d: %s)", f.outcome.ExitCode, f.outcome.Cause)
	case f.outcome.ExitCode != 0:
		titles += fmt.Sprintf(" (exit code %d)", f.outcome.ExitCode)
	}
	return rule + "\n" + titles + "\n" + rule + "\n"
}

// writeTo writes each output once, in the order of results: stdout to stdout,
// stderr to stderr. It returns an error if a file with output cannot be read,
// or stdout cannot be written.
func (f *folds) writeTo(stdout, stderr io.Writer, results []result) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sort(results)
	for _, one := range f.list {
		if one.stderr.size > 0 {
			if err := one.stderr.writeTo(stderr, one.heading()); err != nil {
				return err
			}
		}
		if one.stdout.size > 0 || one.stderr.size == 0 {
			if err := one.stdout.writeTo(stdout, one.heading()); err != nil {
				return err
			}
		}
	}
	return nil
}

// sort sorts the folds, and the titles of each fold, in the order of results.
// Before the call, folds and titles are in the order in which the commands
// ended.
func (f *folds) sort(results []result) {
	index := map[string]int{}
	for i, r := range results {
		index[r.Title] = i
	}
	for _, one := range f.list {
		slices.SortFunc(one.titles, func(a, b string) int { return index[a] - index[b] })
	}
	slices.SortFunc(f.list, func(a, b *fold) int { return index[a.titles[0]] - index[b.titles[0]] })
}
