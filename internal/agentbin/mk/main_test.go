package main

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"testing"

	"kshell/internal/agentbin"
)

const root = "../../.."

// embedded returns the unpacked agents by architecture, and checks their
// headers and sizes. If an agent is missing, it skips the test, or fails it if
// KSHELL_TEST_AGENTS=required.
func embedded(t *testing.T) map[string][]byte {
	t.Helper()
	found := map[string][]byte{}
	for _, goarch := range agentbin.Architectures {
		gzipped := agentbin.Gzipped(goarch)
		if gzipped == nil {
			continue
		}
		r, err := gzip.NewReader(bytes.NewReader(gzipped))
		if err != nil {
			t.Fatal(err)
		}
		if !r.ModTime.IsZero() || r.Name != "" {
			t.Errorf("%s: the gzip header has the time %v and the name %q", goarch, r.ModTime, r.Name)
		}
		if found[goarch], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		if len(gzipped) > maxSize {
			t.Errorf("%s has %d bytes, more than %d", goarch, len(gzipped), maxSize)
		}
	}
	if n := len(agentbin.Architectures); len(found) < n {
		if os.Getenv("KSHELL_TEST_AGENTS") == "required" {
			t.Fatalf("%d of %d agents are embedded; run make agent", len(found), n)
		}
		t.Skipf("%d of %d agents are embedded; run make agent", len(found), n)
	}
	return found
}

// TestAgents_UpToDate checks that the embedded agents were built from the
// current sources.
func TestAgents_UpToDate(t *testing.T) {
	agents := embedded(t)
	want, err := sourceID(root)
	if err != nil {
		t.Fatal(err)
	}
	if got := agentbin.BuildID(); got != want {
		t.Errorf("the build ID of the embedded agents is %s, and that of the sources is %s; run make agent", got, want)
	}
	for goarch, program := range agents {
		if !bytes.Contains(program, []byte(want)) {
			t.Errorf("the agent for %s has another build ID; run make agent", goarch)
		}
	}
}

// TestAgents_Reproducible checks that a new build gives the bytes of the
// embedded agents.
func TestAgents_Reproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("builds agents")
	}
	embedded(t)
	for _, goarch := range agentbin.Architectures {
		data, err := build(root, agentbin.BuildID(), goarch)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, agentbin.Gzipped(goarch)) {
			t.Errorf("another build for %s gives other bytes", goarch)
		}
	}
}

// TestSourceID checks that the build ID depends on each source file of the
// agent, and not on its tests or on other packages.
func TestSourceID(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	id := func() string {
		t.Helper()
		id, err := sourceID(dir)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	write("go.mod", "go 1.26.0\n")
	write("internal/agent/a.go", "1")
	last := id()
	for _, step := range []struct {
		name, text string
		changes    bool
	}{
		{"internal/agent/a.go", "2", true},
		{"cmd/kshell-agent/b.go", "1", true},
		{"go.mod", "go 1.26.0\n\tgolang.org/x/sys v1.0.0\n", true},
		{"go.mod", "go 1.26.0\n\tgolang.org/x/sys v1.0.0\n\texample.com/other v1.0.0\n", false},
		{"internal/agent/a_test.go", "1", false},
		{"internal/other/c.go", "1", false},
	} {
		write(step.name, step.text)
		if now := id(); (now != last) != step.changes {
			t.Errorf("after a change of %s, the ID has changed: %v, want %v", step.name, now != last, step.changes)
		} else {
			last = now
		}
	}
}
