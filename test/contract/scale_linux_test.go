package contract

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/sandbox"
)

// transferSize is the size of the transfers of TestScale_Transfers.
var transferSize = flag.Int64("transfer", 1<<30, "bytes that TestScale_Transfers transfers in each direction")

// maxTransferMemory is the most memory that kshell may need for a transfer of any
// size, in MiB. About 15 MiB of it are pages of the program's file.
const maxTransferMemory = 24

// costs is what a run of a program has cost, as bench/launch reports it.
type costs struct {
	took   time.Duration
	memory int // the peak of the process, in MiB
	code   int
}

// launcher runs a program and measures its costs. The program must not be a
// child of the test: the peak memory of a new process is at least that of the
// process that has started it.
type launcher struct{ path string }

func newLauncher(t *testing.T) launcher {
	t.Helper()
	path := filepath.Join(t.TempDir(), "launch")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "kshell/bench/launch")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return launcher{path}
}

// run runs p with args. It returns what the program has written to stderr.
func (l launcher) run(
	t *testing.T, p Program, stdin io.Reader, stdout io.Writer, args ...string,
) (c costs, errs string) {
	t.Helper()
	cmd := p.Command(t.Context(), t, args...)
	cmd.Path, cmd.Args = l.path, append([]string{l.path, p.Path}, args...)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = stdin, stdout, &stderr, []*os.File{w}
	err = cmd.Start()
	_ = w.Close() // the launcher has its own descriptor
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &stderr)
	}
	var start, took, cpu, memory int64
	if _, err := fmt.Fscan(r, &start, &took, &cpu, &memory, &c.code); err != nil {
		t.Fatalf("no report: %v", err)
	}
	c.took, c.memory = time.Duration(took), int(memory>>20)
	t.Logf("%v: %v, CPU %v, %d MiB", args, c.took, time.Duration(cpu), c.memory)
	return c, progressNote.ReplaceAllString(stderr.String(), "")
}

// TestScale_ManyPods runs a command in 1,000 pods. kshell must need as much
// memory as for 200 pods, and five times the time, and open one connection for
// all requests.
func TestScale_ManyPods(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	const few, many, parallel = 200, 1000, 100
	s, err := sandbox.Start(sandbox.Config{Dir: t.TempDir(), Empty: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for i := range many {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
		p.Name, p.Labels = fmt.Sprintf("pod-%d", i), map[string]string{"many": "yes", "few": strconv.FormatBool(i < few)}
		if err := s.AddPod(p); err != nil {
			t.Fatal(err)
		}
	}
	p := Program{Path: kshellBinary(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir()}
	l := newLauncher(t)
	run := func(pods, parallel int, label string, command ...string) costs {
		t.Helper()
		before := s.Stats()
		args := []string{"exec", "-l", label, "--all", "--max-parallel", strconv.Itoa(parallel), "--"}
		args = append(args, command...)
		c, errs := l.run(t, p, nil, nil, args...)
		after := s.Stats()
		if c.code != 0 || errs != "" {
			t.Errorf("%d pods: exit code %d: %.2000s", pods, c.code, errs)
		}
		if n := after.Commands - before.Commands; n != pods {
			t.Errorf("%d pods: %d commands were started", pods, n)
		}
		if n := after.Connections - before.Connections; n != pods+1 {
			t.Errorf("%d pods: %d connections, want one for each pod, and one for the requests", pods, n)
		}
		return c
	}
	one := run(few, parallel, "few=true", "true")
	all := run(many, parallel, "many=yes", "true")
	if all.memory > 64 || all.memory > one.memory+8 {
		t.Errorf("peak memory with %d pods: %d MiB; with %d: %d MiB", few, one.memory, many, all.memory)
	}
	// The machine is the same, but not equally busy in both runs.
	if ratio := float64(all.took) / float64(one.took); ratio > 2*many/few {
		t.Errorf("%d pods take %.1f times as long as %d", many, ratio, few)
	}
	const wait = 2 * time.Second
	slow := run(few, parallel/4, "few=true", "sleep", "2")
	fast := run(few, parallel, "few=true", "sleep", "2")
	if slow.took < wait*few/(parallel/4) || fast.took < wait*few/parallel || fast.took >= slow.took {
		t.Errorf("%v with %d at the same time, %v with %d", fast.took, parallel, slow.took, parallel/4)
	}
}

// The memory that kshell needs must not depend on the size of a transfer:
//
//	go test ./test/contract -run TestScale_Transfers -transfer 10737418240 -timeout 1h -v
func TestScale_Transfers(t *testing.T) {
	if testing.Short() {
		t.Skip("transfers gigabytes")
	}
	s, _ := startWeb(t)
	p := Program{Path: kshellBinary(t), Kubeconfig: s.Kubeconfig(), Home: t.TempDir()}
	l := newLauncher(t)
	size := strconv.FormatInt(*transferSize, 10)
	t.Run("down", func(t *testing.T) {
		var out counter
		c, errs := l.run(t, p, nil, &out, "exec", "web", "--", "head", "-c", size, "/dev/zero")
		if c.code != 0 || errs != "" || out.n != *transferSize {
			t.Errorf("exit code %d, %d bytes, stderr %q", c.code, out.n, errs)
		}
		if c.memory > maxTransferMemory {
			t.Errorf("peak memory: %d MiB", c.memory)
		}
	})
	t.Run("up", func(t *testing.T) {
		in, err := zeros(t.TempDir(), *transferSize)
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		var out bytes.Buffer
		c, errs := l.run(t, p, in, &out, "exec", "-i", "web", "--", "wc", "-c")
		if got := strings.TrimSpace(out.String()); c.code != 0 || errs != "" || got != size {
			t.Errorf("exit code %d, %q bytes, stderr %q", c.code, got, errs)
		}
		if c.memory > maxTransferMemory {
			t.Errorf("peak memory: %d MiB", c.memory)
		}
	})
	t.Run("stalled reader", func(t *testing.T) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		const lines = 10_000_000
		read := make(chan int64, 1)
		go func() {
			defer r.Close()
			time.Sleep(5 * time.Second) // the reader does not read for this time
			n, _ := io.Copy(io.Discard, r)
			read <- n
		}()
		command := fmt.Sprintf("yes 0123456789abcde | head -n %d", lines)
		c, errs := l.run(t, p, nil, w, "exec", "web", "--", "sh", "-c", command)
		_ = w.Close()
		if n := <-read; c.code != 0 || errs != "" || n != 16*lines {
			t.Errorf("exit code %d, %d bytes, stderr %q", c.code, n, errs)
		}
		if c.memory > maxTransferMemory {
			t.Errorf("peak memory: %d MiB", c.memory)
		}
	})
}
