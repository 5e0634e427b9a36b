package notice

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// Table returns rows as lines whose columns are aligned to the left, gap spaces
// apart. The lines do not end in a line feed. Cells are cleaned (see Clean),
// but leading spaces are kept, so that a caller can align numbers to the right.
func Table(gap int, rows [][]string) []string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 8, gap, ' ', 0)
	for _, row := range rows {
		cells := make([]string, len(row))
		for i, cell := range row {
			indent := len(cell) - len(strings.TrimLeft(cell, " "))
			cells[i] = cell[:indent] + Clean(cell)
		}
		_, _ = fmt.Fprintln(w, strings.Join(cells, "\t")) // a strings.Builder returns no error
	}
	_ = w.Flush()
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}
