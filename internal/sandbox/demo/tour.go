//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/term"
)

// tour shows kshell in a few steps. It runs the real kshell on a pty, and shows
// its output on the user's terminal.
type tour struct {
	*stage
	guide
	shell *program // the shell of steps 3 to 6; nil before step 3
}

// step is a part of the tour.
type step struct {
	text string                             // printed before do is called
	do   func(*tour, context.Context) error // may be nil
}

// steps returns the steps of the tour. The step with --resume needs Linux, because
// the session agent is a program for Linux.
func steps() []step {
	all := []step{{introOfTour, nil}, {oneShot, (*tour).oneShot}, {fanOut, (*tour).fanOut}}
	if runtime.GOOS == "linux" {
		all = append(all, step{openShell, (*tour).openShell}, step{plug, (*tour).pullPlug})
	} else {
		all = append(all, step{plainShell, (*tour).openPlainShell})
	}
	return append(all, step{listKeys, (*tour).listKeys}, step{leave, (*tour).leave})
}

// runTour shows all steps. The error is errLeft if the user pressed Ctrl-C.
func runTour(ctx context.Context, s *stage, o options, stdin, stdout *os.File) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	t := &tour{stage: s, guide: newGuide(o, stdout)}
	if term.IsTerminal(int(stdin.Fd())) {
		stop, err := t.readKeys(stdin, func() { cancel(errLeft) })
		if err != nil {
			return err
		}
		defer stop()
	}
	err := t.run(ctx)
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	if err != nil {
		t.write("\r\n")
	}
	return err
}

func (t *tour) run(ctx context.Context) error {
	defer func() {
		if t.shell != nil {
			t.shell.end()
		}
	}()
	for _, s := range steps() {
		if err := t.explain(ctx, s.text); err != nil {
			return err
		}
		if s.do == nil {
			continue
		}
		if err := s.do(t, ctx); err != nil {
			return err
		}
	}
	t.print(theEnd)
	return nil
}

// command runs a command line of the local shell, and shows it first.
func (t *tour) command(ctx context.Context, line string) error {
	t.typeLine(ctx, line)
	p, err := t.start(ctx, t.stage, line)
	if err != nil {
		return err
	}
	defer p.end()
	return p.waitEnd(ctx)
}

func (t *tour) oneShot(ctx context.Context) error {
	return t.command(ctx, `kshell exec web -- sh -c 'echo "hello from $HOSTNAME"; exit 3'; echo "exit code: $?"`)
}

func (t *tour) fanOut(ctx context.Context) error {
	return t.command(ctx, `kshell exec deploy/web --all -- sh -c 'echo "hello from $HOSTNAME"'`)
}

// prompt matches the end of the output of a shell that shows its prompt.
const prompt = `[$#] (\x1b\[[0-9;?]*[a-zA-Z])*$`

func (t *tour) openShell(ctx context.Context) error {
	err := t.open(ctx, "kshell exec --resume web")
	if err == nil && t.shell.hasWritten("--resume is not possible") {
		err = errors.New("kshell cannot use --resume here; make tour builds a kshell that contains the session agents")
	}
	return err
}

func (t *tour) openPlainShell(ctx context.Context) error { return t.open(ctx, "kshell exec web") }

// open starts the shell of the next steps, and sets a variable in it.
func (t *tour) open(ctx context.Context, line string) (err error) {
	t.typeLine(ctx, line)
	if t.shell, err = t.start(ctx, t.stage, line); err != nil {
		return err
	}
	return firstError(
		t.shell.waitFor(ctx, prompt),
		func() error { return t.shell.enter(ctx, "color=blue") },
		func() error { return t.shell.waitFor(ctx, prompt) },
	)
}

// firstError returns err if it is not nil. Otherwise, it calls the functions until one
// of them returns an error, and returns that error.
func firstError(err error, then ...func() error) error {
	for _, f := range then {
		if err != nil {
			return err
		}
		err = f()
	}
	return err
}

