package fanout

import (
	"os"
	"testing"

	"kshell/internal/outcome"
	"kshell/internal/remote"
)

func TestCheckStdinFile(t *testing.T) {
	for _, name := range []string{"", os.DevNull} {
		if err := CheckStdinFile(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := CheckStdinFile(t.TempDir()); err == nil {
		t.Error("no error for a directory")
	}
}

func TestSettingsCheckInput(t *testing.T) {
	tests := []struct {
		name      string
		targets   int
		stdin     bool
		stdinFile string
		cause     outcome.Cause
	}{
		{"no stdin", 2, false, "", outcome.Exited},
		{"one target", 1, true, "", outcome.Exited},
		{"a file", 2, true, "file", outcome.Exited},
		{"one stdin for two targets", 2, true, "", outcome.Usage},
	}
	for _, tt := range tests {
		s := &Settings{Options: remote.Options{Stdin: tt.stdin}, StdinFile: tt.stdinFile}
		if err := s.CheckInput(make([]Target, tt.targets), "pods"); outcome.Classify(err).Cause != tt.cause {
			t.Errorf("%s: error %v, want cause %s", tt.name, err, tt.cause)
		}
	}
}
