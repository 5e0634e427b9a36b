package fanout

import (
	"bytes"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/stream"
)

// addOutput adds the output of a command that ended with err.
func addOutput(t *testing.T, f *folds, title string, err error, stdout, stderr string) {
	t.Helper()
	one := f.newFold()
	for w, text := range map[io.Writer]string{&one.stdout: stdout, &one.stderr: stderr} {
		for len(text) > 0 {
			n := min(len(text), 10_000)
			if _, err := io.WriteString(w, text[:n]); err != nil {
				t.Fatal(err)
			}
			text = text[n:]
		}
	}
	f.add(one, newResult(title, err))
}

// resultsOf returns results with titles.
func resultsOf(titles ...string) []result {
	results := make([]result, len(titles))
	for i, title := range titles {
		results[i].Title = title
	}
	return results
}

func TestFolds_EqualOutputsArePrintedOnce(t *testing.T) {
	var f folds
	defer f.close()
	addOutput(t, &f, "g", nil, "", "")
	addOutput(t, &f, "c", nil, "same\n", "")
	addOutput(t, &f, "b", nil, "other", "oops\n")
	addOutput(t, &f, "d", &stream.ExitError{Code: 7}, "same\n", "")
	addOutput(t, &f, "a", nil, "same\n", "")
	addOutput(t, &f, "e", &stream.LostError{Err: io.EOF}, "same\n", "")
	addOutput(t, &f, "f", nil, "", "only\n")
	var stdout, stderr bytes.Buffer
	results := resultsOf("a", "b", "c", "d", "e", "f", "g")
	if err := f.writeTo(&stdout, &stderr, results); err != nil {
		t.Fatal(err)
	}
	want := `----------------
a, c
----------------
same
----------------
b
----------------
other
----------------
d (exit code 7)
----------------
same
----------------
e (exit code 255: lost)
----------------
same
----------------
g
----------------
`
	if diff := cmp.Diff(want, stdout.String()); diff != "" {
		t.Errorf("stdout (-want +got):\n%s", diff)
	}
	want = rule + "\nb\n" + rule + "\noops\n" + rule + "\nf\n" + rule + "\nonly\n"
	if diff := cmp.Diff(want, stderr.String()); diff != "" {
		t.Errorf("stderr (-want +got):\n%s", diff)
	}
}

// useTempDir makes the test create its temporary files in a directory of its
// own.
func useTempDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Setenv("TMP", dir)
	return dir
}

func TestFolds_LargeOutputsGoToTemporaryFiles(t *testing.T) {
	dir := useTempDir(t)
	var f folds
	text := strings.Repeat("0123456789abcde\n", 1<<18) // 4 MiB
	addOutput(t, &f, "a", nil, text, "")
	addOutput(t, &f, "b", nil, text, "")
	addOutput(t, &f, "c", nil, text+"x", "")
	if n := f.memory.Load(); n == 0 || n > 2*maxSpoolMemory {
		t.Errorf("%d bytes in memory", n)
	}
	for _, one := range f.list {
		info, err := one.stdout.file.Stat()
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("file: mode %v, error %v", info.Mode(), err)
		}
	}
	var out bytes.Buffer
	if err := f.writeTo(&out, io.Discard, resultsOf("a", "b", "c")); err != nil {
		t.Fatal(err)
	}
	if want := rule + "\na, b\n" + rule + "\n" + text + rule + "\nc\n" + rule + "\n" + text + "x\n"; out.String() != want {
		t.Errorf("%d bytes were printed, want %d: %.100q", out.Len(), len(want), out.String())
	}
	f.close()
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 || f.memory.Load() != 0 {
		t.Errorf("after close: files %v, %d bytes in memory", left, f.memory.Load())
	}
}

func TestFolds_MemoryOfAllIsBounded(t *testing.T) {
	useTempDir(t)
	var f folds
	defer f.close()
	for i := range 200 {
		addOutput(t, &f, fmt.Sprint(i), nil, strings.Repeat(fmt.Sprintf("%07d\n", i), maxSpoolMemory/8), "")
	}
	if n := f.memory.Load(); n > maxSpoolsMemory {
		t.Errorf("%d bytes in memory, want at most %d", n, maxSpoolsMemory)
	}
}
