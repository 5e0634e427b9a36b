package contract

import (
	"bytes"
	"slices"
	"testing"

	"kshell/internal/sandbox"
)

// kshell stops reading a status after 4 MiB, and reports that the status is too
// large.
func TestBounds_HugeStatus(t *testing.T) {
	t.Parallel()
	kshell := kshellBinary(t)
	for by, flags := range transports {
		t.Run(by, func(t *testing.T) {
			t.Parallel()
			p, _ := startWithFault(t, kshell, sandbox.Fault{ErrorChannel: bytes.Repeat([]byte("{"), 5<<20)})
			r := p.Run(t, nil, slices.Concat([]string{"exec", "--exact=never"}, flags, []string{"web", "--", "echo", "hi"})...)
			want := "kshell: the server reported a failure: its status is larger than 4 MiB\n"
			if by == "SPDY" { // the sandbox sends the status in one frame, so the frame is too large
				want = "kshell: the connection broke before the command ended, so its result is unknown; it may still be running " +
					"(connection lost: the server's SPDY frame is larger than 4 MiB)\n" +
					"hint: `kshell exec web --context create-only -- ps` lists the processes of the container\n"
			}
			if r.Code != 255 || r.Err != want || by != "SPDY" && r.Out != "hi\n" {
				t.Errorf("exit code %d, stdout %q, stderr %.500q", r.Code, r.Out, r.Err)
			}
		})
	}
}
