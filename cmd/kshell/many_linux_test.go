package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// kshell does not read more output of a pod while it cannot write the output
// that it has read. Otherwise the output would fill the memory.
func TestMany_MemoryIsBoundedIfStdoutIsSlow(t *testing.T) {
	skipShort(t)
	const pods = 3
	bytesEach, limit := 200<<20, 64
	if raceDetector { // the race detector is slow and needs more memory
		bytesEach, limit = 50<<20, 110
	}
	s := startPods(t, pods, "")
	cmd := exec.CommandContext(t.Context(), program(t), "exec", "-l", "many=yes", "--all", "--",
		"sh", "-c", fmt.Sprintf("yes 0123456789abcde | head -c %d", bytesEach))
	cmd.Env = environment(t, s)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	total, peak := readSlowly(t, out, cmd.Process.Pid)
	err = cmd.Wait()
	if want := int64(pods * bytesEach / 16 * (16 + len("many-0: "))); err != nil || total != want {
		t.Errorf("%v; %d bytes, want %d; stderr:\n%s", err, total, want, &errs)
	}
	t.Logf("peak memory: %d MiB", peak)
	if peak == 0 || peak > limit {
		t.Errorf("peak memory: %d MiB, want at most %d", peak, limit)
	}
}

// readSlowly reads nothing for a second, then slowly, then the rest. pid is the
// process that writes, and peak is its peak memory in MiB.
func readSlowly(t *testing.T, r io.Reader, pid int) (total int64, peak int) {
	t.Helper()
	p := make([]byte, 1<<20)
	time.Sleep(time.Second)
	for i := 0; ; i++ {
		if i%50 == 0 {
			peak = max(peak, peakMemory(pid))
		}
		n, err := r.Read(p)
		total += int64(n)
		if err == io.EOF {
			return total, peak
		}
		if err != nil {
			t.Error(err)
			return total, peak
		}
		if i < 100 {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// peakMemory returns the peak memory of a process in MiB; 0 if it has ended.
func peakMemory(pid int) int {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // no value if the process has ended
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(value)[0])
			return kib >> 10
		}
	}
	return 0
}
