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

// flooded is what kshell may use, in KiB, while that many pods print without end.
const flooded = 40 << 10

// Flood has the pods that a selector finds print without end, to a reader that does nothing for a while, and interrupts that: what waits does not fill
// the memory, each pod is heard, and all of it ends.
func Flood(t *testing.T, p Program, selector string, pods int) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
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
	go func() { watched <- peak(watching, cmd.Process.Pid) }()
	heard, lines := map[string]bool{}, bufio.NewReader(out)
	for since := time.Now(); len(heard) < pods && time.Since(since) < limit/2; {
		line, err := lines.ReadString('\n')
		pod, text, _ := strings.Cut(line, ": ")
		if err != nil || text != "0123456789abcdef\n" {
			t.Errorf("read %q (%v)", line, err)
			break
		}
		heard[pod] = true
	}
	if len(heard) != pods {
		t.Errorf("heard of %d pods: %v", len(heard), heard)
	}
	time.Sleep(4 * time.Second) // nobody reads: what memory is needed is needed now
	start := time.Now()
	if err := cmd.Process.Signal(interrupt()); err != nil {
		t.Error(err)
	}
	_, _ = io.Copy(io.Discard, out)
	r := ended(ctx, t, cmd, start, &errs)
	stop()
	most := <-watched
	t.Logf("%d pods, %d MiB at most, ended after %v", pods, most>>10, r.Took.Round(time.Millisecond))
	if r.Code != 128+int(interrupt()) || r.Err != "" || r.Took > grace {
		t.Errorf("exit code %d after %v, stderr %.500q", r.Code, r.Took, r.Err)
	}
	if most == 0 || most > flooded {
		t.Errorf("%d MiB of memory", most>>10)
	}
	p.mustBeQuiet(t, selector, pods)
}

// mustBeQuiet waits until no pod of the selector runs yes any more.
func (p Program) mustBeQuiet(t *testing.T, selector string, pods int) {
	t.Helper()
	for late := time.Now().Add(grace); ; time.Sleep(200 * time.Millisecond) {
		r := p.Run(t, nil, "exec", "--exact=never", "-l", selector, "--all", "--max-parallel=100", "--", "sh", "-c", lists+"; echo listed")
		running := slices.DeleteFunc(strings.Split(r.Out, "\n"), func(line string) bool { return !strings.Contains(line, ": yes 0123456789abcdef") })
		if r.Code == 0 && len(running) == 0 && strings.Count(r.Out, ": listed\n") == pods {
			return
		}
		if time.Now().After(late) {
			t.Errorf("left in the containers (exit code %d, stderr %.500q): %.1000q", r.Code, r.Err, running)
			return
		}
	}
}
