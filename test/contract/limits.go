package contract

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// enoughForks is how many processes every command of AtProcessLimits can be
// run with.
const enoughForks = 8

// sentenceOf255 is what kshell prints where it cannot tell how a command ended.
var sentenceOf255 = regexp.MustCompile(`^(kshell: waiting for [^\n]+\n)?kshell: [^\n]{20,}\n(hint: [^\n]+\n)?$`)

// runtimeFailed is in kshell's message where the container runtime itself could
// not start anything: it needs threads for that.
const runtimeFailed = "the server reported a failure: "

// uploads are commands that must not take a part of their input for all of it;
// one where none of them can be started.
func uploads(forks int) []string {
	scripts := []string{"cat >up.part && mv up.part up", "trap 'exit 1' TERM; cat >up.part; mv up.part up"}
	if forks < 4 {
		return scripts[:1]
	}
	return scripts
}

// AtProcessLimits runs commands in a container that has room for no further
// process, for one, and so on up to more than enough. Each has its right
// result, or ends with 255 and a sentence: never with a code that the command
// did not return, and never with a part of its input taken for all of it.
//
// limit waits until no process of an exec is left in the pod, and sets how many
// can be started there beside the first one of the next exec. The pod has to have
// sh, cat, wc, mv and rm.
func AtProcessLimits(t *testing.T, p Program, pod string, limit func(forks int)) {
	in := bytes.Repeat([]byte("0123456789abcde\n"), 20_000)
	for _, forks := range []int{0, 1, 2, 3, 4, 5, 6, enoughForks} {
		check := func(name string, ok bool, r Result) {
			t.Helper()
			refused := r.Code == 255 && sentenceOf255.MatchString(r.Err) && forks < enoughForks
			if !ok && !refused {
				t.Errorf("%d forks: %s: exit code %d, stdout %.100q (%d bytes), stderr %.500q", forks, name, r.Code, r.Out, len(r.Out), r.Err)
			}
			t.Logf("%d forks: %s: %d %s", forks, name, r.Code, r.Err)
		}
		limit(forks)
		r := p.Run(t, nil, "exec", pod, "--", "sh", "-c", "echo ran; exit 7")
		check("a command", r.Code == 7 && r.Out == "ran\n", r)
		if forks == 0 && r.Code != 7 && !strings.Contains(r.Err, runtimeFailed) {
			t.Errorf("nothing has run, and it was not run the plain way: exit code %d, stderr %q", r.Code, r.Err)
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
				t.Errorf("%d forks: %s: of %d bytes these were committed: %q (%d, %q)", forks, script, len(in), size.Out, size.Code, size.Err)
			}
		}
	}
}
