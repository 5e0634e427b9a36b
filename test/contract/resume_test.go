//go:build linux

package contract

import (
	"testing"
	"time"

	"kshell/internal/agentbin"
)

// resumeSetup returns a ResumeSetup with a new sandbox.
func resumeSetup(t *testing.T) ResumeSetup {
	t.Helper()
	if agentbin.BuildID() == "" {
		t.Skip(`there are no agents: run "make agent"`)
	}
	return ResumeSetup{Setup: sandboxSetup(t), Dir: func(t *testing.T) string { return t.TempDir() }}
}

func TestResume(t *testing.T) {
	t.Parallel()
	Resume(t, resumeSetup(t))
}

func TestResume_Same(t *testing.T) {
	t.Parallel()
	ResumeSame(t, resumeSetup(t), "web", "sh")
}

func TestResume_Cuts(t *testing.T) {
	t.Parallel()
	w := resumeSetup(t)
	t.Run("keys", func(t *testing.T) {
		t.Parallel()
		ResumeKeys(t, w, 100, 10)
	})
	t.Run("transfer", func(t *testing.T) {
		t.Parallel()
		ResumeTransfer(t, w, Transfer{In: 2_000_000, Out: 5_000_000, Duration: 10 * time.Second, Cuts: 8})
	})
	t.Run("transfer by SPDY", func(t *testing.T) {
		t.Parallel()
		w := w
		w.Flags = []string{"--context", "create-only"}
		ResumeTransfer(t, w, Transfer{In: 2_000_000, Out: 5_000_000, Duration: 10 * time.Second, Cuts: 8})
	})
}

func TestResume_Durations(t *testing.T) {
	t.Parallel()
	w := resumeSetup(t)
	t.Run("reset", func(t *testing.T) {
		t.Parallel()
		if took := ResumeReset(t, w, 5); took > 5*time.Second { // 1 s on a machine that is not busy
			t.Errorf("in the same shell after %v", took)
		}
	})
	t.Run("Ctrl-C", func(t *testing.T) {
		t.Parallel()
		if took := ResumeInterrupt(t, w, 64_000); took > 10*time.Second { // 2 s on a machine that is not busy
			t.Errorf("a prompt %v after Ctrl-C", took)
		}
	})
	t.Run("first prompt", func(t *testing.T) {
		t.Parallel()
		plain, first, again := ResumeFirstPrompt(t, w, 3)
		t.Logf("the first prompt: plain %v, --resume %v, with an agent that was uploaded before %v", plain, first, again)
	})
	t.Run("bulk output", func(t *testing.T) {
		t.Parallel()
		plain, resumed := ResumeBulk(t, w, 64<<20)
		t.Logf("64 MiB: plain %v, --resume %v", plain, resumed)
	})
}
