package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"kshell/internal/terminal"
)

// confirm prints a question on stderr and reads a line from stdin. Both must be
// terminals. yes is true only if the line is y or yes, in any case. If ctx is
// canceled, for example by Ctrl-C, confirm returns the cause.
func (a *app) confirm(ctx context.Context, question string) (yes bool, err error) {
	input, err := terminal.NewInput(a.In)
	if err != nil {
		return false, fmt.Errorf("stdin: %w", err)
	}
	defer input.Cancel()
	defer context.AfterFunc(ctx, func() { input.Cancel() })()
	a.notice.Ask(question + " [y/N]")
	line, err := bufio.NewReader(input).ReadString('\n')
	if err != nil { // without Enter, the cursor is still on the line of the question
		_, _ = io.WriteString(a.Err, "\n")
	}
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case err != nil && !errors.Is(err, io.EOF):
		return false, fmt.Errorf("stdin: %w", err)
	}
	return slices.Contains([]string{"y", "yes"}, strings.ToLower(strings.TrimSpace(line))), nil
}
