package main

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"kshell/internal/pod"
)

// ended is how a pod's command ended.
type ended struct {
	title string
	code  int
	cause string // as in status, and not-running
}

func newEnded(title string, err error) ended {
	end := ended{title, exitCode(err), cause(err)}
	var idle *pod.NotRunningError
	if errors.As(err, &idle) {
		end.cause = "not-running"
	}
	return end
}

// table is the ends in columns, behind a line that says what they are.
func table(ends []ended) []string {
	widest := len("POD")
	for _, end := range ends {
		widest = max(widest, utf8.RuneCountInString(end.title))
	}
	rows := []string{fmt.Sprintf("%-*s  EXIT CODE  CAUSE", widest, "POD")}
	for _, end := range ends {
		rows = append(rows, fmt.Sprintf("%-*s  %9d  %s", widest, end.title, end.code, end.cause))
	}
	return rows
}
