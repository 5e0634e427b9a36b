# This process becomes the shell. The watch stays behind, out of the reach of the terminal's keys.
tty >"$KSHELL_STATE/tty" || echo /dev/console >"$KSHELL_STATE/tty"
(
	trap '' HUP INT QUIT TSTP TTIN TTOU
	exec </dev/null >/dev/null 2>&1
	k_watch
	kill -HUP $$
	sleep 5
	kill -KILL $$
) &
