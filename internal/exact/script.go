package exact

import (
	"bytes"
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"kshell/internal/script"
)

//go:embed hangup.sh
var hangUpScript string

// execScript is the script for a command without a terminal, as it is sent. The
// scripts are in shortened.go, which a test generates: to call script.Shorten at
// each start of kshell would take longer than the rest of the start.
type execScript struct {
	eval  string // stores $0 in k_script, and runs it
	start string // the first part, which starts the command
	rest  string // the rest, which is sent on stdin when the command is running
	read  string // reads start from stdin and runs it
	early string // sent before rest; it writes a text to the command's stdin; empty if the command has no input
}

// script returns the script for a command with the options o.
func (o *Options) script() *execScript {
	if o.Stdin != nil {
		return &blocksScript
	}
	return &nothingScript
}

// message returns the rest of the script, followed by a line ".". It appends
// limit, in seconds, as the argument of the last command of the rest, k_wait; see
// idleLimit.
func (s *execScript) message(limit time.Duration) []byte {
	return fmt.Appendf(nil, "%s %d\n.\n", strings.TrimSuffix(s.rest, "\n"), limit/time.Second)
}

// earlyMessage returns early, with a text for the command, followed by a line ".".
func (s *execScript) earlyMessage(text []byte) []byte {
	return append(bytes.Replace([]byte(s.early), []byte("%s"), text, 1), ".\n"...)
}

// scriptArgs returns the arguments of start.sh that precede the command.
func (o *Options) scriptArgs(mark string) []string {
	stdin := "nothing"
	if o.Stdin != nil {
		stdin = "blocks"
	}
	keepIfCut := o.KeepRunning && (!o.EndIfInputCut || o.Stdin == nil) // without Stdin no input can be cut off
	modes := []string{stdin, onDisconnect(o.KeepRunning), onDisconnect(keepIfCut)}
	return slices.Concat(halves(mark), modes, environmentArgs(o.Dir, o.Env))
}

// halves returns the second and the first half of the mark (see markStart). In
// this order, a list of processes never shows the whole mark.
func halves(mark string) []string {
	half := len(mark) / 2
	return []string{mark[half:], mark[:half]}
}

// environmentArgs returns the arguments for the working directory and the
// variables of the command.
func environmentArgs(dir string, env []string) []string {
	env = pathFirst(env)
	return append([]string{dirArgument(dir), strconv.Itoa(len(env))}, env...)
}

// quoted returns a line of the script that appends args to the script's
// arguments. The line has no effect in the shell with the short command line
// (see start.sh), whose arguments already include args.
func quoted(args []string) string {
	return `test $0 = kshell||set -- "$@" ` + script.QuoteAll(args) + "\n"
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

// onDisconnect returns the argument of start.sh that selects what happens to
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
