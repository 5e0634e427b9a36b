package notice

import "testing"

func TestColorAllowed_NoColorVariable(t *testing.T) {
	t.Setenv("TERM", "xterm")
	t.Setenv("NO_COLOR", "1")
	if ColorAllowed() {
		t.Error("colors are allowed although NO_COLOR is set")
	}
}
