# The client sends the input of the command in blocks. k_feed keeps the pipe to
# the command's stdin open. It runs until its stdin, the input from the client,
# ends: the client has received everything, or has disconnected. That may be
# long after the command has ended.
#
# First, k_feed writes a line for k_serve: its process ID, and "unable" if exact
# mode is not possible. It is not possible if the container has no tool that can
# count input, or if the shell is mksh or another descendant of pdksh, in which
# exec does not close the pipe.
k_feed() {
	exec 3<&0 </dev/null
	trap '' HUP INT QUIT TERM
	trap k_over=1 USR1
	[ $k_with = 0 ] || [ "$(printf ab | { head -c 1; head -c 1; })" = ab ] || k_code=unable
	case $KSH_VERSION in
	*KSH*) k_code=unable ;;
	esac
	read -r k_self k_late </proc/self/stat || k_self=$(exec sh -c 'echo $PPID')
	echo $k_self $k_code
	k_rest
}

# If USR1 has set k_over, k_ask reads the input to its end. This happens if USR1
# arrives before the rest of the script: USR1 interrupts read, which loses a part
# of a line, so the rest of the script cannot be used. Descriptor 2 is /dev/null here.
k_ask() {
	[ $k_over ] && cat <&3 >&2
}

# k_serve runs the command. It sets traps and does not ignore the signals,
# because traps are reset in the subshell that becomes the command.
k_serve() {
	trap : HUP INT QUIT TERM USR1
	trap "$k_end" EXIT
	read -r k_feed k_code || exit
	[ $k_code ] && exit 1
	k_main "$@"
}
trap : HUP INT QUIT TERM USR1
k_feed | (k_serve "$@")
k_n=$?
trap - EXIT
exit $k_n
