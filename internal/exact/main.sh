# The shell replaces itself with a shell that has a short command line, and that
# gets the script in its environment. It reads the environment of the container
# before that, because a shell changes variables. Linux limits a variable to 128
# KiB, so the shell does not replace itself if the environment or the script has
# 10,000 characters or more. k_with is the exit code of dd in blocks_first.sh.
k_own=$PATH k_gone=$4 k_cut=$5 k_dir=$6 k_count=$7
[ $0 = kshell ] || {
	k_env=$(exec tr '\0\n' '\n\1' </proc/$$/environ)
	wait $!
	k_with=$?
	case ${#k_env}/${#k_script} in
	?????*/* | */?????*) ;;
	*)
		export k_env k_script k_with
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
