# The main process of a pod for a shell. It runs the shell on its terminal with
# the script $1 and the arguments that follow. It stays in the namespaces of the
# container, like all processes that kshell starts by exec. The background
# process ignores the signals of the terminal.
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
