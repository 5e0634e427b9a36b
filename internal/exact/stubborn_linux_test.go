package exact

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// stubborn makes the test binary a command that leaves its stdout full and not waiting, as some programs do.
const nonblockingCommand = "stubborn-command"

// beStubborn says on stderr how much it wrote, and returns its code.
func runNonblocking() int {
	if err := syscall.SetNonblock(1, true); err != nil {
		return 1
	}
	total := 0
	for p := []byte(strings.Repeat("x", 5000)); len(p) > 0; {
		n, err := syscall.Write(1, p)
		if err != nil { // full: to the last byte
			p = p[:len(p)/2]
			continue
		}
		total += n
	}
	fmt.Fprint(os.Stderr, total)
	return 9
}
