package exact

import (
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"kshell/internal/script"
)

var (
	//go:embed command.sh
	commonScript string
	//go:embed script.sh
	execScript string
	//go:embed shell.sh
	terminalScript string
	//go:embed hangup.sh
	hangUpScript string
)

// fullScript returns the script for a command without a terminal. It includes
// the comments of the script, which are not sent.
func fullScript() string { return commonScript + execScript }

// command returns the arguments that run args through the script. The mark (see
// markStart) is passed in two halves, the second one first, so that a list of
// processes never shows the whole mark.
func command(mark string, o Options, args []string) []string {
	stdin := "nothing"
	if o.Stdin != nil {
		stdin = "blocks"
	}
	keepIfCut := o.KeepRunning && (!o.EndIfInputCut || o.Stdin == nil) // without Stdin no input can be cut off
	modes := []string{stdin, onDisconnect(o.KeepRunning), onDisconnect(keepIfCut)}
	return scriptCommand(fullScript(), mark, modes, o.Dir, o.Env, args)
}

// scriptCommand returns the arguments that run args through a script. modes are
// the arguments $3 to $5 of script.sh; shell.sh has none.
func scriptCommand(source, mark string, modes []string, dir string, env, args []string) []string {
	half := len(mark) / 2
	env = pathFirst(env)
	return slices.Concat([]string{"sh", "-c", script.Shrink(source), "kshell", mark[half:], mark[:half]},
		modes, []string{dirArgument(dir), strconv.Itoa(len(env))}, env, args)
}

// dirArgument returns dir in a form that cd does not interpret as an option or
// as "-" (the previous directory).
func dirArgument(dir string) string {
	if dir == "" || strings.HasPrefix(dir, "/") {
		return dir
	}
	return "./" + dir
}

// pathFirst returns env with the last PATH, which is the one in effect, moved
// to the front, where the script expects it. Other PATH variables are removed.
func pathFirst(env []string) []string {
	isPath := func(v string) bool { return strings.HasPrefix(v, "PATH=") }
	var path []string
	for _, v := range env {
		if isPath(v) {
			path = []string{v}
		}
	}
	return append(path, slices.DeleteFunc(slices.Clone(env), isPath)...)
}

// onDisconnect returns the argument of script.sh that selects what happens to
// the command when the client disconnects.
func onDisconnect(keep bool) string {
	if keep {
		return "keep"
	}
	return "end"
}

// newMark returns the part of a mark that follows markStart: 128 random bits,
// in hexadecimal.
func newMark() string {
	var bits [16]byte
	_, _ = rand.Read(bits[:]) // never fails
	return hex.EncodeToString(bits[:])
}
