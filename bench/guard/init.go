package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
)

// The budgets of the initialization of packages, before main runs. The time
// depends on the machine, so its budget is three times what is intended.
const (
	maxInitAllocs  = 6000
	maxInitBytes   = 800_000
	maxPackageInit = 0.9 // milliseconds of one package
	initRuns       = 15
)

// packageInit is the initialization of one package.
type packageInit struct {
	name          string
	ms            float64
	bytes, allocs int
}

// initialization checks what the initialization of the packages costs. The time
// of a package is the shortest one of all runs.
func initialization(binary string) error {
	shortest := map[string]packageInit{}
	for range initRuns {
		packages, err := traceInit(binary)
		if err != nil {
			return err
		}
		for _, p := range packages {
			if before, seen := shortest[p.name]; seen {
				p.ms, p.bytes, p.allocs = min(p.ms, before.ms), min(p.bytes, before.bytes), min(p.allocs, before.allocs)
			}
			shortest[p.name] = p
		}
	}
	var total packageInit
	var all []packageInit
	for _, p := range shortest {
		total.ms, total.bytes, total.allocs = total.ms+p.ms, total.bytes+p.bytes, total.allocs+p.allocs
		all = append(all, p)
	}
	slowest := slices.MaxFunc(all, func(a, b packageInit) int { return cmp.Compare(a.ms, b.ms) })
	fmt.Printf("init      %5.1f ms   (%d packages; slowest: %s, %.2f ms, budget %.1f)\n",
		total.ms, len(all), slowest.name, slowest.ms, maxPackageInit)
	fmt.Printf("          %5d allocations, %d kB (budgets %d, %d)\n",
		total.allocs, total.bytes/1000, maxInitAllocs, maxInitBytes/1000)
	var errs []error
	if slowest.ms > maxPackageInit {
		errs = append(errs, fmt.Errorf("the initialization of %s takes %.2f ms", slowest.name, slowest.ms))
	}
	if total.allocs > maxInitAllocs || total.bytes > maxInitBytes {
		errs = append(errs, fmt.Errorf("the initialization of all packages makes %d allocations of %d bytes: "+
			"run GODEBUG=inittrace=1 %s --help", total.allocs, total.bytes, binary))
	}
	return errors.Join(errs...)
}

// traceInit runs --help, and returns the initializations that the runtime
// reports. A line is "init PACKAGE @0.1 ms, 0.2 ms clock, 300 bytes, 4 allocs".
func traceInit(binary string) (packages []packageInit, err error) {
	cmd := exec.Command(binary, "--help")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	var trace bytes.Buffer
	cmd.Stderr = &trace
	if err := cmd.Run(); err != nil {
		return nil, err
	}
	lines := bufio.NewScanner(&trace)
	for lines.Scan() {
		var p packageInit
		var began float64
		_, err := fmt.Sscanf(lines.Text(), "init %s @%f ms, %f ms clock, %d bytes, %d allocs",
			&p.name, &began, &p.ms, &p.bytes, &p.allocs)
		if err == nil {
			packages = append(packages, p)
		}
	}
	if len(packages) == 0 {
		return nil, errors.New("GODEBUG=inittrace=1 printed no initialization")
	}
	return packages, lines.Err()
}
