# kshell runs this script to end a shell on a terminal, and the processes of its
# session, after the client has disconnected. $1 is the process ID of the session
# leader.
PATH=$PATH:/usr/bin:/bin
members() {
	k_members=''
	for k_stat in /proc/[0-9]*/stat; do
		read -r k_line <"$k_stat" || continue
		k_pid=${k_stat#/proc/}
		k_state=${k_line##*) }
		set -- "$1" $k_state
		[ "$5" = "$1" ] && [ "$2" != Z ] && k_members="$k_members ${k_pid%/stat}"
	done 2>/dev/null
	[ "$k_members" ]
}
for k_signal in HUP HUP TERM KILL; do
	members "$1" || exit 0
	kill -"$k_signal" $k_members 2>/dev/null
	members "$1" || exit 0
	sleep 0.3 2>/dev/null || sleep 1
done
