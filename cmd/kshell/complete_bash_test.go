//go:build unix

package main

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// bashCompletion replaces the package bash-completion.
const bashCompletion = `_get_comp_words_by_ref() {
	words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
}
`

func TestCompletion_Bash(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skip("bash is not installed")
	}
	script, err := exec.Command(program(t), "completion", "bash").Output()
	if err != nil {
		t.Fatal(err)
	}
	rc := pathOf(t, "rc")
	if err := os.WriteFile(rc, []byte(bashCompletion+string(script)+"PS1='ready$ '\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := open(t, startSandbox(t), bash, "--noprofile", "--rcfile", rc, "-i")
	c.prompt()
	for _, step := range []struct{ keys, line string }{
		{"we\t", "kshell exec web "},
		{"web -c \t", "kshell exec web -c web "},
		{"stateful\t", "kshell exec statefulset/"},
		{"deployment/\t", "kshell exec deployment/"}, // nothing is completed: there is no deployment
		{"--context exec-o\t", "kshell exec --context exec-only "},
		{"-n kube-s\t", "kshell exec -n kube-system "},
		{"--server https://127.0.0.1:1 we\t", "kshell exec --server https://127.0.0.1:1 we"}, // no error is printed
	} {
		c.keys("kshell exec " + step.keys)
		// Ctrl-A and Ctrl-E put echo and quotes around the line, so that it is
		// printed and not run.
		c.run("\x01echo \"<\x05>\"", "<"+regexp.QuoteMeta(step.line)+">")
		c.prompt()
	}
	c.run("exit", "exit")
	if words := string(c.all()); strings.Contains(words, "irective") || strings.Contains(words, "refused") {
		t.Errorf("error in the output: %q", words)
	}
}
