package contract

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// enoughForks is the number of further processes that suffices to run each
// command of AtProcessLimits.
const enoughForks = 8

// unknownOutcome matches the whole of stderr when the outcome of a command is
// unknown: kshell's messages, and before them the error message of the
// command's own shell if that shell could not fork either. The shell writes its
// message in several parts, and may be killed between them.
var unknownOutcome = regexp.MustCompile(
	`^(sh: ([0-9]+: )?((can't|Cannot) fork[^\n]*\n?)?)?kshell: [^\n]{20,}\n(hint: [^\n]+\n)?$`,
)

// runtimeFailed is the beginning of kshell's message if the container runtime
// itself, which needs threads, could not start a process.
const runtimeFailed = "the server reported a failure: "

// uploads returns commands that must not mistake a part of their input for all
// of it. If forks is so small that no command can be started, uploads returns
// only one command.
func uploads(forks int) []string {
	scripts := []string{"cat >up.part && mv up.part up", "trap 'exit 1' TERM; cat >up.part; mv up.part up"}
	if forks < 4 {
		return scripts[:1]
	}
	return scripts
}

// AtProcessLimits runs commands in a container in which no further process can
// be started, then with a limit of one further process, and so on up to
// enoughForks. Each command must either succeed or end with exit code 255 and a
// message. It must never end with a code that the command did not return, and
// never treat a part of its input as all of it.
//
// The function limit waits until no process of an exec is left in the pod, and
// sets how many processes the next exec can start besides the first one. The
// pod must have sh, cat, wc, mv and rm.
func AtProcessLimits(t *testing.T, p Program, pod string, limit func(forks int)) {
	// The lines are short and many: a process for each line would take minutes.
	in := bytes.Repeat([]byte("a\nb\nc\nd\ne\nf\ng\nh\n"), 20_000)
	for _, forks := range []int{0, 1, 2, 3, 4, 5, 6, enoughForks} {
		check := func(name string, ok bool, r Result) {
			t.Helper()
			refused := r.Code == 255 && unknownOutcome.MatchString(r.Err) && forks < enoughForks
			if !ok && !refused {
				t.Errorf("%d forks: %s: exit code %d, stdout %.100q (%d bytes), stderr %.500q", forks, name, r.Code, r.Out,
					len(r.Out), r.Err)
			}
			t.Logf("%d forks: %s: %d %s", forks, name, r.Code, r.Err)
		}
		limit(forks)
		r := p.Run(t, nil, "exec", pod, "--", "sh", "-c", "echo ran; exit 7")
		check("a command", r.Code == 7 && r.Out == "ran\n", r)
		if forks == 0 && r.Code != 7 && !strings.Contains(r.Err, runtimeFailed) {
			t.Errorf("the command was not run without the script: exit code %d, stderr %q", r.Code, r.Err)
		}
		limit(forks)
		r = p.Run(t, []byte("hello\n"), "exec", "-i", pod, "--", "cat")
		check("input", r.Code == 0 && r.Out == "hello\n", r)
		limit(forks)
		r = p.Run(t, in, "exec", "-i", "--exact=always", pod, "--", "cat")
		check("much input", r.Code == 0 && r.Out == string(in), r)
		for _, script := range uploads(forks) {
			limit(forks)
			r = p.Run(t, in, "exec", "-i", "--exact=always", pod, "--", "sh", "-c", script)
			limit(100)
			size := p.Run(t, nil, "exec", pod, "--", "sh", "-c", "if [ -e up ]; then cat up | wc -c; fi; rm -f up up.part")
			whole := fmt.Sprintln(len(in))
			own := r.Code != 0 && r.Code != 255 && size.Out == "" // the command's own fork has failed
			check(script, r.Code == 0 && size.Out == whole || own, r)
			if size.Code != 0 || size.Out != "" && size.Out != whole {
				t.Errorf("%d forks: %s: of %d bytes these were committed: %q (%d, %q)", forks, script, len(in), size.Out,
					size.Code, size.Err)
			}
		}
	}
}
