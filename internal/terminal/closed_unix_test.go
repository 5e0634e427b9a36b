//go:build unix

package terminal

import (
	"context"
	"os"
	"testing"
)

func TestAwaitClosed(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if AwaitClosed(ended, w) {
		t.Error("got true for an open pipe")
	}
	closed := make(chan bool)
	go func() { closed <- AwaitClosed(t.Context(), w) }()
	_ = r.Close()
	if !<-closed {
		t.Error("got false for a closed pipe")
	}
	file, err := os.Create(t.TempDir() + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	if AwaitClosed(t.Context(), file) {
		t.Error("got true for a file")
	}
}
