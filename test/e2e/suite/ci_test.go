package suite

import (
	"flag"
	"testing"
)

var ci = flag.Bool("ci", false, "run only the tests that CI runs")

// inCI marks a test that CI runs: it is fast and does not damage the cluster.
// Every test of the suite begins with inCI or notInCI; test/contract checks
// that.
func inCI(*testing.T) {}

// notInCI marks a test that CI does not run: it damages the cluster or the
// network, or takes long.
func notInCI(t *testing.T) {
	t.Helper()
	if *ci {
		t.Skip("CI does not run it")
	}
}
