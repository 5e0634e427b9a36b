# kshell runs a command through this script, which reports the outcome of the
# command on stdout and stderr (docs/exact.md).
#
# Arguments:
#
#	$1, $2	the second and the first half of the mark
#	$3	what the client sends on stdin: "blocks" or "nothing"
#	$4	what happens to the command when the client disconnects: "end" or
#		"keep"
#	$5	the same, if the client disconnects before it has sent the end of
#		the input
#	$6	the working directory, or empty
#	$7	the number of variables
#	...	the variables, and then the command with its arguments
#
# The variable k_script contains the script. Apart from the shell's builtins,
# the script uses only dd (or head), cat, tr, env and sleep.
#
# The script has two parts. The first part starts the command, and is in the
# request: command.sh, this file, and nothing.sh or blocks.sh. The client sends
# the rest on stdin when the command is running: rest.sh, and nothing_rest.sh or
# blocks_rest.sh.
#
# In a container at its process limit, any fork may fail, and a shell that
# cannot fork exits. Therefore the parent of each process of the script reports
# to the client that the process is lost: "ended failed" for the part that
# starts the command, "ended lost" for the part that delivers its input. The
# command sees the end of its input only after the script has read "end".

# k_end is the EXIT trap of the shell that runs the command. The trap sends USR1
# to k_feed, and then reports the outcome. It also runs if the shell cannot
# fork, and, in bash, with status 0 if a signal terminates the shell. In
# nothing.sh, the trap then waits for the process $!, which runs k_rest, and
# sends it another USR1 each time it receives USR1 itself.
k_code= k_feed= k_over=
k_end='[ $k_code$? = 0 ] && exit
kill -USR1 $k_feed || k_code=
k_both "ended ${k_code:-failed}"
while kill -USR1 $!; do wait $!; done'
trap "$k_end" EXIT

# The shell replaces itself with a shell that has a short command line, and that
# gets the script in its environment. It reads the environment of the container
# before that, because a shell changes variables. Linux limits a variable to 128
# KiB, so the shell does not replace itself if the environment or the script has
# 10,000 characters or more.
k_own=$PATH k_gone=$4 k_cut=$5 k_dir=$6 k_count=$7
[ $0 = kshell ] || {
	k_env=$(exec tr '\0\n' '\n\1' </proc/$$/environ)
	case ${#k_env}/${#k_script} in
	?????*/* | */?????*) ;;
	*)
		export k_env k_script
		k_found sh "$PATH:/usr/bin:/bin"
		exec "$k_file" -c 'eval "$k_script"' kshell "$@" >&4 2>&5 4>&- 5>&-
		;;
	esac
}
shift 7
k_found sh "$PATH" || PATH=$PATH:/usr/bin:/bin

# k_main runs the command. The trap reports the outcome.
k_main() {
	k_code=nowhere
	if [ -z "$k_dir" ] || cd "$k_dir"; then
		k_code=missing
		if k_exists "$@"; then
			k_code=
			(k_launch "$@")
			k_code=$?
		fi
	fi
	exit $k_code
}

# k_rest reads the rest of the script, up to a line ".", and runs it. The rest
# of the script does not return. If the client disconnects before the line ".",
# k_rest ends the command, unless k_cut is "keep". After k_ask, k_over is set if
# the command has ended.
k_rest() {
	k_late=
	trap '' PIPE
	while read -r k_n <&3; do
		[ "$k_n" != . ] || eval "$k_late"
		k_late=$k_late$k_line$k_n
	done
	k_ask
	case $k_over$k_cut in
	end)
		kill -TERM -$$ && {
			sleep 5 &
			wait $!
			kill -KILL 0
		}
		;;
	esac
}
