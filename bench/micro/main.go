// Command micro runs the Go benchmarks of the working tree and of an older
// commit in turn on this machine, and compares them with benchstat. "make
// bench-micro" runs it:
//
//	make bench-micro                              # the older commit is the merge base with main
//	make bench-micro MICRO='-base HEAD~3 -bench Output'
//
// Only allocations do not depend on the machine. The file allocs.txt has those
// of each benchmark; micro fails if a benchmark allocates more often.
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const benchstat = "golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da"

// packages are the packages that have benchmarks.
var packages = []string{"internal/interactive", "internal/stream", "internal/terminal"}

// allocsText has a line "BENCHMARK ALLOCATIONS" for each benchmark, sorted.
//
//go:embed allocs.txt
var allocsText string

const allocsFile = "bench/micro/allocs.txt"

func main() {
	base := flag.String("base", "",
		"`commit` to compare with, or \"none\" (default: the merge base with main; none if that is HEAD)")
	pattern := flag.String("bench", ".", "`regexp` of the benchmarks")
	count := flag.Int("count", 6, "number of runs of each benchmark")
	update := flag.Bool("update", false, "write the allocations to "+allocsFile)
	flag.Parse()
	if err := run(*base, *pattern, *count, *update); err != nil {
		fmt.Fprintln(os.Stderr, "bench-micro:", err)
		os.Exit(1)
	}
}

func run(base, pattern string, count int, update bool) (err error) {
	dir, err := os.MkdirTemp("", "kshell-micro")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	versions := []*version{{name: "new", source: "."}}
	if base == "" {
		if base, err = mergeBase(); err != nil {
			return err
		}
	}
	if base != none {
		old := &version{name: "old", source: filepath.Join(dir, "source")}
		if err := old.checkout(base); err != nil {
			return err
		}
		versions = append(versions, old)
	}
	for _, v := range versions {
		if err := v.build(dir); err != nil {
			return err
		}
	}
	for i := range count {
		fmt.Fprintf(os.Stderr, "bench-micro: run %d of %d\n", i+1, count)
		for _, v := range versions {
			if err := v.run(pattern); err != nil {
				return err
			}
		}
	}
	if len(versions) > 1 {
		if err := compare(dir, versions); err != nil {
			return err
		}
	}
	measured, err := allocations(versions[0].results.String())
	if err != nil {
		return err
	}
	if update {
		return os.WriteFile(allocsFile, []byte(measured.String()), 0o600)
	}
	stored, err := parseAllocs(allocsText)
	if err != nil {
		return err
	}
	return guard(measured, stored)
}

// none is the value of -base for no comparison.
const none = "none"

// mergeBase returns the merge base of HEAD and main, or none if that is HEAD.
func mergeBase() (string, error) {
	base, err := output("git", "merge-base", "HEAD", "main")
	if err != nil {
		return "", err
	}
	head, err := output("git", "rev-parse", "HEAD")
	if base == head {
		base = none
	}
	return base, err
}

// output runs a command, and returns its stdout.
func output(argv ...string) (string, error) {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
	}
	return strings.TrimSpace(string(out)), err
}

// version is one version of the source.
type version struct {
	name    string
	source  string // its directory
	tests   []string
	results strings.Builder // the output of the benchmarks
}

// checkout writes the files of a commit to the directory.
func (v *version) checkout(commit string) error {
	if err := os.Mkdir(v.source, 0o700); err != nil {
		return err
	}
	archive := v.source + ".tar"
	if _, err := output("git", "archive", "--output", archive, commit); err != nil {
		return err
	}
	_, err := output("tar", "-xf", archive, "-C", v.source)
	return err
}

// build compiles the tests.
func (v *version) build(dir string) error {
	for _, pkg := range packages {
		test := filepath.Join(dir, v.name+"-"+strings.ReplaceAll(pkg, "/", "-"))
		if _, err := output("go", "test", "-C", v.source, "-c", "-o", test, "./"+pkg); err != nil {
			return err
		}
		v.tests = append(v.tests, test)
	}
	return nil
}

// run runs each benchmark once.
func (v *version) run(pattern string) error {
	for i, test := range v.tests {
		cmd := exec.Command(test, "-test.run=^$", "-test.bench="+pattern, "-test.benchmem", "-test.benchtime=0.2s")
		cmd.Dir = filepath.Join(v.source, packages[i])
		cmd.Stdout, cmd.Stderr = &v.results, os.Stderr
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("the benchmarks of %s: %w", packages[i], err)
		}
	}
	return nil
}

// compare prints the results.
func compare(dir string, versions []*version) error {
	argv := []string{"go", "run", benchstat}
	for i := range versions {
		v := versions[len(versions)-1-i] // the old version first
		path := filepath.Join(dir, v.name+".txt")
		if err := os.WriteFile(path, []byte(v.results.String()), 0o600); err != nil {
			return err
		}
		argv = append(argv, v.name+"="+path)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
