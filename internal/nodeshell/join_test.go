package nodeshell

import (
	"testing"
	"time"

	"kshell/internal/node"
)

func TestDescribeGap(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	for want, gap := range map[string]node.Gap{
		"earlier output may be missing":                                         {},
		"output from 03:04:05 to 03:04:17 (12 s) may be missing here":           {From: at, To: at.Add(12 * time.Second)},
		"earlier output may be missing; at least 2 lines (9 bytes) are missing": {Bytes: 9, Lines: 2},
	} {
		if got := describeGap(gap); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
