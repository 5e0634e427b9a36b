// Package script shrinks the shell scripts that kshell runs in containers.
//
// It imports no other package of kshell, and every package may import it.
package script

import "strings"

// Shrink returns a shell script without its comment lines, empty lines and the
// tabs that indent its lines. It does not parse the script, so a string that
// spans lines is shrunk, too.
func Shrink(source string) string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		line = strings.TrimLeft(line, "\t")
		if line != "\n" && !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}
