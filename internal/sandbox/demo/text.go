package main

// welcome is printed before the pod's shell opens.
const welcome = `This is the kshell demo. It opens a shell in a pod of deploy/web with: kshell exec -it deploy/web
There is no cluster: the pod is a process on this machine. It runs as your user and is not isolated.
Leave the pod with exit or Ctrl-D to get a local prompt. Leave the local shell to end the demo and clean up.

`

// startup is the startup file of the demo's shell. %[1]s is the directory of
// kshell, %[2]s the kubeconfig, both quoted. set -m turns on job control, which
// bash does not have while it reads its startup file: kshell runs in its own
// process group, and the shell notices when kshell is suspended. The last
// command of the file sets $? to the exit code of the pod's shell.
const startup = `PATH=%[1]s:$PATH
KUBECONFIG=%[2]s
export PATH KUBECONFIG
unset ENV HISTFILE
PS1='kshell-demo$ '
set -m
kshell exec -it deploy/web
kshell_demo_code=$?
if [ "$kshell_demo_code" -gt 128 ] && [ "$(kill -l "$kshell_demo_code" 2>/dev/null)" = TSTP ]; then
	printf '\nkshell is suspended. To continue it: fg\n\n'
else
	printf '\nBack on this machine, with the exit code of the pod'"'"'s shell: echo $? prints %%s.\n' "$kshell_demo_code"
	printf 'To try more: kshell exec web -- date, or kshell exec -it sts/db. To end the demo and clean up: exit\n\n'
fi
(exit "$kshell_demo_code")
`
