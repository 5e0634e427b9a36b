package exact

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"testing"
)

// encodedLength returns the length of s in a request line, as package stream
// encodes it.
func encodedLength(s string) int {
	n := len(url.QueryEscape(s))
	for _, c := range "!$()*,/:=?@" {
		n -= 2 * strings.Count(s, string(c))
	}
	return n
}

// Gateways limit the length of a request line to 8,192 bytes, some to 4,096.
func TestScript_EncodedLength(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		limit  int
	}{
		"without input": {nothingScript.start, 3000},
		"with input":    {blocksScript.start, 3500},
		"on a terminal": {terminalScript, 3000},
		"over stdin":    {blocksScript.read, 300},
	} {
		n := encodedLength(c.script)
		t.Logf("%s: %d bytes, %d encoded", name, len(c.script), n)
		if n > c.limit {
			t.Errorf("%s: %d encoded bytes, want at most %d", name, n, c.limit)
		}
	}
}

// The script has two processes, or four with input. In a list of processes,
// each shows at most 100 characters before the command and its arguments.
func TestScript_ShortInProcessList(t *testing.T) {
	eachShell(t, func(t *testing.T, shell shell) {
		for name, processes := range map[string]int{"no input": 2, "input": 4} {
			o := Options{}
			if name == "input" {
				idle, writer := io.Pipe()
				o.Stdin = cancelReader{idle, func() bool { _ = writer.Close(); return true }}
			}
			command := []string{"sleep", "600"}
			r := shell.start(t, o, command)
			go r.sendStdin(1 << 62)
			eventually(t, fmt.Sprintf("%s: %d processes and the command run", name, processes), func() bool {
				own := 0
				for _, process := range r.members() {
					line, _ := os.ReadFile("/proc/" + strings.Fields(process)[0] + "/cmdline")
					shown := strings.ReplaceAll(strings.TrimSuffix(string(line), "\x00"), "\x00", " ")
					ours, ok := strings.CutSuffix(strings.Replace(shown, shell.path, "/usr/bin/sh", 1), strings.Join(command, " "))
					if !ok || len(ours) > 100 {
						return false // the script has not replaced its shell yet
					}
					if ours != "" {
						own++
					}
				}
				return own == processes
			})
		}
	})
}
