package notice

import "strings"

// Commands completes the commands in hints.
type Commands interface {
	// Complete returns command with flags added, if it needs them to use the
	// same cluster as kshell.
	Complete(command string) string
}

// withCommands completes the commands in a hint, which are in backquotes.
func (p *Printer) withCommands(hint string) string {
	if p.Commands == nil {
		return hint
	}
	parts := strings.Split(hint, "`")
	for i := 1; i+1 < len(parts); i += 2 { // the last part has no closing backquote, and is not a command
		parts[i] = p.Commands.Complete(parts[i])
	}
	return strings.Join(parts, "`")
}
