package notice

import (
	"slices"
	"strings"
)

// Commands completes the commands in hints.
type Commands interface {
	// Complete returns command with the flags that it needs to use the same
	// cluster as kshell, or another command with the same purpose. note is a
	// sentence about the command, without a period, or "".
	Complete(command string) (completed, note string)
}

// CompleteHint returns a hint as Hint prints it: with its commands completed.
func (p *Printer) CompleteHint(hint string) string { return p.withCommands(hint) }

// withCommands completes the commands in a hint, which are in backquotes, and
// appends their notes in parentheses. Equal notes are appended once.
func (p *Printer) withCommands(hint string) string {
	if p.Commands == nil {
		return hint
	}
	parts := strings.Split(hint, "`")
	var notes []string
	for i := 1; i+1 < len(parts); i += 2 { // the last part has no closing backquote, and is not a command
		var note string
		parts[i], note = p.Commands.Complete(parts[i])
		if note != "" && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
	}
	hint = strings.Join(parts, "`")
	if len(notes) == 0 {
		return hint
	}
	return strings.TrimSpace(hint) + " (" + strings.Join(notes, "; ") + ")"
}
