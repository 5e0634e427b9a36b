# The rest of the script, which the client sends when the command is running. It
# runs in the process of k_rest, until the client disconnects. Descriptor 3 is
# the input from the client. k_over is set when the command has ended. The last
# line calls k_wait; the client appends the argument.
set +f
unset GLOBIGNORE

# k_tell MESSAGE sends a message to the client. Unlike k_both, it never waits.
k_tell() {
	printf '\036%s%s\n' $k_mark "$1" >&4
	printf '\036%s%s\n' $k_mark "$1" >&5
}

# k_lost reports that a process of the script is lost, and ends the command.
k_lost() {
	k_tell 'ended lost'
	! k_finish || k_over=1
}

# k_finish ends the processes of this process group that are not the script's
# own (see k_others), and waits up to about 8 s until they are gone. It fails if
# some are left, or if the script does not lead the group.
k_finish() {
	kill -0 -$$ || return
	kill -TERM 0
	for k_step in 0.1 0.4 TERM 1 1 1 1 1 KILL 1 KILL 1; do
		# The script may be about to start a process.
		if ! k_others; then
			sleep 0.1 || sleep 1
			k_release
			k_others || return 0
		fi
		case $k_step in
		[A-Z]*) kill -$k_step $k_others ;;
		*) sleep $k_step || sleep 1 ;;
		esac
	done
	! k_others
}

# k_others sets k_others to the running processes of this process group that are
# not the script's own, and reports whether there are any. The script's own
# processes are $$, this process (k_self) and its children, and the children of
# $$ if k_parent is $$. k_others sets k_served to these children of $$.
k_others() {
	k_others= k_served=
	for k_stat in /proc/[0-9]*/stat; do
		read -r k_n <$k_stat || continue
		k_stat=${k_stat#/proc/}
		k_stat=${k_stat%/stat}
		set -- ${k_n##*) }
		case $2/$1/$3/$k_stat in
		$k_parent/*) k_served="$k_served $k_stat" ;;
		$k_self/* | */Z/* | */$$/$$ | */$k_self) ;;
		*/$$/*) k_others="$k_others $k_stat" ;;
		esac
	done
	[ "$k_others" ]
}

# k_release kills the process that reports the outcome, because the process may
# still be trying to write to a full pipe, which the client no longer reads.
k_release() {
	k_served
	for k_n in $k_served; do
		[ $k_n = $k_self ] || kill -KILL $k_n
	done
}

# k_within SECONDS SIGNAL COMMAND... runs COMMAND in a subshell whose stdin is the
# input from the client, and returns the exit code of COMMAND. If COMMAND takes
# longer than SECONDS, k_within sends SIGNAL to the subshell, and fails. When
# COMMAND ends, the subshell kills sleep, which ends the first wait.
k_within() {
	k_sleep=
	sleep $1 &
	k_sleep=$!
	{
		trap 'kill -KILL $k_sleep' EXIT
		shift 2
		"$@" <&3
	} &
	k_child=$!
	wait $k_sleep && kill -$2 $k_child
	wait $k_child
}

# k_drain reads what the client sends until the client disconnects, or sends
# nothing for k_limit seconds. A shell that cannot fork exits; the EXIT trap then
# reads without this limit. The trap begins with kill because bash, after a
# failed fork, waits for its children before the second command of the trap.
k_drain() {
	trap '' USR1
	trap 'kill -KILL $k_sleep; wait $k_sleep; while read -r k_n <&3; do :; done' EXIT
	while ! k_bulk && k_within $k_limit KILL read -r k_n; do :; done
	trap - EXIT
	trap k_over=1 USR1
}

# k_wait LIMIT answers the client's requests until the client disconnects or the
# command ends. In the first case, it ends the command, unless k_cut is "keep".
# In the second case, it waits until the client disconnects or sends nothing for
# LIMIT seconds. In both cases, it then ends the script.
k_wait() {
	k_limit=$1
	until [ $k_over ] || ! read -r k_n <&3; do
		[ "$k_n" ] && k_tell alive
		k_served || [ $k_over ] || k_lost
	done
	[ $k_over ] || k_ask
	if [ $k_over ]; then
		k_drain
	else
		case $k_cut in
		keep) exec >/dev/null ;;
		*) ! k_finish || k_over=1 ;;
		esac
		trap - EXIT
		until [ $k_over ] || ! { k_served || k_others; }; do
			sleep 5 &
			wait $!
			kill -KILL $! && wait $!
		done
	fi
	k_last
	exit
}
