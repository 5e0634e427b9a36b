package notice

import "testing"

func TestColourAllowed_NoColorVariable(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	if ColourAllowed() {
		t.Error("colors are allowed although NO_COLOR is set")
	}
}
