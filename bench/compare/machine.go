//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"
)

const (
	// maxBusy is the share of the CPU time that other programs may use. The
	// cluster itself uses some percent.
	maxBusy = 0.25
	// quietLimit is the time limit of the wait for a quiet machine.
	quietLimit = 2 * time.Minute
)

// awaitQuiet waits until the machine is quiet. It returns an error if the
// machine stays busy, unless accept is set.
func awaitQuiet(ctx context.Context, accept bool) error {
	for began := time.Now(); ; {
		share, err := busyShare(ctx, 2*time.Second)
		if err != nil || share <= maxBusy || accept {
			return err
		}
		if time.Since(began) > quietLimit {
			return fmt.Errorf("other programs use %.0f %% of the CPU time: use -busy to measure nevertheless", 100*share)
		}
		fmt.Fprintf(os.Stderr, "bench: other programs use %.0f %% of the CPU time; waiting\n", 100*share)
	}
}

// busyShare returns the share of the CPU time that is used during an interval.
func busyShare(ctx context.Context, interval time.Duration) (float64, error) {
	used, all, err := cpuTimes()
	if err != nil {
		return 0, err
	}
	select {
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-time.After(interval):
	}
	usedNow, allNow, err := cpuTimes()
	if err != nil {
		return 0, err
	}
	return float64(usedNow-used) / float64(allNow-all), nil
}

// cpuTimes returns the CPU time that was used, and the CPU time that was available,
// since the start of the machine. The unit is that of /proc/stat.
func cpuTimes() (used, all int64, err error) {
	f, err := os.Open("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = f.Close() }()
	var label string
	var times [8]int64 // user, nice, system, idle, iowait, irq, softirq, steal
	args := []any{&label}
	for i := range times {
		args = append(args, &times[i])
	}
	if _, err := fmt.Fscan(f, args...); err != nil {
		return 0, 0, err
	}
	for i, t := range times {
		all += t
		if i != 3 && i != 4 {
			used += t
		}
	}
	return used, all, nil
}

// describe returns the versions of the programs and the machine, one fact per
// line.
func (b *bench) describe(ctx context.Context) ([]string, error) {
	kshell, err := b.output(ctx, nil, b.kshell, "--version")
	if err != nil {
		return nil, err
	}
	text, err := b.output(ctx, nil, b.kubectl, "--kubeconfig", b.direct.kubeconfig, "version", "-o", "json")
	if err != nil {
		return nil, err
	}
	var versions struct {
		ClientVersion, ServerVersion struct{ GitVersion string }
	}
	if err := json.Unmarshal(text, &versions); err != nil {
		return nil, err
	}
	model, err := cpuModel()
	if err != nil {
		return nil, err
	}
	return []string{
		strings.TrimSpace(string(kshell)) + ", built with " + runtime.Version(),
		"kubectl " + versions.ClientVersion.GitVersion + ", API server " + versions.ServerVersion.GitVersion,
		fmt.Sprintf("%d CPUs (%s), on which the servers and nodes of the cluster run, too", runtime.NumCPU(), model),
	}, nil
}

// cpuModel returns the model of the CPUs.
func cpuModel() (string, error) {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if name, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value), nil
		}
	}
	return "", errors.Join(errors.New("/proc/cpuinfo names no CPU model"), lines.Err())
}
