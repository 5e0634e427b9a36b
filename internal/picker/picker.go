// Package picker shows a list on the terminal, and lets the user search it and
// choose a row.
//
// It does not know Kubernetes, flags or exit codes. It is the only package that
// may import a TUI library.
//
// Invariants:
//   - The list is written to stderr, or to the terminal itself if stderr is not
//     a terminal, never to stdout.
//   - When Choose returns, the terminal is restored, nothing reads from it, and
//     all goroutines have ended.
//   - No query is sent to the terminal: the shell that runs next would receive
//     a late answer as typed input.
package picker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strconv"
	"strings"

	"kshell/internal/cleanup"
	"kshell/internal/terminal"
)

// ErrCanceled means that the user closed the list without choosing a row.
var ErrCanceled = errors.New("nothing was chosen")

// ErrNoTerminal means that there is no terminal to show the list on.
var ErrNoTerminal = errors.New("the list needs a terminal, and stderr is not one")

// List is a table of which one row is chosen. All text must be printable.
type List struct {
	Title    string
	Header   []string
	Rows     [][]string // each has as many cells as Header; the first cell is the row's name
	Selected int        // index of the row that is selected at first
}

// Options are the terminal and how it is used.
type Options struct {
	In      io.Reader // a terminal
	Err     io.Writer
	Color   bool
	ASCII   bool              // the locale does not use UTF-8; see notice.ASCIIOnly
	Cleanup *cleanup.Registry // restores the terminal if the program ends early
}

// Choose shows the list and returns the index of the chosen row. The error is
// ErrCanceled if the user leaves the list, ErrNoTerminal, the cause of ctx, or
// an error of the terminal. If TERM is dumb or not set, the list is printed,
// and the user types a number.
func Choose(ctx context.Context, list List, o Options) (int, error) {
	input, err := terminal.NewInput(o.In)
	if err != nil {
		return 0, fmt.Errorf("stdin: %w", err)
	}
	defer input.Cancel()
	out, closeOut, err := output(o.Err)
	if err != nil {
		return 0, err
	}
	defer closeOut()
	if isDumb() {
		stop := context.AfterFunc(ctx, func() { input.Cancel() })
		defer stop()
		return list.chooseNumber(ctx, input, out)
	}
	return list.chooseOnScreen(ctx, o, input, out)
}

// isDumb reports whether the terminal cannot move the cursor.
func isDumb() bool {
	kind := os.Getenv("TERM")
	return kind == "dumb" || kind == "" && runtime.GOOS != "windows"
}

// maxColumns bounds the width of a printed list.
const maxColumns = 2000

// chooseNumber prints the list and reads the number of a row from a line of
// input.
func (l List) chooseNumber(ctx context.Context, in io.Reader, out io.Writer) (int, error) {
	header, rows := l.format(maxColumns, "")
	var b strings.Builder
	fmt.Fprintf(&b, "kshell: %s\n     %s\n", l.Title, header)
	for i, row := range rows {
		fmt.Fprintf(&b, "%3d) %s\n", i+1, row)
	}
	if _, err := io.WriteString(out, b.String()); err != nil {
		return 0, err
	}
	for lines := bufio.NewReader(in); ; {
		if _, err := fmt.Fprintf(out, "number (1 to %d, or Enter to cancel): ", len(rows)); err != nil {
			return 0, err
		}
		line, err := lines.ReadString('\n')
		line = strings.TrimSpace(line)
		switch n, invalid := strconv.Atoi(line); {
		case ctx.Err() != nil:
			return 0, context.Cause(ctx)
		case err != nil && !errors.Is(err, io.EOF):
			return 0, fmt.Errorf("stdin: %w", err)
		case line == "":
			return 0, ErrCanceled
		case invalid == nil && n >= 1 && n <= len(rows):
			return n - 1, nil
		case err != nil:
			return 0, ErrCanceled
		}
		if _, err := fmt.Fprintf(out, "kshell: %q is not a number from 1 to %d\n", line, len(rows)); err != nil {
			return 0, err
		}
	}
}
