package exact

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// nonblockingCommand is the argument that makes the test binary a command that
// fills its stdout in non-blocking mode and then ends, as some programs do.
const nonblockingCommand = "stubborn-command"

// runNonblocking is the command that nonblockingCommand selects. It prints to
// stderr how many bytes it wrote to stdout, and returns the exit code.
func runNonblocking() int {
	if err := syscall.SetNonblock(1, true); err != nil {
		return 1
	}
	total := 0
	for p := []byte(strings.Repeat("x", 5000)); len(p) > 0; {
		n, err := syscall.Write(1, p)
		if err != nil { // stdout is full for a piece of this size: try a smaller one, down to one byte
			p = p[:len(p)/2]
			continue
		}
		total += n
	}
	fmt.Fprint(os.Stderr, total)
	return 9
}
