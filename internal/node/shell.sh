# The shell is run on this terminal by the script $1, which gets what follows. This process itself stays in the image, and what kshell runs
# beside it with it. So does the watch, out of the reach of the terminal's keys.
tty >"$KSHELL_STATE/tty" || echo /dev/console >"$KSHELL_STATE/tty"
(
	trap '' HUP INT QUIT TSTP TTIN TTOU
	exec </dev/null >/dev/null 2>&1
	k_watch
	kill -HUP "$(cat "$KSHELL_STATE/pid")"
	sleep 5
	kill -KILL $$
) &
trap : HUP INT QUIT TSTP
k_enter=$1
shift
sh -c "echo \$\$ >\"\$KSHELL_STATE/pid\"
$k_enter" kshell "$@"
exit $?
