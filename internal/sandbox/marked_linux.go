package sandbox

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// marked lists the live processes whose mark begins with the given one. What a process did to its own environment does
// not matter, what it was started with counts.
func marked(mark string) []int {
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil
	}
	want := []byte(markVariable + "=" + mark)
	var pids []int
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			continue // gone, or another user's
		}
		for v := range bytes.SplitSeq(data, []byte{0}) {
			if !bytes.HasPrefix(v, want) {
				continue
			}
			if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
				pids = append(pids, pid)
			}
			break
		}
	}
	return pids
}
