package contract

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"
	"time"
)

// Budget is what exact mode may cost.
type Budget struct {
	Start  time.Duration // maximum additional start time compared to --exact=never
	Volume float64       // maximum additional transfer time compared to --exact=never: 0.03 is 3 %
	Strict bool          // if true, exceeding the budget fails the test; if false, it is only logged
}

// Cost measures the cost of exact mode. starts is how often it starts a command
// that does nothing. transfers is how often it transfers volume bytes in each
// direction. Runs with and without exact mode alternate. The additional time is the
// median of the differences between neighboring runs, because the time of a run
// depends more on the load of the machine than on the mode.
func Cost(t *testing.T, s Subject, pod string, starts, transfers int, volume int64, budget Budget) {
	count := volume >> 20
	measure := func(name string, times int, stdin bool, command ...string) (plain, more time.Duration) {
		took := map[string][]time.Duration{}
		var differences []time.Duration
		for i := range times {
			modes := []string{modePlain, modeExact}
			if i%2 == 1 {
				slices.Reverse(modes)
			}
			for _, mode := range modes {
				took[mode] = append(took[mode], timed(t, s, pod, mode, stdin, volume, command))
			}
			differences = append(differences, took[modeExact][i]-took[modePlain][i])
		}
		plain, more = median(took[modePlain]), median(differences)
		t.Logf("%s: %s plain %v, exact %+.1f ms, %+.1f %% (medians of %d pairs)", name, s.Name,
			plain.Round(10*time.Microsecond), more.Seconds()*1000, 100*float64(more)/float64(plain), times)
		return plain, more
	}
	over := func(is bool, format string, args ...any) {
		switch {
		case is && budget.Strict:
			t.Errorf(format, args...)
		case is:
			t.Logf("OVER BUDGET: "+format, args...)
		}
	}
	_, more := measure("start", starts, false, "true")
	over(more > budget.Start, "exact mode starts %v later, %v is allowed", more, budget.Start)
	stdin := !slices.Contains(s.Flags, "v4.channel.k8s.io") // without exact mode, v4 cannot send the end of stdin
	if stdin {
		_, more = measure("start with -i", starts, true, "head", "-c", "1")
		over(more > budget.Start, "exact mode with -i starts %v later, %v is allowed", more, budget.Start)
	}
	if count == 0 {
		return
	}
	plain, more := measure(fmt.Sprintf("%d MiB down", count), transfers, false, "dd", "if=/dev/zero", "bs=1M",
		fmt.Sprint("count=", count))
	over(float64(more) > float64(plain)*budget.Volume, "download takes %.1f %% longer", 100*float64(more)/float64(plain))
	if !stdin {
		return
	}
	plain, more = measure(fmt.Sprintf("%d MiB up", count), transfers, true, "wc", "-c")
	over(float64(more) > float64(plain)*budget.Volume, "upload takes %.1f %% longer", 100*float64(more)/float64(plain))
}

// timed runs the command once, and returns how long it took. The stdin of the
// command is a sparse file of zeros.
func timed(t *testing.T, s Subject, pod, mode string, stdin bool, volume int64, command []string) time.Duration {
	args := append(append([]string{"exec"}, s.Flags...), mode)
	if stdin {
		args = append(args, "-i")
	}
	cmd := s.Command(t.Context(), t, append(append(args, pod, "--"), command...)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	cmd.Stdout = w
	if stdin {
		in, err := zeros(t.TempDir(), min(volume, volumeOf(command, volume)))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = in.Close() }()
		cmd.Stdin = in
	}
	start := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = w.Close()
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	return time.Since(start)
}

// volumeOf returns how many bytes of stdin the command gets.
func volumeOf(command []string, volume int64) int64 {
	if command[0] == "head" {
		return 1
	}
	return volume
}

// zeros returns a sparse file of n zeros.
func zeros(dir string, n int64) (*os.File, error) {
	f, err := os.CreateTemp(dir, "zeros")
	if err != nil {
		return nil, err
	}
	if err := f.Truncate(n); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func median(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}
