package agentbin

import "testing"

// TestGzipped checks that there is an agent for each architecture if there is a
// build ID, and none for other architectures.
func TestGzipped(t *testing.T) {
	if Gzipped("no-such") != nil {
		t.Error("there is an agent for an unknown architecture")
	}
	for _, goarch := range Architectures {
		if (Gzipped(goarch) == nil) != (BuildID() == "") {
			t.Errorf("the build ID is %q, and the agent for %s has %d bytes", BuildID(), goarch, len(Gzipped(goarch)))
		}
	}
}
