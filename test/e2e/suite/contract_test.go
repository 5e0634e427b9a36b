package suite

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"kshell/test/contract"
	"kshell/test/e2e/harness"
)

var (
	runs   = flag.Int("runs", 3, "repetitions of the transfers of 15 MB")
	volume = flag.Int64("volume", 256<<20, "bytes of the large transfers")
)

func TestContract(t *testing.T) {
	inCI(t)
	onEach(t, contract.Run)
}

func TestExec_ExitCodes(t *testing.T) {
	inCI(t)
	onEach(t, contract.ExitCodes)
}

func TestExec_LostStderr(t *testing.T) {
	notInCI(t)
	onEach(t, contract.LostStderr)
}

func TestClusters(t *testing.T) {
	inCI(t)
	onEach(t, contract.Clusters)
}

func TestTransfers(t *testing.T) {
	notInCI(t)
	onEach(t, func(t *testing.T, p contract.Program) { contract.Transfers(t, p, 2_000_000, *runs) })
}

// The zeros of a large transfer come from the kernel, so that disks do not
// limit it.
func TestTransfers_Large(t *testing.T) {
	notInCI(t)
	sum := sha256.New()
	if _, err := io.CopyN(sum, zeros{}, *volume); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%x", sum.Sum(nil))
	onEach(t, func(t *testing.T, p contract.Program) {
		t.Run("down", func(t *testing.T) {
			cmd := p.Command(t.Context(), t, "exec", "web", "--", "dd", "if=/dev/zero", "bs=1M",
				fmt.Sprintf("count=%d", *volume>>20))
			got := sha256.New()
			cmd.Stdout = got
			if err := cmd.Run(); err != nil {
				t.Error(err)
			}
			if s := fmt.Sprintf("%x", got.Sum(nil)); s != want {
				t.Errorf("sum %s, want %s", s, want)
			}
		})
		t.Run("up", func(t *testing.T) {
			cmd := p.Command(t.Context(), t, "exec", "-i", "web", "--", "sha256sum")
			cmd.Stdin = io.LimitReader(zeros{}, *volume)
			out, err := cmd.Output()
			if err != nil {
				t.Error(err)
			}
			if s, _, _ := strings.Cut(string(out), " "); s != want {
				t.Errorf("sum %s, want %s", s, want)
			}
		})
	})
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestExec_HundredAtOnce runs 20 commands at a time in each of five pods. A hundred in
// one pod would test the container runtime: the shim of containerd 1.6 can queue only a
// limited number of ended processes. After that, it starts one command a second, and
// `kubectl exec` fails, too.
func TestExec_HundredAtOnce(t *testing.T) {
	notInCI(t)
	pods := []string{"web", "deploy/web", "db-0", "db-1", "bashpod"}
	onEach(t, func(t *testing.T, p contract.Program) {
		var all sync.WaitGroup
		for i := range 100 {
			all.Go(func() {
				script := fmt.Sprintf("cat; exit %d", i)
				cmd := p.Command(t.Context(), t, "exec", "-i", pods[i%len(pods)], "-q", "--", "sh", "-c", script)
				cmd.Stdin = strings.NewReader(fmt.Sprint("hello ", i))
				out, err := cmd.Output()
				if got := cmd.ProcessState.ExitCode(); got != i || string(out) != fmt.Sprint("hello ", i) {
					t.Errorf("%d: exit code %d, output %q (%v)", i, got, out, stderr(err))
				}
			})
		}
		all.Wait()
	})
}

func stderr(err error) string {
	if e, ok := err.(*exec.ExitError); ok { //nolint:errorlint // Output does not wrap the error
		return fmt.Sprintf("%v: %s", err, e.Stderr)
	}
	return fmt.Sprint(err)
}

func TestDoctor(t *testing.T) {
	inCI(t)
	for _, s := range kshellSubjects()[:2] {
		t.Run(s.Name, func(t *testing.T) {
			contract.Doctor(t, contract.Users{Program: s.Program, ExecOnly: harness.DevExecOnly, None: harness.DevNone})
		})
	}
}

func TestGuard(t *testing.T) {
	inCI(t)
	onEach(t, func(t *testing.T, p contract.Program) { contract.Guard(t, p, harness.Admin) })
}
