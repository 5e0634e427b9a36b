# The rest of the script for a command without input, after rest.sh.
read -r k_self k_n </proc/self/stat || k_self=$(exec sh -c 'echo $PPID')
k_parent=none

# k_served sets k_served to the shell that started the command, and fails if
# that shell does not run.
k_served() {
	k_served=$$
	kill -0 $$
}

# k_ask sends USR1 to the shell. If the outcome was reported, the shell answers
# with USR1, which sets k_over.
k_ask() {
	kill -USR1 $$
	sleep 1
}

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
k_wait
