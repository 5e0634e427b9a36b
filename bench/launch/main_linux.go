// Command launch runs a program and reports its costs on file descriptor 3:
//
//	launch PROGRAM [ARGUMENT...]
//
// The report is one line: the start (Unix time), the elapsed time and the CPU
// time, each in nanoseconds, the peak memory in bytes, and the exit code. CPU
// time and memory include the processes that the program has waited for.
//
// It is needed to measure memory: the peak memory of a new process is at least
// the memory of the process that started it, and launch is small.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

func main() {
	report := os.NewFile(3, "report")
	syscall.CloseOnExec(3)
	cmd := exec.Command(os.Args[1], os.Args[2:]...) //nolint:gosec // the program to measure
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	began := time.Now()
	err := cmd.Run()
	took := time.Since(began)
	state := cmd.ProcessState
	if state == nil {
		fmt.Fprintln(os.Stderr, "launch:", err)
		os.Exit(1)
	}
	cpu := state.UserTime() + state.SystemTime()
	memory := state.SysUsage().(*syscall.Rusage).Maxrss << 10
	_, err = fmt.Fprintln(report, began.UnixNano(), took.Nanoseconds(), cpu.Nanoseconds(), memory, state.ExitCode())
	if err != nil {
		fmt.Fprintln(os.Stderr, "launch:", err)
		os.Exit(1)
	}
}
