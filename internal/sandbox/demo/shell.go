package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/term"
)

// hangUpTimeout is how long a shell may take to exit after a hangup.
const hangUpTimeout = 2 * time.Second

// shell is the local interactive shell of the demo.
type shell struct {
	path string
	args []string
	env  []string
}

// newShell returns bash, or sh if there is no bash.
func newShell(s *stage, width int) (*shell, error) {
	rc := filepath.Join(s.dir, "rc")
	text := fmt.Sprintf(startup, s.exportLine(), quote(wrap(suspended, width)), quote(wrap(back, width)),
		quote(wrap(more, width)))
	if err := os.WriteFile(rc, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if bash, err := exec.LookPath("bash"); err == nil {
		return &shell{path: bash, args: []string{"--noprofile", "--rcfile", rc, "-i"}, env: s.environ()}, nil
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		return nil, fmt.Errorf("cannot find bash or sh: %w", err)
	}
	return &shell{path: sh, args: []string{"-i"}, env: append(s.environ(), "ENV="+rc)}, nil
}

// run runs the shell until the shell exits or the context ends, and restores
// the terminal. It ignores the exit code of the shell.
func (sh *shell) run(ctx context.Context, tty *os.File) error {
	state, err := term.GetState(int(tty.Fd()))
	if err != nil {
		return err
	}
	defer func() {
		takeBack(tty)
		_ = term.Restore(int(tty.Fd()), state) // the terminal may be gone
	}()
	cmd := exec.CommandContext(ctx, sh.path, sh.args...)
	cmd.Env = sh.env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return hangUp(tty, cmd.Process) }
	cmd.WaitDelay = hangUpTimeout
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) || ctx.Err() != nil {
		return nil
	}
	return err
}
