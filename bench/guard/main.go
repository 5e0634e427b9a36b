// Command guard checks the size of the binary, the time that --help takes, the
// initialization of packages, and the throughput beside a bare WebSocket client.
// It also checks that certain packages are not linked. It needs no cluster. It
// prints the figures, and fails if one exceeds its budget.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// The budgets.
const (
	maxBytes   = 20 << 20
	maxStart   = 15 * time.Millisecond // median of all runs
	runs       = 41
	bannedDeps = "k8s.io/client-go/kubernetes k8s.io/client-go/kubernetes/scheme k8s.io/cli-runtime"
)

func main() {
	binary := flag.String("binary", "./kshell", "`path` of the stripped binary")
	flag.Parse()
	err := errors.Join(size(*binary), start(*binary), initialization(*binary), deps(), throughput(*binary))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func size(binary string) error {
	info, err := os.Stat(binary)
	if err != nil {
		return err
	}
	fmt.Printf("size      %5.1f MiB  (budget %d)\n", float64(info.Size())/(1<<20), maxBytes>>20)
	if info.Size() > maxBytes {
		return fmt.Errorf("%s has %d bytes, more than %d", binary, info.Size(), maxBytes)
	}
	return nil
}

func start(binary string) error {
	took := make([]time.Duration, runs)
	for i := range took {
		begin := time.Now()
		if err := exec.Command(binary, "--help").Run(); err != nil {
			return err
		}
		took[i] = time.Since(begin)
	}
	slices.Sort(took)
	median := took[runs/2]
	fmt.Printf("start-up  %5.1f ms   (budget %d; median of %d runs of --help, fastest %.1f, slowest %.1f)\n",
		ms(median), maxStart.Milliseconds(), runs, ms(took[0]), ms(took[runs-1]))
	if median > maxStart {
		return fmt.Errorf("--help takes %v, more than %v", median, maxStart)
	}
	return nil
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// deps fails if a banned package is linked. It lists the packages from which
// the binary is built, not all packages of the module.
func deps() error {
	out, err := exec.Command("go", "list", "-deps", "./cmd/kshell").Output()
	if err != nil {
		return fmt.Errorf("cannot list the packages: %w", err)
	}
	linked := strings.Fields(string(out))
	var errs []error
	for banned := range strings.FieldsSeq(bannedDeps) {
		if slices.Contains(linked, banned) {
			errs = append(errs, fmt.Errorf("%s is linked", banned))
		}
	}
	fmt.Printf("packages  %5d       (%d of them banned)\n", len(linked), len(errs))
	return errors.Join(errs...)
}
