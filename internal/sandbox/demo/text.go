package main

import "strings"

// welcome returns the text that is printed before the pod's shell opens.
func welcome(s *stage, width int) string {
	return wrap(intro, width) + s.exportLine() + "\n\n"
}

// wrap breaks the lines of text that are longer than width columns at spaces. The
// text is ASCII. Words that are longer than width stay whole.
func wrap(text string, width int) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		for len(strings.TrimRight(line, "\n")) > width {
			at := strings.LastIndexByte(line[:width+1], ' ')
			if indent := len(line) - len(strings.TrimLeft(line, " ")); at <= indent {
				if at = strings.IndexByte(line[indent:], ' '); at < 0 {
					break
				}
				at += indent
			}
			b.WriteString(strings.TrimRight(line[:at], " ") + "\n")
			line = strings.TrimLeft(line[at:], " ")
		}
		b.WriteString(line)
	}
	return b.String()
}

// intro is printed before the export line.
const intro = `This is the kshell demo. It opens a shell in a pod of deploy/web: kshell exec -it deploy/web
There is no cluster: the pods are processes on this machine. They run as your user and are not isolated.
To leave the pod: exit or Ctrl-D. Then you get a local prompt. To end the demo and remove its files: exit again.
To use kshell and the same pods in another terminal, paste this line there:

`

// suspended is printed if the user suspends kshell in the pod's shell.
const suspended = `
kshell is suspended. To continue it: fg

`

// back is printed after the pod's shell. The shell replaces %s with the exit code.
const back = `
You are back on this machine. kshell has returned the exit code of the pod's shell: echo $? prints %s.
`

// more is printed after back.
const more = `More to try:
  kshell exec web -- date               one command in pod web
  kshell exec deploy/web --all -- date  in all pods of deployment web
  kshell exec --resume web              a shell that outlives its connection
  kshell node-shell node1               a shell on a node
  kshell watch pods                     the changes of all pods, until Ctrl-C
  kshell exec                           a shell in a pod chosen from a list
To end the demo and remove its files: exit or Ctrl-D

`

// startup is the startup file of the demo's shell. %[1]s is the export line, and
// the other arguments are the texts suspended, back and more, quoted. set -m turns on
// job control, which bash does not have while it reads its startup file: kshell runs
// in its own process group, and the shell notices when kshell is suspended. The
// last command of the file sets $? to the exit code of the pod's shell.
const startup = `%[1]s
unset ENV HISTFILE
PS1='kshell-demo$ '
set -m
kshell exec -it deploy/web
kshell_demo_code=$?
if [ "$kshell_demo_code" -gt 128 ] && [ "$(kill -l "$kshell_demo_code" 2>/dev/null)" = TSTP ]; then
	printf %[2]s
else
	printf %[3]s "$kshell_demo_code"
	printf %%s %[4]s
fi
(exit "$kshell_demo_code")
`
