# kshell runs this script in its pod on a node. Each client of the shell has a
# file beat-ID in $KSHELL_STATE. A client sends a heartbeat by emptying its
# file. The file "beat" stands for the creator of the pod until its first
# heartbeat. Every $2 seconds, the script writes into each file the number of
# seconds since its last heartbeat, and removes the file at $1 seconds. When no
# file is left the pod ends, unless the file "detached" exists. $3 is "detached"
# if it exists from the start.
k_timeout=$1 k_interval=$2
[ "$3" != detached ] || : >"$KSHELL_STATE/detached"
: >"$KSHELL_STATE/beat"
shift 3
k_watch() {
	k_alive=yes
	while [ "$k_alive" ]; do
		sleep "$k_interval" &
		wait $!
		k_alive=''
		[ ! -e "$KSHELL_STATE/detached" ] || k_alive=yes
		for k_beat in "$KSHELL_STATE"/beat*; do
			read -r k_age <"$k_beat" || k_age=0
			if [ ! -e "$k_beat" ]; then
				continue
			elif [ "$k_age" -ge "$k_timeout" ]; then
				rm "$k_beat"
			else
				k_alive=yes
				echo $((k_age + k_interval)) >"$k_beat"
			fi
		done
	done 2>/dev/null
}
