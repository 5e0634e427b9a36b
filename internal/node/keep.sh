# kshell's pod on a node runs this. Each kshell that is at the shell has a file, beat-ID, which it empties as a sign of life; the first one has a
# file from the start. Here is counted for how many seconds a file was not emptied: at $1 it goes. When there is none the pod ends, unless it was
# detached. It looks every $2 seconds. $3 is "detached" if nobody has to be there from the start.
k_stale=$1 k_look=$2
[ "$3" != detached ] || : >"$KSHELL_STATE/detached"
: >"$KSHELL_STATE/beat"
shift 3
k_watch() {
	k_stay=yes
	while [ "$k_stay" ]; do
		sleep "$k_look" &
		wait $!
		k_stay=''
		[ ! -e "$KSHELL_STATE/detached" ] || k_stay=yes
		for k_beat in "$KSHELL_STATE"/beat*; do
			read -r k_silent <"$k_beat" || k_silent=0
			if [ ! -e "$k_beat" ]; then
				continue
			elif [ "$k_silent" -ge "$k_stale" ]; then
				rm "$k_beat"
			else
				k_stay=yes
				echo $((k_silent + k_look)) >"$k_beat"
			fi
		done
	done 2>/dev/null
}
