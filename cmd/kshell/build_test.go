package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// built is where the build that panics on purpose (trap_panic.go) is kept; empty if it was not made.
var built string

// panicking is the path of that build, which is made once.
func panicking(t *testing.T) string {
	t.Helper()
	path, err := buildPanicking()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var buildPanicking = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "kshell-panictest")
	if err != nil {
		return "", err
	}
	built = dir
	path := filepath.Join(dir, "kshell")
	args := append([]string{"build", "-tags", "panictest", "-o", path}, raceFlag...)
	out, err := exec.CommandContext(context.Background(), "go", append(args, ".")...).CombinedOutput()
	if err != nil {
		return "", errors.Join(err, fmt.Errorf("go build: %s", out))
	}
	return path, nil
})

func removeBuilt() {
	if built != "" {
		_ = os.RemoveAll(built)
	}
}
