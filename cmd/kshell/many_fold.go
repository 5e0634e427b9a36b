package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"kshell/internal/outcome"
)

// What is kept in memory of outputs that wait for the end, in bytes: of one stream, and of all together. The rest waits in files.
const (
	spoolEach = 512 << 10
	spoolAll  = 64 << 20
)

// folds are the outputs of all pods, each kept once.
type folds struct {
	memory atomic.Int64 // in use

	mu    sync.Mutex
	kept  []*fold
	known map[foldKey]*fold
}

// fold is what one pod has written, and all others that have written the same.
type fold struct {
	out, err spool
	titles   []string
	end      ended
}

// foldKey is equal for what is joined.
type foldKey struct {
	out, err [sha256.Size]byte
	code     int
	cause    outcome.Cause
}

// fold is for the output of a pod.
func (f *folds) fold() *fold {
	return &fold{out: spool{memory: &f.memory, sum: sha256.New()}, err: spool{memory: &f.memory, sum: sha256.New()}}
}

// add takes the output of a pod whose command has ended, or could not be run: then there is none.
func (f *folds) add(one *fold, end ended, ran bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !ran {
		return
	}
	key := foldKey{code: end.ExitCode, cause: end.Cause}
	one.out.sum.Sum(key.out[:0])
	one.err.sum.Sum(key.err[:0])
	if same := f.known[key]; same != nil {
		same.titles = append(same.titles, end.title)
		one.close()
		return
	}
	if f.known == nil {
		f.known = map[foldKey]*fold{}
	}
	one.titles, one.end = []string{end.title}, end
	f.known[key], f.kept = one, append(f.kept, one)
}

// close frees what is left. The pods' commands have ended.
func (f *folds) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.kept {
		one.close()
	}
	f.kept, f.known = nil, nil
}

func (f *fold) close() {
	f.out.close()
	f.err.close()
}

// rule is above and below the names of those that said the same, as dshbak has it.
const rule = "----------------"

// heading says who has said what follows.
func (f *fold) heading() string {
	names := strings.Join(f.titles, ", ")
	switch {
	case f.end.Cause != outcome.Exited:
		names += fmt.Sprintf(" (exit code %d: %s)", f.end.ExitCode, f.end.Cause)
	case f.end.ExitCode != 0:
		names += fmt.Sprintf(" (exit code %d)", f.end.ExitCode)
	}
	return rule + "\n" + names + "\n" + rule + "\n"
}

// release gives each output once, in the order of the pods' names: stdout to stdout, stderr to stderr. Of the outputs only what was kept
// in files can fail to be read; the gate remembers what could not be written.
func (f *folds) release(ends []ended, g *gate) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sort(ends)
	for _, one := range f.kept {
		if one.err.size > 0 {
			if err := one.err.release(one.heading(), g.stderr()); err != nil {
				return err
			}
		}
		if one.out.size > 0 || one.err.size == 0 {
			if err := one.out.release(one.heading(), g.stdout()); err != nil {
				return err
			}
		}
	}
	return nil
}

// sort brings the pods, which are there in the order of their ends, into that of ends.
func (f *folds) sort(ends []ended) {
	order := map[string]int{}
	for i, end := range ends {
		order[end.title] = i
	}
	for _, one := range f.kept {
		slices.SortFunc(one.titles, func(a, b string) int { return order[a] - order[b] })
	}
	slices.SortFunc(f.kept, func(a, b *fold) int { return order[a.titles[0]] - order[b.titles[0]] })
}

// spool keeps what is written to it, the excess in a file that nobody else can read.
type spool struct {
	memory *atomic.Int64 // of all spools
	sum    hash.Hash
	size   int64
	held   bytes.Buffer
	file   *os.File // what came behind held; nil if nothing did
	last   byte
}

// Write implements io.Writer. Its errors are the file's.
func (s *spool) Write(p []byte) (int, error) {
	n, err := s.keep(p)
	s.sum.Write(p[:n])
	s.size += int64(n)
	if n > 0 {
		s.last = p[n-1]
	}
	return n, err
}

func (s *spool) keep(p []byte) (int, error) {
	n := int64(len(p))
	if s.file == nil && int64(s.held.Len())+n <= spoolEach {
		if s.memory.Add(n) <= spoolAll {
			return s.held.Write(p)
		}
		s.memory.Add(-n)
	}
	if s.file == nil {
		file, err := os.CreateTemp("", "kshell-fold-*") // 0600
		if err != nil {
			return 0, err
		}
		_ = os.Remove(file.Name()) // Unix lets it go now, and is sure to; others when it is closed
		s.file = file
	}
	return s.file.Write(p)
}

// release copies all of it behind a heading, and ends its last line.
func (s *spool) release(heading string, to io.Writer) error {
	body := []io.Reader{strings.NewReader(heading), bytes.NewReader(s.held.Bytes())}
	if s.file != nil {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		body = append(body, s.file)
	}
	if s.size > 0 && s.last != '\n' {
		body = append(body, strings.NewReader("\n"))
	}
	_, err := io.Copy(to, io.MultiReader(body...))
	return err
}

func (s *spool) close() {
	s.memory.Add(-int64(s.held.Len()))
	s.held = bytes.Buffer{}
	if s.file != nil {
		_ = s.file.Close() // it was only ours
		_ = os.Remove(s.file.Name())
		s.file = nil
	}
}
