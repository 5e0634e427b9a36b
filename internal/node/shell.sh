# The main process of a pod for a shell. It runs the shell on its terminal by the
# script $1, with the arguments that follow. It stays in the namespaces of the
# image, and so does everything that kshell runs by exec. The background process
# ignores the signals of the terminal.
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
