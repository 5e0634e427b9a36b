package fanout

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"kshell/internal/outcome"
)

// CheckStdinFile returns an error if the file of --stdin-file cannot be read
// once for each command. name is empty if the flag was not given.
func CheckStdinFile(name string) error {
	if name == "" {
		return nil
	}
	info, err := os.Stat(name)
	switch {
	case err != nil:
		return fmt.Errorf("--stdin-file %s: %w", name, errors.Unwrap(err)) // a *fs.PathError
	case info.IsDir():
		return fmt.Errorf("--stdin-file %s: %w", name, syscall.EISDIR)
	case info.Mode()&(os.ModeNamedPipe|os.ModeSocket) != 0:
		return outcome.NewUsageError(
			"--stdin-file "+name+" is a pipe, but with --all the file is read once for each command",
			"save the input to a file",
		)
	}
	return nil
}

// CheckInput returns an error if more than one command would read kshell's
// stdin. kind is the plural noun for the targets: "pods" or "nodes".
func (s *Settings) CheckInput(targets []Target, kind string) error {
	if len(targets) <= 1 || !s.Options.Stdin || s.StdinFile != "" {
		return nil
	}
	return outcome.NewUsageError(
		fmt.Sprintf("-i passes stdin to one command, but %d %s are selected", len(targets), kind),
		"--stdin-file FILE passes a file to each command",
	)
}
