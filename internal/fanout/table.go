package fanout

import (
	"fmt"

	"kshell/internal/notice"
	"kshell/internal/outcome"
)

// result is how the command of one target ended.
type result struct {
	outcome.Outcome
	Title string // of the target
}

func newResult(title string, err error) result {
	return result{Outcome: outcome.ClassifyPod(err), Title: title}
}

// summarize counts the failures. It returns nil if all commands succeeded.
func summarize(results []result) *outcome.FanoutError {
	sum := &outcome.FanoutError{Pods: len(results)}
	for _, r := range results {
		sum.ExitCode = max(sum.ExitCode, r.ExitCode)
		if r.ExitCode != 0 {
			sum.Failed++
		}
	}
	if sum.ExitCode == 0 {
		return nil
	}
	return sum
}

// table returns the lines of the table of results.
func table(results []result) []string {
	const code = "EXIT CODE"
	rows := [][]string{{"POD", code, "CAUSE"}}
	for _, r := range results {
		rows = append(rows, []string{r.Title, fmt.Sprintf("%*d", len(code), r.ExitCode), string(r.Cause)})
	}
	return notice.Table(2, rows)
}
