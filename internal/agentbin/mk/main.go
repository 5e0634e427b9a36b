// Mk builds the session agents and writes them to internal/agentbin/agents.
// "make agent" runs it, in the directory of the module. Mk does nothing if the
// agents are up to date. The same sources and the same Go version give the same
// bytes.
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"kshell/internal/agentbin"
)

// maxSize is the maximum size of a gzipped agent, in bytes.
const maxSize = 800_000

// buildFlags are the flags of "go build". -gcflags=-l disables inlining, which
// makes an agent about 10% smaller.
var buildFlags = []string{"-trimpath", "-buildvcs=false", "-gcflags=all=-l"}

func main() {
	if err := makeAgents("."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// makeAgents builds the agents unless they are up to date. root is the
// directory of the module.
func makeAgents(root string) error {
	dir := filepath.Join(root, "internal", "agentbin", "agents")
	id, err := sourceID(root)
	if err != nil {
		return err
	}
	built, _ := os.ReadFile(filepath.Join(dir, "build"))
	if strings.TrimSpace(string(built)) == id && exist(dir) {
		return nil
	}
	// If mk is interrupted, no build ID is left for the agents.
	if err := os.Remove(filepath.Join(dir, "build")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, goarch := range agentbin.Architectures {
		data, err := build(root, id, goarch)
		if err != nil {
			return err
		}
		fmt.Printf("agent for linux/%s: %d bytes\n", goarch, len(data))
		if len(data) > maxSize {
			return fmt.Errorf("the agent for %s has more than %d bytes", goarch, maxSize)
		}
		if err := os.WriteFile(filepath.Join(dir, goarch+".gz"), data, 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "build"), []byte(id+"\n"), 0o600)
}

// exist reports whether dir contains an agent for each architecture.
func exist(dir string) bool {
	for _, goarch := range agentbin.Architectures {
		if _, err := os.Stat(filepath.Join(dir, goarch+".gz")); err != nil {
			return false
		}
	}
	return true
}

// build builds the agent for an architecture with the build ID id, and returns
// it gzipped.
func build(root, id, goarch string) ([]byte, error) {
	temp, err := os.MkdirTemp("", "kshell-agent")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(temp) }()
	program := filepath.Join(temp, "agent")
	args := append([]string{"build"}, buildFlags...)
	args = append(args, "-ldflags=-s -w -buildid= -X main.buildID="+id, "-o", program, "./cmd/kshell-agent")
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+goarch, "GOFLAGS=", "GOAMD64=", "GOARM64=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	var gzipped bytes.Buffer
	w, err := gzip.NewWriterLevel(&gzipped, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(data); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return gzipped.Bytes(), nil
}

// sourceID returns the build ID: a hash of everything that an agent is built
// from, in 16 hexadecimal digits.
func sourceID(root string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), buildFlags)
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mod)) {
		if strings.HasPrefix(line, "go ") || strings.Contains(line, "golang.org/x/sys ") {
			fmt.Fprintln(hash, strings.TrimSpace(line))
		}
	}
	for _, dir := range []string{"internal/agent", "cmd/kshell-agent"} {
		names, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(dir), "*.go"))
		if err != nil {
			return "", err
		}
		for _, name := range names { // Glob sorts
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			data, err := os.ReadFile(name)
			if err != nil {
				return "", err
			}
			fmt.Fprintf(hash, "%s/%s %d\n%s", dir, filepath.Base(name), len(data), data)
		}
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}
