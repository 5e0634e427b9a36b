# The command has no input. The shell itself runs the command, and k_rest runs
# in the background.
exec 3<&0 </dev/null

# k_ask sends USR1 to the shell. If the outcome was reported, the shell answers
# with USR1, which sets k_over. While k_rest reads the rest of the script, it
# ignores USR1, because USR1 would interrupt read.
k_ask() {
	trap k_over=1 USR1
	kill -USR1 $$
	sleep 1
}
trap '' HUP INT QUIT TERM USR1
k_rest &
k_feed=$!
trap : HUP INT QUIT TERM USR1
exec 3<&-
k_main "$@"
