# kshell's pod on a node runs this. It ends when no kshell has given a sign of life for $1 seconds, unless it was detached; it looks every
# $2 seconds. $3 is "detached" if nobody has to be there from the start.
k_stale=$1 k_look=$2
[ "$3" != detached ] || : >"$KSHELL_STATE/detached"
shift 3
k_watch() {
	k_left=$k_stale
	while [ "$k_left" -gt 0 ]; do
		sleep "$k_look" &
		wait $!
		k_left=$((k_left - k_look))
		if rm "$KSHELL_STATE/beat" || [ -e "$KSHELL_STATE/detached" ]; then k_left=$k_stale; fi
	done 2>/dev/null
}
