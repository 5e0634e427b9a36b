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

func TestASlowReaderHoldsThePodsBackNotTheMemory(t *testing.T) {
	skipShort(t)
	const pods = 3
	bytesEach, limit := 200<<20, 64
	if raceDetector { // it is slow and needs more memory
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
	total, most := slowly(t, out, cmd.Process.Pid)
	err = cmd.Wait()
	if want := int64(pods * bytesEach / 16 * (16 + len("many-0: "))); err != nil || total != want {
		t.Errorf("%v; %d bytes, want %d; stderr:\n%s", err, total, want, &errs)
	}
	t.Logf("at most %d MiB in memory", most)
	if most == 0 || most > limit {
		t.Errorf("%d MiB in memory, want at most %d", most, limit)
	}
}

// slowly reads nothing for a while, then a little at a time, and then what is left. most is what the process that writes it has had
// in memory, in MiB.
func slowly(t *testing.T, r io.Reader, pid int) (total int64, most int) {
	t.Helper()
	p := make([]byte, 1<<20)
	time.Sleep(time.Second)
	for i := 0; ; i++ {
		if i%50 == 0 {
			most = max(most, peak(pid))
		}
		n, err := r.Read(p)
		total += int64(n)
		if err == io.EOF {
			return total, most
		}
		if err != nil {
			t.Error(err)
			return total, most
		}
		if i < 100 {
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// peak is what a process has had in memory at most, in MiB; 0 if it has ended.
func peak(pid int) int {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid)) // gone: no value
	for line := range strings.Lines(string(raw)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.Atoi(strings.Fields(value)[0])
			return kib >> 10
		}
	}
	return 0
}
