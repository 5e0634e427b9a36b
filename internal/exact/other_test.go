//go:build !linux

package exact

// The tests of the scripts need /proc.

const nonblockingCommand = ""

func runNonblocking() int { return 1 }

func leftoverProcesses() []string { return nil }
