package main

import (
	"fmt"
	"unicode/utf8"

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

// table is the ends in columns, behind a line that says what they are.
func table(ends []ended) []string {
	widest := len("POD")
	for _, end := range ends {
		widest = max(widest, utf8.RuneCountInString(end.title))
	}
	rows := []string{fmt.Sprintf("%-*s  EXIT CODE  CAUSE", widest, "POD")}
	for _, end := range ends {
		rows = append(rows, fmt.Sprintf("%-*s  %9d  %s", widest, end.title, end.ExitCode, end.Cause))
	}
	return rows
}
