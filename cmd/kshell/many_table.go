package main

import (
	"fmt"

	"kshell/internal/notice"
	"kshell/internal/outcome"
)

// ended is how a pod's command ended.
type ended struct {
	outcome.Outcome
	title string
}

func newEnded(title string, err error) ended {
	return ended{outcome.ClassifyPod(err), title}
}

// table returns the lines of the table of results.
func table(ends []ended) []string {
	const code = "EXIT CODE"
	rows := [][]string{{"POD", code, "CAUSE"}}
	for _, end := range ends {
		rows = append(rows, []string{end.title, fmt.Sprintf("%*d", len(code), end.ExitCode), string(end.Cause)})
	}
	return notice.Table(2, rows)
}
