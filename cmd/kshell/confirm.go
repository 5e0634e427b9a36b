package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"kshell/internal/notice"
	"kshell/internal/terminal"
)

// confirm prints a question on stderr and reads a line from stdin. Both must be
// terminals. yes is true only if the line is y or yes, in any case. If ctx is
// canceled, for example by Ctrl-C, confirm returns the cause.
func (a *app) confirm(ctx context.Context, question string) (yes bool, err error) {
	a.notice.Ask(question + " [y/N]")
	line, err := readAnswer(ctx, a.In, a.Err)
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return slices.Contains([]string{"y", "yes"}, strings.ToLower(line)), nil
}

// readAnswer reads a line from the terminal in, and returns it without leading and
// trailing space. out is the terminal that shows the question. The error is io.EOF after
// Ctrl-D, or the cause of ctx if ctx is canceled.
func readAnswer(ctx context.Context, in io.Reader, out io.Writer) (string, error) {
	input, err := terminal.NewInput(in)
	if err != nil {
		return "", fmt.Errorf("stdin: %w", err)
	}
	defer input.Cancel()
	defer context.AfterFunc(ctx, func() { input.Cancel() })()
	line, err := bufio.NewReader(input).ReadString('\n')
	if err != nil { // without Enter, the cursor is still on the line of the question
		_, _ = io.WriteString(out, "\n")
	}
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case err != nil && !errors.Is(err, io.EOF):
		return "", fmt.Errorf("stdin: %w", err)
	}
	return strings.TrimSpace(line), err
}

// dialog is the terminal of the user, for questions that must be answered there
// even if stdin or stderr is redirected.
type dialog struct {
	in     io.Reader
	out    io.Writer
	notice *notice.Printer // writes to out
	files  []*os.File      // the files that close closes
}

// errNoTerminal means that no terminal is available to ask the user.
var errNoTerminal = errors.New("there is no terminal")

// openDialog returns the terminal of the user. If only one of stdin and stderr
// is a terminal, the controlling terminal is used in place of the other. If
// neither is a terminal, or there is no controlling terminal, the error is
// errNoTerminal. The caller must call close.
func (a *app) openDialog() (*dialog, error) {
	in, out := terminal.IsTerminal(a.In), terminal.IsTerminal(a.Err)
	if in && out {
		return &dialog{in: a.In, out: a.Err, notice: a.notice}, nil
	}
	if !in && !out {
		return nil, errNoTerminal
	}
	keys, screen, err := terminal.OpenControlling()
	if err != nil {
		return nil, errNoTerminal
	}
	d := &dialog{in: keys, out: screen, notice: notice.New(screen), files: []*os.File{keys, screen}}
	if in {
		d.in = a.In
	}
	if out {
		d.out, d.notice = a.Err, a.notice
	}
	return d, nil
}

func (d *dialog) close() {
	for _, f := range d.files {
		_ = f.Close() // writes to a terminal are not buffered
	}
}

// ask prints a question, and returns the answer; see readAnswer.
func (d *dialog) ask(ctx context.Context, question string) (string, error) {
	d.notice.Ask(question)
	return readAnswer(ctx, d.in, d.out)
}
