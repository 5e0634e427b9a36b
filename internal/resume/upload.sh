# The rest of the script, which kshell sends if the container has no agent that
# can be used. It tries one directory after another, and reports, one per line:
#
#	no STEP DIR:TEXT	the directory cannot be used; TEXT is the message of
#			a tool, and STEP is make, exec, write or check
#	go		the first block is expected
#	got		a block was received
#	none		no directory is left
#	start DIR	see start.sh
#
# kshell sends the agent: the command that unpacks it in a line, blocks (see
# k_take), and the line "end". It does not wait for "go", but after the first
# block it waits for "got". It sends the agent again if a directory is refused
# after "go".
#
# If the script ends before the agent runs, it removes the agent's directory. A
# signal may arrive when the trap of EXIT begins, so the trap of the signals does
# the same.
k_made=
k_end() {
	trap '' HUP INT TERM PIPE
	[ -z "$k_made" ] || k_clean
}
trap k_end EXIT
trap 'k_end; exit 1' HUP INT TERM PIPE

# k_clean removes the new directory. cd makes sure that no other user replaces
# it in between.
k_clean() {
	(cd "$k_made" && [ -O . ] && rm -f agent "use-$k_id")
	rmdir "$k_made"
	k_made=
}

# k_take copies blocks to stdout. A block is a line with its size, and the bytes.
# The line "0" follows the last block. Neither dd nor head reads more than the
# block.
k_take() {
	echo go >&4
	while read -r k_n && [ "$k_n" != 0 ]; do
		case $k_dd in
		?*) dd bs=$k_n count=1 iflag=fullblock || exit ;;
		*) head -c $k_n || exit ;;
		esac
		echo got >&4
	done
}

# k_no STEP TEXT... reports that the directory k_dir cannot be used.
k_no() {
	k_n=$1
	shift
	echo "no $k_n $k_dir:$*"
}

# k_try OPTION... uses the new directory k_dir, which is descriptor 8. The file
# is closed before the agent is run: a file that is open for writing cannot be
# run. On a file system that is mounted with noexec, [ -x ] fails.
k_try() {
	k_open || { k_no make; return; }
	true >"$k_at/agent" && chmod 700 "$k_at/agent" && [ -x "$k_at/agent" ] || { k_no exec; return; }
	read -r k_unpack || exit
	k_text=$(k_take | { $k_unpack 2>&1 >"$k_at/agent"; k_n=$?; cat >/dev/null; exit $k_n; })
	k_code=$?
	read -r k_n && [ "$k_n" = end ] || { echo none; exit; }
	chmod 500 "$k_at/agent" && [ $k_code = 0 ] || { k_no write $k_text; return; }
	k_use "$@"
	k_no check $k_n
}
k_dd=
dd bs=1 count=0 iflag=fullblock </dev/null >/dev/null && k_dd=1
[ "$k_dd" ] || [ "$(echo ab | { head -c 1 >/dev/null; head -c 1; })" = b ] || { echo none; exit; }
IFS=:
for k_dir in $k_usable; do
	unset IFS
	k_dir=$k_dir/$k_name$k_new
	k_made=$k_dir
	k_text=$(mkdir -m 700 "$k_dir" 2>&1) || { k_made=; k_no make $k_text; continue; }
	k_try "$@" 8<"$k_dir"
	k_clean
done
echo none
exit