// pullPlug starts a command that counts in the shell. It then makes the server reset
// all connections and refuse new ones, until kshell has shown its countdown twice.
func (t *tour) pullPlug(ctx context.Context) error {
	p := t.shell
	if err := firstError(
		p.newPrompt(ctx),
		func() error { return p.enter(ctx, `i=0; while sleep 1; do i=$((i+1)); echo $i; done`) },
		func() error { return p.waitFor(ctx, `\n2\r`) },
	); err != nil {
		return err
	}
	restore := sync.OnceFunc(t.server.Down())
	defer restore()
	for range 2 {
		if err := p.waitFor(ctx, `trying again in`); err != nil {
			return err
		}
	}
	restore()
	return firstError(
		p.waitFor(ctx, `the same shell`),
		func() error { return p.waitFor(ctx, `\n[0-9]+\r`) },
		func() error { return p.press(ctx, "\x03") },
		func() error { return p.waitFor(ctx, prompt) },
		func() error { return p.enter(ctx, `echo "color=$color"`) },
		func() error { return p.waitFor(ctx, `color=blue\r`) },
		func() error { return p.waitFor(ctx, prompt) },
	)
}

// listKeys types ~? at the beginning of a line.
func (t *tour) listKeys(ctx context.Context) error {
	return firstError(
		t.shell.newPrompt(ctx),
		func() error { return t.shell.press(ctx, "~?") },
		func() error { return t.shell.waitFor(ctx, `the character itself\r\n`) },
	)
}

// leave types ~. at the beginning of a line.
func (t *tour) leave(ctx context.Context) error {
	return firstError(
		t.shell.newPrompt(ctx),
		func() error { return t.shell.press(ctx, "~.") },
		func() error { return t.shell.waitEnd(ctx) },
	)
}

// guide writes the texts of the tour to the terminal, and waits for the user.
type guide struct {
	options
	stdout *os.File
	color  bool
	erase  string        // erases a line of the terminal
	keys   chan struct{} // receives a value when the user presses Enter

	mu  *sync.Mutex // held during a write to out
	out io.Writer
}

func newGuide(o options, stdout *os.File) guide {
	kind := os.Getenv("TERM")
	dumb := kind == "dumb" || kind == "" || !term.IsTerminal(int(stdout.Fd()))
	g := guide{
		options: o, stdout: stdout, out: stdout, mu: &sync.Mutex{}, keys: make(chan struct{}, 1),
		color: os.Getenv("NO_COLOR") == "" && !dumb, erase: "\r\x1b[K",
	}
	if dumb {
		g.erase = "\r\n"
	}
	return g
}

// write writes to the terminal, which is in raw mode. An error is ignored: the
// terminal may be gone, and then a signal ends the tour.
func (g *guide) write(text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, _ = io.WriteString(g.out, text)
}

// print prints a text in lines that begin with #.
func (g *guide) print(text string) {
	before, after := "", ""
	if g.color {
		before, after = "\x1b[36m", "\x1b[m"
	}
	g.write(g.erase + "\r\n")
	for _, line := range lines(wrap(text, min(columns(g.stdout), 100)-len("# ")-1)) {
		g.write(before + "# " + line + after + "\r\n")
	}
}

// explain prints a text and waits for Enter.
func (g *guide) explain(ctx context.Context, text string) error {
	g.print(text)
	if g.auto {
		return sleep(ctx, g.pause)
	}
	select {
	case <-g.keys: // pressed before the text was shown
	default:
	}
	g.write("[Enter]")
	select {
	case <-g.keys:
		g.write(g.erase)
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// typeLine shows a command line of the local shell as if it was typed.
func (g *guide) typeLine(ctx context.Context, line string) {
	g.write("$ ")
	for _, r := range line {
		if sleep(ctx, g.keyDelay()) != nil {
			return
		}
		g.write(string(r))
	}
	g.write("\r\n")
}

// keyDelay returns the time between two keys that the tour types: with --pause, it
// is long enough for a reader to follow.
func (g *guide) keyDelay() time.Duration { return min(g.pause/50, 40*time.Millisecond) }

// sleep waits for d, or until ctx is canceled.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("the tour ends: %w", context.Cause(ctx))
	}
}
