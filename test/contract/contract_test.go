package contract

import (
	"os"
	"slices"
	"testing"
	"time"
)

// TestResult_ProgressNotes checks that newResult separates the notes about a
// slow server from the other text in stderr.
func TestResult_ProgressNotes(t *testing.T) {
	t.Parallel()
	const (
		server  = "kshell: waiting for the API server at 127.0.0.1:26392 (press Ctrl-C to cancel)\n"
		node    = "kshell: waiting for node n1 to start the command (up to 35s, press Ctrl-C to cancel)\n"
		upload  = "kshell: uploading the session agent (press Ctrl-C to cancel)\n"
		command = "waiting for the database (press Ctrl-C to cancel)\n"
		lost    = "kshell: the connection broke before the command ended\n"
	)
	r := newResult("", server+command+node+upload+lost, &os.ProcessState{}, time.Now())
	if want := command + lost; r.Err != want {
		t.Errorf("Err is %q, want %q", r.Err, want)
	}
	if want := []string{server, node, upload}; !slices.Equal(r.Progress, want) {
		t.Errorf("Progress is %q, want %q", r.Progress, want)
	}
}
