package exact

import (
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
)

var (
	//go:embed command.sh
	common string
	//go:embed script.sh
	exactly string
	//go:embed shell.sh
	onTerminal string
	//go:embed hangup.sh
	hangUp string
)

// Script is what is run on the far side, for an auditor to read: with its comments. They are not sent.
func Script() string { return common + exactly }

// compact is a script without comments and indents.
func compact(source string) string {
	var b strings.Builder
	for line := range strings.Lines(source) {
		line = strings.TrimLeft(line, "\t")
		if line != "\n" && !strings.HasPrefix(line, "#") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// command wraps args: the mark goes in two halves, the second one first, so that it stands whole in no list of processes.
func command(mark string, o Options, args []string) []string {
	stdin := "nothing"
	if o.Stdin != nil {
		stdin = "blocks"
	}
	cut := o.Keep && (!o.Whole || o.Stdin == nil) // what there is none of cannot be cut
	return wrap(Script(), mark, []string{stdin, policy(o.Keep), policy(cut)}, o.Dir, o.Env, args)
}

func wrap(script, mark string, words []string, dir string, env, args []string) []string {
	half := len(mark) / 2
	env = pathFirst(env)
	return slices.Concat([]string{"sh", "-c", compact(script), "kshell", mark[half:], mark[:half]},
		words, []string{beneath(dir), strconv.Itoa(len(env))}, env, args)
}

// beneath returns a directory's name so that cd takes it for nothing else, such as an option or the directory before.
func beneath(dir string) string {
	if dir == "" || strings.HasPrefix(dir, "/") {
		return dir
	}
	return "./" + dir
}

// pathFirst returns the variables with the PATH that counts, the last one, as the first: the script looks for it there.
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

func policy(keep bool) string {
	if keep {
		return "keep"
	}
	return "end"
}

// newMark is 128 random bits: no output holds them by chance.
func newMark() string {
	var bits [16]byte
	_, _ = rand.Read(bits[:]) // never fails
	return hex.EncodeToString(bits[:])
}
