# The command has no input. The shell itself runs the command, and k_rest runs
# in the background.
exec 3<&0 </dev/null
trap '' HUP INT QUIT TERM USR1
k_rest &
k_feed=$!
trap : HUP INT QUIT TERM USR1
exec 3<&-
k_main "$@"
