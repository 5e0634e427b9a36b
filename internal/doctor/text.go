package doctor

import (
	"fmt"
	"strings"

	"kshell/internal/notice"
)

// The widths of the first two columns of a line.
const (
	statusWidth = 8
	idWidth     = 18
)

// Text formats results for users.
type Text struct {
	// Color reports whether to print each status in color.
	Color bool

	group string // of the last result
	count map[Status]int
}

// Format returns the lines for a result, each with a line feed. Before the first
// result of a group, there is a line with the name of the group.
func (t *Text) Format(r Result) string {
	var b strings.Builder
	if t.count == nil {
		t.count = map[Status]int{}
	}
	t.count[r.Status]++
	if r.Group != t.group {
		if t.group != "" {
			b.WriteByte('\n')
		}
		t.group = r.Group
		fmt.Fprintf(&b, "%s\n", r.Group)
	}
	status := fmt.Sprintf("%-*s", statusWidth, r.Status)
	if t.Color {
		status = notice.Color(statusColors[r.Status], status)
	}
	fmt.Fprintf(&b, "  %s %-*s %s%s\n", status, idWidth, r.ID, r.Message, duration(r))
	indent := strings.Repeat(" ", 2+statusWidth+1)
	for _, detail := range r.Details {
		fmt.Fprintf(&b, "%s%s\n", indent, detail)
	}
	for hint := range strings.Lines(r.Hint) {
		fmt.Fprintf(&b, "%shint: %s\n", indent, strings.TrimSuffix(hint, "\n"))
	}
	return b.String()
}

// statusColors contains the first argument of notice.Color for each status.
var statusColors = map[Status]int{OK: 2, Warning: 1, Failed: 5, Skipped: 0}

// duration returns the duration of a check that has made requests, with a space
// before it, or "".
func duration(r Result) string {
	if r.Group == configuration || r.Status == Skipped || r.Milliseconds < 0.05 {
		return ""
	}
	switch ms := r.Milliseconds; {
	case ms < 10:
		return fmt.Sprintf(" (%.1f ms)", ms)
	case ms < 1000:
		return fmt.Sprintf(" (%.0f ms)", ms)
	default:
		return fmt.Sprintf(" (%.1f s)", ms/1000)
	}
}

// Summary returns an empty line, and a line with the number of results of each
// status.
func (t *Text) Summary() string {
	sum := 0
	var parts []string
	for _, s := range []Status{OK, Warning, Failed, Skipped} {
		if n := t.count[s]; n > 0 {
			sum += n
			parts = append(parts, fmt.Sprintf("%d %s", n, s))
		}
	}
	return fmt.Sprintf("\n%d checks: %s\n", sum, strings.Join(parts, ", "))
}
