# The rest of the script for a command with input, after rest.sh.
k_child= k_parent=$$

# k_served sets k_served to the running children of $$: k_feed and k_serve. It
# fails if one of them or $$ does not run.
k_served() {
	k_served=
	# read fails, because the file does not end with a newline, but it sets the
	# variable. Some kernels do not have the file.
	read -r k_served </proc/$$/task/$$/children
	[ "$k_served" ] || k_others
	# The list is empty if $$ was killed, or if there is no /proc.
	case $k_served in
	*[0-9]\ [0-9]*) ;;
	'') kill -0 $$ ;;
	*) false ;;
	esac
}

# k_deliver reads the client's messages and writes the input to the command. The
# text in a message "text" is a format for printf, which is part of most shells.
# k_deliver exits with 0 after the end of the input, with 77 if the client disconnects
# before that, and with any other code if it fails or the command has ended.
k_deliver() {
	trap 'k_over=1; kill -KILL $k_child' USR1
	while k_n=77; read -r k_size k_many <&3; do
		[ $k_over ] && exit 1
		case $k_size in
		'') k_served || exit 1 ;;
		'?') k_tell alive ;;
		end) exit 0 ;;
		*)
			case $k_size/$k_with in
			text/*) printf "$k_many" & ;;
			*/0) dd bs=$k_size count=$k_many iflag=fullblock <&3 & ;;
			*) head -c $((k_size * k_many)) <&3 & ;;
			esac
			k_child=$!
			# USR1 may have arrived before k_child was set.
			[ $k_over ] && kill -KILL $k_child
			k_await
			[ $k_n = 0 ] || break
			;;
		esac
	done
	# If k_feed is gone, this process is the last writer of the pipe. It kills
	# the process group before it exits, so that the command sees no end of its
	# input.
	kill -0 $k_self || { kill -0 -$$ && kill -KILL 0; }
	exit $k_n
}

# k_await waits for k_child and sets k_n to its exit code. It waits again if
# USR1 has interrupted the first wait.
k_await() {
	wait $k_child
	k_n=$?
	[ $k_over ] && wait $k_child
}

# k_bulk reads the input for a tenth of k_limit and, if k_cat fails, for another
# second. k_cat fails after its time limit, or if it cannot start cat; k_replace starts
# no further process. k_bulk fails if the client does not disconnect in this time. It is
# faster than read, but cannot detect whether the client sends anything.
k_bulk() { k_within $((k_limit / 10)) USR1 k_cat || k_within 1 KILL k_replace; }

# k_replace replaces the subshell of k_within with cat. This discards the EXIT trap of
# the subshell, which kills sleep, so k_within always takes the whole time.
k_replace() { exec cat >/dev/null; }

# k_cat is the command that k_bulk runs. USR1 ends it. The script has received
# USR1 before, so the container runtime did not start it with USR1 ignored. A
# shell cannot trap a signal that was ignored when the shell was started.
k_cat() {
	k_child= k_stopped=
	trap 'k_stopped=1; kill -KILL $k_child' USR1
	cat <&3 >/dev/null &
	k_child=$!
	# USR1 may have arrived before k_child was set.
	[ $k_stopped ] && kill -KILL $k_child
	k_await
	return $k_n
}
trap 'k_over=1; kill -USR1 $k_child' USR1
trap '[ $k_over ] || { k_tell "ended lost"; k_others; kill -KILL $k_others; k_release; }' EXIT
if ! [ $k_over ]; then
	k_deliver &
	k_child=$!
	# USR1 may have arrived before k_child was set.
	[ $k_over ] && kill -USR1 $k_child
	k_await
	case $k_over/$k_n in
	/0)
		k_cut=$k_gone
		exec >/dev/null
		;;
	/77 | 1/*) ;;
	*) k_lost ;;
	esac
fi
k_last() { k_release; }
k_wait
