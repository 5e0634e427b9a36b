//go:build linux

package main

import (
	"errors"
	"os"
	"runtime"

	"kshell/internal/agent"
)

// buildID is set by the linker. It identifies the sources of the agent.
var buildID = "none"

// exitNoSession is the exit code of attach and end if there is no such session.
const exitNoSession = 3

func main() {
	runtime.GOMAXPROCS(1)
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		_, _ = os.Stderr.WriteString("kshell-agent: " + err.Error() + "\n")
		if errors.Is(err, errNoSession) {
			os.Exit(exitNoSession)
		}
		os.Exit(1)
	}
	os.Exit(0) // without waiting for a relay's goroutines, which may be blocked
}

func run(args []string, stdin, stdout *os.File) error {
	if len(args) == 0 {
		return usageError("a command is missing")
	}
	name := args[0]
	opts, err := parseOptions(args[1:])
	if err != nil {
		return err
	}
	switch name {
	case "-check":
		_, err := stdout.WriteString("kshell-agent " + itoa(agent.Version) + " " + buildID + "\n")
		return err
	case "-environ":
		return printParent(stdout, opts.status)
	case "start":
		return start(opts, args[1:], stdin, stdout)
	case "serve":
		return serve(opts)
	case "attach":
		return attach(opts, stdin, stdout)
	case "list":
		return list(opts, stdout)
	case "end":
		return end(opts, stdout)
	}
	return usageError("unknown command " + name)
}
