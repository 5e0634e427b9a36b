package contract

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Many checks kshell exec --all: one command in several pods. deploy/web has
// two pods.
func Many(t *testing.T, p Program) {
	all := func(t *testing.T, args ...string) Result {
		t.Helper()
		return p.Run(t, nil, append([]string{"exec", "deploy/web", "--all"}, args...)...)
	}
	t.Run("each line with its pod, each stream apart, the highest code", func(t *testing.T) {
		r := all(t, "--", "sh", "-c", "echo out; echo err >&2; printf end; exit 9")
		pods := podsOf(t, r.Out)
		if len(pods) != 2 || r.Code != 9 {
			t.Errorf("exit code %d, pods %v", r.Code, pods)
		}
		for pod, lines := range pods {
			if !slices.Equal(lines, []string{"out", "end"}) || !strings.Contains(r.Err, pod+": err\n") {
				t.Errorf("%s: %q; stderr %q", pod, lines, r.Err)
			}
			if row := "kshell: " + pod + "          9  exited\n"; !strings.Contains(r.Err, row) {
				t.Errorf("no row %q in %q", row, r.Err)
			}
		}
	})
	t.Run("a selector, and nothing said when all is well", func(t *testing.T) {
		r := p.Run(t, nil, "exec", "-l", "app=web", "--all", "--", "echo", "hi")
		if len(podsOf(t, r.Out)) != 2 || r.Code != 0 || r.Err != "" {
			t.Errorf("exit code %d, stdout %q, stderr %q", r.Code, r.Out, r.Err)
		}
	})
	t.Run("large outputs are whole, line by line", func(t *testing.T) {
		const last = 100_000
		r := all(t, "--", "seq", "1", strconv.Itoa(last))
		for pod, lines := range podsOf(t, r.Out) {
			for i, line := range lines {
				if line != strconv.Itoa(i+1) {
					t.Fatalf("line %d of %s is %q", i+1, pod, line)
				}
			}
			if len(lines) != last {
				t.Errorf("%s has %d lines", pod, len(lines))
			}
		}
	})
	t.Run("equal outputs once", func(t *testing.T) {
		r := all(t, "--fold", "--", "sh", "-c", "echo same; exit 3")
		head, rest, _ := strings.Cut(strings.TrimPrefix(r.Out, "----------------\n"), "\n")
		if strings.Count(head, "web-") != 2 || !strings.HasSuffix(head, " (exit code 3)") ||
			rest != "----------------\nsame\n" ||
			r.Code != 3 {
			t.Errorf("exit code %d: %q", r.Code, r.Out)
		}
	})
	t.Run("JSON", func(t *testing.T) {
		manyJSON(t, all(t, "-o", "json", "--", "sh", "-c", `echo a; printf '\377' >&2; exit 4`))
	})
	t.Run("the file is read anew for each pod", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "input")
		if err := os.WriteFile(file, []byte(strings.Repeat("0123456789abcde\n", 1<<16)), 0o600); err != nil {
			t.Fatal(err)
		}
		r := all(t, "--stdin-file", file, "--", "wc", "-c")
		for pod, lines := range podsOf(t, r.Out) {
			if len(lines) != 1 || strings.TrimSpace(lines[0]) != "1048576" {
				t.Errorf("%s: %q", pod, lines)
			}
		}
	})
	t.Run("no input for all at once", func(t *testing.T) {
		if r := p.Run(t, []byte("x"), "exec", "-i", "deploy/web", "--all", "--", "cat"); r.Code != 2 || r.Out != "" {
			t.Errorf("exit code %d, stdout %q", r.Code, r.Out)
		}
	})
	t.Run("a time for each", func(t *testing.T) {
		if r := all(t, "--timeout", "5s", "--", "sleep", "60"); r.Code != 124 || strings.Count(r.Err, "  timeout\n") != 2 {
			t.Errorf("exit code %d, stderr %q", r.Code, r.Err)
		}
	})
	t.Run("what has completed counts as failed", func(t *testing.T) {
		r := p.Run(t, nil, "exec", "job/once", "--all", "--", "true")
		if r.Code != 255 || !strings.Contains(r.Err, "has completed") || !strings.Contains(r.Err, "255  not-running\n") {
			t.Errorf("exit code %d, stderr %q", r.Code, r.Err)
		}
	})
	t.Run("no pod is an error", func(t *testing.T) {
		if r := p.Run(t, nil, "exec", "-l", "no=such", "--all", "--", "true"); r.Code != 255 ||
			!strings.Contains(r.Err, "no pod") {
			t.Errorf("exit code %d, stderr %q", r.Code, r.Err)
		}
	})
	t.Run("a selector alone", func(t *testing.T) {
		if r := p.Run(t, nil, "exec", "-l", "app=web", "--", "true"); r.Code != 2 ||
			!strings.Contains(r.Err, "hint: add --all") {
			t.Errorf("exit code %d, stderr %q", r.Code, r.Err)
		}
	})
}

// podsOf returns the lines of each pod.
func podsOf(t *testing.T, out string) map[string][]string {
	t.Helper()
	pods := map[string][]string{}
	for line := range strings.Lines(out) {
		pod, text, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if !ok || !strings.HasPrefix(pod, "web-") {
			t.Fatalf("no pod before %q", line)
		}
		pods[pod] = append(pods[pod], text)
	}
	return pods
}

// manyJSON checks the JSON output of two pods that print the letter a on stdout
// and the byte \377 on stderr.
func manyJSON(t *testing.T, r Result) {
	t.Helper()
	type event struct {
		Pod, Container, Stream, Line, LineBase64, Cause string
		Open                                            bool
		ExitCode                                        *int
	}
	got := map[string][]event{}
	for d := json.NewDecoder(strings.NewReader(r.Out)); d.More(); {
		var e event
		if err := d.Decode(&e); err != nil {
			t.Fatalf("%v: %q", err, r.Out)
		}
		got[e.Pod] = append(got[e.Pod], e)
	}
	if len(got) != 2 || r.Code != 4 {
		t.Errorf("exit code %d, pods %v", r.Code, slices.Collect(maps.Keys(got)))
	}
	for pod, events := range got {
		var out, errs, ended bool
		for i, e := range events {
			out = out || e == event{Pod: pod, Container: "web", Stream: "stdout", Line: "a"}
			errs = errs || e == event{Pod: pod, Container: "web", Stream: "stderr", LineBase64: "/w==", Open: true}
			ended = e.ExitCode != nil && *e.ExitCode == 4 && e.Cause == "exited" && i == 2
		}
		if !out || !errs || !ended || len(events) != 3 {
			t.Errorf("%s: %+v", pod, events)
		}
	}
}
