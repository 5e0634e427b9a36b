package notice

import "strings"

// Commands completes commands that users can type.
type Commands interface {
	// Complete returns a command with the flags that it lacks to refer to the
	// same cluster as the command line of kshell.
	Complete(command string) string
}

// withCommands completes the commands in a hint, which are in backquotes.
func (p *Printer) withCommands(hint string) string {
	if p.Commands == nil {
		return hint
	}
	parts := strings.Split(hint, "`")
	for i := 1; i+1 < len(parts); i += 2 { // without a closing backquote, the last part is no command
		parts[i] = p.Commands.Complete(parts[i])
	}
	return strings.Join(parts, "`")
}
