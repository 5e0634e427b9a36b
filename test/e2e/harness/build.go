package harness

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Version is the version of Kubernetes that the cluster runs.
const Version = "v1.37.2"

// Kubectl returns the path of the kubectl that was built from the same version: the reference for comparisons.
func (c *Cluster) Kubectl() string { return filepath.Join(c.Dir, "bin", "kubectl") }

// build builds the Kubernetes binaries and podtools into the folder bin. What is built already takes Go a second to find out.
func (c *Cluster) build(ctx context.Context) error {
	dir, err := c.output(ctx, nil, "go", "list", "-m", "-f", "{{.Dir}}", "kshell/test/e2e")
	if err != nil {
		return fmt.Errorf("not called from within the module kshell/test/e2e: %w", err)
	}
	if os.IsNotExist(statError(c.kube())) {
		c.say("building Kubernetes %s; the first time takes minutes", Version)
	}
	began := time.Now()
	flags := "-s -w"
	for _, p := range []string{"k8s.io/component-base/version", "k8s.io/client-go/pkg/version"} {
		for _, v := range []string{"gitVersion=" + Version, "gitMajor=1", "gitMinor=37"} {
			flags += " -X " + p + "." + v
		}
	}
	root := strings.TrimSpace(string(dir))
	for _, name := range []string{"podtools", "kubectl", "kube"} {
		source, err := os.ReadFile(filepath.Join(root, "programs", name, "main.go"))
		if err != nil {
			return err
		}
		stamped := flags + " -X main.source=" + digest(source) // recorded with the other settings of the build: see fingerprint
		argv := []string{"nice", "go", "build", "-C", root, "-buildvcs=false", "-ldflags", stamped, "-o", filepath.Join(c.Dir, "bin", name), "./programs/" + name}
		if name == "podtools" { // runs where there is no libc
			argv = append([]string{"env", "CGO_ENABLED=0"}, argv...)
		}
		if err := c.run(ctx, argv...); err != nil {
			return err
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		c.say("built in %s", took.Round(time.Second))
	}
	return nil
}

func statError(path string) error {
	_, err := os.Stat(path)
	return err
}
