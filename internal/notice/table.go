package notice

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
)

// narrow is the width of a terminal, in columns, below which a table that does not
// fit is printed as lists.
const narrow = 40

// TableIn returns the lines of Table for a terminal of the given number of columns; 0
// means no terminal, or an unknown width. The first row is the header. If the terminal
// has fewer than 40 columns and the table is wider than the terminal, each row becomes
// several lines "HEADER: cell", with an empty line between two rows.
func TableIn(columns, gap int, rows [][]string) []string {
	table := Table(gap, rows)
	fits := func(line string) bool { return cells(line) <= columns }
	if columns == 0 || columns >= narrow || !slices.ContainsFunc(table, func(line string) bool { return !fits(line) }) {
		return table
	}
	var lines []string
	for i, row := range rows[1:] {
		if i > 0 {
			lines = append(lines, "")
		}
		for j, cell := range row {
			lines = append(lines, Clean(rows[0][j])+": "+Clean(cell))
		}
	}
	return lines
}

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
