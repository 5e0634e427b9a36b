package main

import (
	"strings"
	"testing"
)

func TestAllocations(t *testing.T) {
	got, err := allocations(`goos: linux
pkg: kshell/internal/stream
BenchmarkOutput/v5-2         	   41804	     28684 ns/op	1142.43 MB/s	      24 B/op	       3 allocs/op
BenchmarkOutput/v5-2         	   41804	     28684 ns/op	1142.43 MB/s	       0 B/op	       2 allocs/op
BenchmarkKeys        	   41804	     28684 ns/op	       0 B/op	       1 allocs/op
PASS
`)
	if want := "stream.Keys 1\nstream.Output/v5 2\n"; err != nil || got.String() != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestGuard(t *testing.T) {
	stored, err := parseAllocs("stream.A 1\nstream.B 2\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := guard(allocs{"stream.A": 1, "stream.B": 0}, stored); err != nil {
		t.Error(err)
	}
	for want, measured := range map[string]allocs{
		"stream.A makes 2 allocations": {"stream.A": 2},
		"stream.C is missing":          {"stream.C": 0},
	} {
		if err := guard(measured, stored); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestAllocsFile(t *testing.T) {
	stored, err := parseAllocs(allocsText)
	if err != nil || stored.String() != allocsText {
		t.Errorf("allocs.txt is not sorted, or has an error: %v", err)
	}
}
