package contract

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// floodMemory is how much memory kshell may use in Flood, in KiB.
const floodMemory = 40 << 10

// Flood runs an endless printer in all pods of a selector, with a reader that
// stops reading for a while, and then interrupts kshell. The memory of kshell
// must stay bounded, the output of each pod must arrive, and all processes must
// end.
func Flood(t *testing.T, p Program, selector string, pods int) {
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	cmd := p.Command(ctx, t, "exec", "-l", selector, "--all", "--max-parallel=100", "--", "yes", "0123456789abcdef")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	cmd.Stdout = in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()
	watched := make(chan int)
	watching, stop := context.WithCancel(ctx)
	go func() { watched <- peakMemory(watching, cmd.Process.Pid) }()
	heard, lines := map[string]bool{}, bufio.NewReader(out)
	for since := time.Now(); len(heard) < pods && time.Since(since) < runTimeout/2; {
		line, err := lines.ReadString('\n')
		pod, text, _ := strings.Cut(line, ": ")
		if err != nil || text != "0123456789abcdef\n" {
			t.Errorf("read %q (%v)", line, err)
			break
		}
		heard[pod] = true
	}
	if len(heard) != pods {
		t.Errorf("output of %d pods: %v", len(heard), heard)
	}
	time.Sleep(4 * time.Second) // the reader pauses, and kshell buffers
	start := time.Now()
	if err := cmd.Process.Signal(interrupt()); err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, out)
	r := waitExit(ctx, t, cmd, start, &errs)
	stop()
	most := <-watched
	t.Logf("%d pods, %d MiB at most, ended after %v", pods, most>>10, r.Took.Round(time.Millisecond))
	if r.Code != 128+int(interrupt()) || r.Err != "" || r.Took > cleanupTimeout {
		t.Errorf("exit code %d after %v, stderr %.500q", r.Code, r.Took, r.Err)
	}
	if most == 0 || most > floodMemory {
		t.Errorf("%d MiB of memory", most>>10)
	}
	p.checkStopped(t, selector, pods)
}

// checkStopped waits until no pod of the selector runs the command yes.
func (p Program) checkStopped(t *testing.T, selector string, pods int) {
	t.Helper()
	for late := time.Now().Add(cleanupTimeout); ; time.Sleep(200 * time.Millisecond) {
		r := p.Run(t, nil, "exec", "--exact=never", "-l", selector, "--all", "--max-parallel=100", "--", "sh", "-c",
			listProcesses+"; echo listed")
		running := slices.DeleteFunc(
			strings.Split(r.Out, "\n"),
			func(line string) bool { return !strings.Contains(line, ": yes 0123456789abcdef") },
		)
		if r.Code == 0 && len(running) == 0 && strings.Count(r.Out, ": listed\n") == pods {
			return
		}
		if time.Now().After(late) {
			t.Errorf("left in the containers (exit code %d, stderr %.500q): %.1000q", r.Code, r.Err, running)
			return
		}
	}
}
