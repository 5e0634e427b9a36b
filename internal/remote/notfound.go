package remote

import (
	"fmt"
	"slices"
	"strings"

	"kshell/internal/script"
)

// notFoundHint returns the hint for a command that the container does not have.
// The hint is about the most likely mistake in the command line.
func notFoundHint(o *Options, t Target) string {
	name := o.Command[0]
	variable, _, assigns := strings.Cut(name, "=")
	switch {
	case o.Program == "": // the hints below need the name of the program
	case strings.HasPrefix(name, "-"):
		return "flags of kshell go before --, and the command goes after it: " + flagsFirst(o, t)
	case strings.ContainsAny(name, shellSpecial):
		return fmt.Sprintf("%s is quoted as one word, and only a shell can run it: type `%s`",
			script.Quote(name), again(o, t, "sh", "-c", shellLine(o.Command)))
	case strings.ContainsAny(name, " \t\n"):
		words := slices.Concat(strings.Fields(name), o.Command[1:])
		return fmt.Sprintf("%s is quoted as one word: type `%s`", script.Quote(name), again(o, t, words...))
	case assigns && variable != "" && !strings.Contains(variable, "/"):
		return fmt.Sprintf("only a shell sets variables in this way: type --env %s before --", script.Quote(name))
	case name == "cd":
		line := strings.Join(append([]string{script.QuoteAll(o.Command)}, "COMMAND"), " && ")
		return fmt.Sprintf("cd is a command of the shell, and not a program: type `%s`, or use --workdir",
			again(o, t, "sh", "-c", line))
	case slices.Contains(builtins, name):
		return fmt.Sprintf("%s is a command of the shell, and not a program: type `%s`",
			name, again(o, t, "sh", "-c", script.QuoteAll(o.Command)))
	}
	if strings.Contains(name, "/") {
		return "the path is looked up in the container's own files"
	}
	return "the command is looked up in the container's own PATH; an image without a shell has no sh either"
}

// shellSpecial are characters that have a meaning in a shell and are rare in
// the names of programs.
const shellSpecial = "|&;<>()$`\\\"'*?#~\n"

// shellLine returns a command whose first word is quoted text for a shell.
func shellLine(command []string) string {
	if len(command) == 1 {
		return command[0]
	}
	return command[0] + " " + script.QuoteAll(command[1:])
}

// builtins are the names of commands and keywords of shells that containers
// usually do not have as programs.
var builtins = []string{
	".", ":", "alias", "bg", "break", "case", "command", "continue", "declare", "dirs", "eval", "exec", "exit", "export",
	"fc", "fg", "for", "function", "getopts", "hash", "help", "history", "if", "jobs", "let", "local", "popd", "pushd",
	"read", "readonly", "return", "set", "shift", "shopt", "source", "time", "times", "trap", "type", "typeset", "ulimit",
	"umask", "unalias", "unset", "until", "wait", "while", "{", "!", "[[",
}

// again returns the user's command line with another command.
func again(o *Options, t Target, command ...string) string {
	return commandLine(o.withFlags(), o.name(t), o.Pod.Container, command...)
}

// flagsFirst returns the part of a hint about a command that begins with flags:
// the command line with these flags before --.
func flagsFirst(o *Options, t Target) string {
	i := 0
	for i < len(o.Command) && strings.HasPrefix(o.Command[i], "-") {
		if slices.Contains([]string{"-c", "--container", "-n", "--namespace"}, o.Command[i]) {
			i++
		}
		i++
	}
	if i >= len(o.Command) {
		return fmt.Sprintf("type `%s %s [FLAGS] -- COMMAND`", o.withFlags(), o.name(t))
	}
	return fmt.Sprintf("type `%s`",
		commandLine(o.withFlags()+" "+script.QuoteAll(o.Command[:i]), o.name(t), o.Pod.Container, o.Command[i:]...))
}

// withFlags returns Program with those of the flags -i and -t that are set.
func (o *Options) withFlags() string {
	switch {
	case o.Stdin && o.TTY:
		return o.Program + " -it"
	case o.Stdin:
		return o.Program + " -i"
	}
	return o.Program
}

// name returns the target as the user can type it again: the target of the
// command line if other pods can replace the pod, else the name of the pod.
func (o *Options) name(t Target) string {
	if o.Pod.Target.HasReplacements() {
		return o.Pod.Target.String()
	}
	return t.Pod
}
