//go:build unix && !linux

package terminal

import "os"

// pollTerminal returns nil: on macOS, kqueue fails on some terminals.
func pollTerminal(*os.File) source { return nil }
