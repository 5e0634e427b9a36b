package contract

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// lines returns the output of `seq 1 n`.
func lines(n int) []byte {
	var b []byte
	for i := 1; i <= n; i++ {
		b = append(strconv.AppendInt(b, int64(i), 10), '\n')
	}
	return b
}

// Transfers transfers the lines 1 to n (n = 2,000,000: 14.9 MB) in both
// directions, the given number of times.
func Transfers(t *testing.T, p Program, n, times int) {
	want := lines(n)
	sum := fmt.Sprintf("%x", sha256.Sum256(want))
	t.Run("up", func(t *testing.T) {
		for i := range times {
			r := p.Run(t, want, "exec", "-i", "web", "--", "sha256sum")
			if got, _, _ := strings.Cut(r.Out, " "); got != sum || r.Code != 0 {
				t.Errorf("run %d: sum %s, exit code %d, stderr %q", i, got, r.Code, r.Err)
			}
		}
	})
	t.Run("down", func(t *testing.T) {
		for i := range times {
			r := p.Run(t, nil, "exec", "web", "--", "seq", "1", strconv.Itoa(n))
			if got := fmt.Sprintf("%x", sha256.Sum256([]byte(r.Out))); got != sum || r.Code != 0 {
				t.Errorf("run %d: sum %s of %d bytes, exit code %d, stderr %q", i, got, len(r.Out), r.Code, r.Err)
			}
		}
	})
}

// ExitCodes runs a command for each code from 0 to 255.
func ExitCodes(t *testing.T, p Program) {
	for code := range 256 {
		t.Run(strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			if r := p.Run(t, nil, "exec", "web", "--", "sh", "-c", "exit "+strconv.Itoa(code)); r.Code != code || r.Err != "" {
				t.Errorf("exit code %d, stderr %q", r.Code, r.Err)
			}
		})
	}
}

// LostStderr checks that output and exit code are correct even if kshell cannot
// write to stderr.
func LostStderr(t *testing.T, p Program) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = full.Close() }()
	cmd := p.Command(t.Context(), t, "exec", "web", "--", "sh", "-c", "echo err >&2; echo out; echo err >&2; exit 3")
	cmd.Stderr = full
	out, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); code != 3 || string(out) != "out\n" {
		t.Errorf("exit code %d, stdout %q (%v)", code, out, err)
	}
}
