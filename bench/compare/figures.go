//go:build linux

package main

import (
	"fmt"
	"slices"
	"time"
)

// series are the values of one quantity, one for each run. The values of two
// series with the same index were measured one after the other.
type series []float64

func (s series) quantile(q float64) float64 {
	if len(s) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(s))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func (s series) median() float64 { return s.quantile(0.5) }

// unit formats a value.
type unit func(float64) string

func milliseconds(v float64) string {
	switch {
	case v >= 10_000:
		return fmt.Sprintf("%.1f s", v/1000)
	case v >= 1000:
		return fmt.Sprintf("%.2f s", v/1000)
	case v >= 100:
		return fmt.Sprintf("%.0f ms", v)
	case v >= 10:
		return fmt.Sprintf("%.1f ms", v)
	}
	return fmt.Sprintf("%.2f ms", v)
}

func mebibytes(v float64) string { return fmt.Sprintf("%.1f MiB", v) }

func inMilliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// figure is a line of the table: the values of kshell, and of what kshell is
// compared with.
type figure struct {
	key      string  // identifies the figure in reasons.txt
	work     string  // the first column
	unit     unit    // formats the values
	quantile float64 // 0: the median of the runs, and the median of the ratios of the pairs
	other    series  // kubectl, or another mode of kshell
	otherIs  string  // the name of other; "": kubectl
	kshell   series
	bare     series  // the bare client; may be empty
	runs     int     // the number of runs
	limit    float64 // the largest ratio that is required; 0: none
}

// value returns the value of a series that the table shows.
func (f figure) value(s series) float64 {
	if f.quantile > 0 {
		return s.quantile(f.quantile)
	}
	return s.median()
}

// ratio returns the ratio of a to b.
func (f figure) ratio(a, b series) float64 {
	if f.quantile > 0 {
		return f.value(a) / f.value(b)
	}
	var ratios series
	for i := range min(len(a), len(b)) {
		ratios = append(ratios, a[i]/b[i])
	}
	return ratios.median()
}

// round rounds a ratio to the two digits that the table shows.
func round(ratio float64) float64 { return float64(int(ratio*100+0.5)) / 100 }

// met reports whether the ratio that the table shows is at most the limit.
func (f figure) met() bool { return f.limit == 0 || round(f.ratio(f.kshell, f.other)) <= f.limit }
