//go:build unix

package fanout

import (
	"path/filepath"
	"syscall"
	"testing"

	"kshell/internal/outcome"
)

func TestCheckStdinFile_Pipe(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := CheckStdinFile(name); outcome.Classify(err).Cause != outcome.Usage {
		t.Errorf("error %v, want a usage error", err)
	}
}
