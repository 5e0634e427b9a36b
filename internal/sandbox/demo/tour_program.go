//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"sync"
	"syscall"
	"time"

	"github.com/creack/pty"
)

// stepTimeout is how long the tour waits for an expected output.
const stepTimeout = time.Minute

// program is a command line that runs on a pty. Its output is shown on the user's terminal.
type program struct {
	guide *guide
	cmd   *exec.Cmd
	tty   *os.File
	ended chan struct{} // closed at the end of the output
	quit  chan struct{} // closed by end
	tasks sync.WaitGroup

	mu      sync.Mutex
	text    []byte
	seen    int           // the length of the text up to the end of the last match
	changed chan struct{} // receives after new output; 1 slot
}

// start runs a command line with sh, on a pty of the same size as the user's terminal.
// The caller must call end.
func (g *guide) start(ctx context.Context, s *stage, line string) (*program, error) {
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Env = s.environ()
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGHUP) }
	cmd.WaitDelay = hangUpTimeout
	tty, err := pty.StartWithSize(cmd, g.size())
	if err != nil {
		return nil, fmt.Errorf("cannot run %s: %w", line, err)
	}
	p := &program{
		guide: g, cmd: cmd, tty: tty,
		ended: make(chan struct{}), quit: make(chan struct{}), changed: make(chan struct{}, 1),
	}
	p.tasks.Go(p.read)
	p.tasks.Go(p.followSize)
	return p, nil
}

// size returns the size of the user's terminal, or 24 lines of 80 columns.
func (g *guide) size() *pty.Winsize {
	size, err := pty.GetsizeFull(g.stdout)
	if err != nil || size.Cols == 0 || size.Rows == 0 {
		return &pty.Winsize{Rows: 24, Cols: 80}
	}
	return size
}

// read shows the output until its end.
func (p *program) read() {
	defer close(p.ended)
	buf := make([]byte, 4096)
	for {
		n, err := p.tty.Read(buf)
		p.guide.write(string(buf[:n]))
		p.mu.Lock()
		p.text = append(p.text, buf[:n]...)
		p.mu.Unlock()
		select {
		case p.changed <- struct{}{}:
		default:
		}
		if err != nil { // EIO: all programs on the terminal have exited
			return
		}
	}
}

// followSize sets the size of the pty when the size of the user's terminal changes,
// until end is called.
func (p *program) followSize() {
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, syscall.SIGWINCH)
	defer signal.Stop(resized)
	for {
		select {
		case <-resized:
			_ = pty.Setsize(p.tty, p.guide.size()) // fails if the terminal is gone
		case <-p.quit:
			return
		}
	}
}

// end sends SIGHUP to the program, and SIGKILL if it does not exit in time. It waits
// until the program has exited, and closes the pty.
func (p *program) end() {
	select {
	case <-p.quit:
		return
	default:
	}
	close(p.quit)
	_ = p.cmd.Process.Signal(syscall.SIGHUP) // fails if it has exited
	kill := time.AfterFunc(hangUpTimeout, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	_ = p.cmd.Wait() // fails if waitEnd has waited
	_ = p.tty.Close()
	p.tasks.Wait()
}

// waitFor waits until the output after the previous match matches the expression.
func (p *program) waitFor(ctx context.Context, expression string) error {
	wanted := regexp.MustCompile(expression)
	late := time.NewTimer(stepTimeout)
	defer late.Stop()
	for {
		ended := p.hasEnded()
		p.mu.Lock()
		at := wanted.FindIndex(p.text[p.seen:])
		if at != nil {
			p.seen += at[1]
		}
		p.mu.Unlock()
		switch {
		case at != nil:
			return nil
		case ended:
			return errors.New("kshell has ended before the end of the step")
		}
		select {
		case <-p.changed:
		case <-p.ended:
		case <-late.C:
			return fmt.Errorf("the expected output did not appear within %v", stepTimeout)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// hasWritten reports whether the output contains a text.
func (p *program) hasWritten(text string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return bytes.Contains(p.text, []byte(text))
}

func (p *program) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// waitEnd waits for the end of the program.
func (p *program) waitEnd(ctx context.Context) error {
	select {
	case <-p.ended:
		return nil
	case <-time.After(stepTimeout):
		return fmt.Errorf("kshell has not ended within %v", stepTimeout)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// press types keys at once.
func (p *program) press(ctx context.Context, keys string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	_, err := p.tty.WriteString(keys)
	return err
}

// enter types a line and Enter.
func (p *program) enter(ctx context.Context, line string) error {
	for _, key := range line + "\r" {
		if err := sleep(ctx, p.guide.keyDelay()); err != nil {
			return err
		}
		if err := p.press(ctx, string(key)); err != nil {
			return err
		}
	}
	return nil
}

// newPrompt makes the shell print another prompt: a text of the tour follows the
// previous one.
func (p *program) newPrompt(ctx context.Context) error {
	if err := p.press(ctx, "\r"); err != nil {
		return err
	}
	return p.waitFor(ctx, `\n[^\n]*`+prompt)
}
