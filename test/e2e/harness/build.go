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

// Kubectl returns the path of a kubectl of the same version, to compare kshell
// with.
func (c *Cluster) Kubectl() string { return filepath.Join(c.Dir, "bin", "kubectl") }

// build builds the Kubernetes binaries and podtools into the directory bin. If
// they are up to date, that takes a second.
func (c *Cluster) build(ctx context.Context) error {
	dir, err := c.output(ctx, nil, "go", "list", "-m", "-f", "{{.Dir}}", "kshell/test/e2e")
	if err != nil {
		return fmt.Errorf("the working directory is not in the module kshell/test/e2e: %w", err)
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
		// Go records the flags of a build in the binary, and with them the
		// digest, which fingerprint needs.
		stamped := flags + " -X main.source=" + digest(source)
		argv := []string{
			"nice",
			"go",
			"build",
			"-C",
			root,
			"-buildvcs=false",
			"-ldflags",
			stamped,
			"-o",
			filepath.Join(c.Dir, "bin", name),
			"./programs/" + name,
		}
		if name == "podtools" { // podtools runs in images without a libc
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
