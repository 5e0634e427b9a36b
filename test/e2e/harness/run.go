package harness

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// run runs a command. Its error contains the output of the command.
func (c *Cluster) run(ctx context.Context, argv ...string) error {
	_, err := c.output(ctx, nil, argv...)
	return err
}

func (c *Cluster) runAll(ctx context.Context, commands [][]string) error {
	for _, argv := range commands {
		if err := c.run(ctx, argv...); err != nil {
			return err
		}
	}
	return nil
}

// output runs a command with the given stdin, and returns its stdout.
func (c *Cluster) output(ctx context.Context, stdin io.Reader, argv ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		said := strings.TrimSpace(stderr.String() + stdout.String())
		return nil, fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, tail(said, 2000))
	}
	return stdout.Bytes(), nil
}

// tail returns the last n bytes of s.
func tail(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}
