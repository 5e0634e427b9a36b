package main

import (
	"bufio"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
)

// allocs is the number of allocations of each benchmark. A key is the name of
// the package, a dot, and the name of the benchmark without the number of CPUs.
type allocs map[string]int

// allocations parses the output of benchmarks. If a benchmark was run more than
// once, the smallest number counts: in the other runs, the runtime itself has also
// allocated memory.
func allocations(text string) (allocs, error) {
	found := allocs{}
	pkg := ""
	lines := bufio.NewScanner(strings.NewReader(text))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		n := len(fields)
		if n == 2 && fields[0] == "pkg:" {
			pkg = path.Base(fields[1])
		}
		if n < 4 || !strings.HasPrefix(fields[0], "Benchmark") || fields[n-1] != "allocs/op" {
			continue
		}
		name := pkg + "." + strings.TrimPrefix(fields[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i]
		}
		count, err := strconv.Atoi(fields[n-2])
		if err != nil {
			return nil, err
		}
		if before, seen := found[name]; !seen || count < before {
			found[name] = count
		}
	}
	return found, lines.Err()
}

// String returns a line for each benchmark, sorted by name.
func (a allocs) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(a)) {
		fmt.Fprintf(&b, "%s %d\n", name, a[name])
	}
	return b.String()
}

// parseAllocs parses what String returns.
func parseAllocs(text string) (allocs, error) {
	parsed := allocs{}
	for line := range strings.Lines(text) {
		var name string
		var count int
		if _, err := fmt.Sscan(line, &name, &count); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", allocsFile, line, err)
		}
		parsed[name] = count
	}
	return parsed, nil
}

// guard returns an error if a benchmark allocates more often than stored, or is
// not stored.
func guard(measured, stored allocs) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(measured)) {
		switch limit, known := stored[name]; {
		case !known:
			errs = append(errs, fmt.Errorf("%s is missing in %s: run make bench-micro MICRO=-update", name, allocsFile))
		case measured[name] > limit:
			errs = append(errs, fmt.Errorf("%s makes %d allocations per operation, and not %d", name, measured[name], limit))
		}
	}
	return errors.Join(errs...)
}
