# The rest of the script for a command without input, after rest.sh.
read -r k_self k_n </proc/self/stat || k_self=$(exec sh -c 'echo $PPID')

# k_served sets k_served to the shell that started the command, and fails if
# that shell does not run.
k_served() {
	k_served=$$
	kill -0 $$
}

# k_bulk does nothing: after the command has ended, the client sends only empty
# lines.
k_bulk() { false; }

# k_last kills the shell if it does not answer USR1 within about 5 seconds. It
# does not use wait: the answer may arrive before wait is called.
k_last() {
	k_served || return
	k_over=
	kill -USR1 $$
	for k_step in 0.1 0.4 1 1 1 1 1; do
		[ $k_over ] && return
		sleep $k_step || sleep 1
	done
	[ $k_over ] || k_release
}

# The shell may have sent USR1 before this trap was set. The command has ended if
# this process is the only child of the shell. If there is another one, USR1 will
# arrive later. The file in /proc lists the children; some kernels do not have it.
trap k_over=1 USR1
k_served=
read -r k_served </proc/$$/task/$$/children
k_parent=$$
[ "$k_served" ] || k_others
k_parent=none
set -- $k_served
[ "$*" != $k_self ] || k_over=1
k_wait
