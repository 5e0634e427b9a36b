package exact

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// nonblockingCommand is the argument that makes the test binary a command that
// leaves its stdout full and in non-blocking mode, as some programs do.
const nonblockingCommand = "stubborn-command"

// runNonblocking prints to stderr how many bytes it wrote, and returns its exit
// code.
func runNonblocking() int {
	if err := syscall.SetNonblock(1, true); err != nil {
		return 1
	}
	total := 0
	for p := []byte(strings.Repeat("x", 5000)); len(p) > 0; {
		n, err := syscall.Write(1, p)
		if err != nil { // full: write smaller pieces, down to one byte
			p = p[:len(p)/2]
			continue
		}
		total += n
	}
	fmt.Fprint(os.Stderr, total)
	return 9
}
