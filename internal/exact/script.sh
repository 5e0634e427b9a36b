# kshell runs a command through this script, so that the streams themselves say how it ended (docs/exact.md).
#
# $0 is kshell; $1 and $2 the mark, in two halves, so that no list of processes shows it whole; $3 what stdin brings: "blocks" or
# "nothing"; $4 what becomes of the command when the client goes away: "end" or "keep"; $5 the same, before the end of its
# input was told; $6 the working directory, or nothing; $7 how many variables follow; they; then the command. Only what a shell has
# built in is used, but for dd (or head), cat, tr, env and sleep.
#
# In a container at its limit of processes any fork may fail: a shell then exits. Its parent sees that and tells the client: "ended failed"
# when the command's side is lost, "ended lost" when the input's side is. The command sees the end of its input only when "end" was read.
k_mark=$2$1 k_stdin=$3 k_gone=$4 k_cut=$5 k_dir=$6 k_count=$7
shift 7
trap : HUP INT QUIT TERM USR1

# feed holds the pipe that is the command's input, and outlives the command: the end of the client's stdin says that the client has everything,
# or is gone. To serve it writes its number, and a word if there is no way to count the input. USR1 says that the command has ended.
feed() {
	exec 3<&0 </dev/null
	k_over= k_child= k_unable=
	trap 'k_over=1; kill -USR1 $k_child' USR1
	trap '' HUP INT QUIT TERM
	read -r k_self k_n </proc/self/stat || k_self=$(exec sh -c 'echo $PPID')
	if [ $k_stdin = blocks ]; then
		k_with=dd
		if ! dd bs=1 count=0 iflag=fullblock >/dev/null; then
			k_with=head
			[ "$(printf ab | { head -c 1 >/dev/null; head -c 1; })" = b ] || k_unable=1
		fi
		deliver &
		k_child=$!
	fi
	echo $k_self $k_unable
	trap '[ $k_over ] || { others; kill -KILL $k_others; release; }' EXIT
	if [ $k_child ]; then
		await
		case $k_over/$k_n in
		/0)
			k_cut=$k_gone
			exec >/dev/null
			;;
		/77 | 1/*) ;;
		*)
			both 'ended lost'
			! finish || k_over=1
			;;
		esac
	fi
	until [ $k_over ] || ! read -r k_n <&3; do both alive; done
	if [ $k_over ]; then
		cat <&3 >/dev/null || while read -r k_n <&3; do :; done
	else
		case $k_cut in
		keep) exec >/dev/null ;;
		*) ! finish || k_over=1 ;;
		esac
		trap - EXIT
		until [ $k_over ]; do sleep 5 & wait $!; done
	fi
	release
}

# deliver reads what the client sends, and hands the command its input, until the end of it: 0; or of the client's stdin: 77. Any other
# code is a failure, or the end of the command.
deliver() {
	k_child=
	trap 'k_over=1; kill -KILL $k_child' USR1
	while k_n=77; read -r k_size k_many <&3; do
		[ $k_over ] && exit 1
		case $k_size in
		'?') both alive ;;
		end) exit 0 ;;
		*)
			case $k_with in
			dd) dd bs=$k_size count=$k_many iflag=fullblock <&3 & ;;
			*) head -c $((k_size * k_many)) <&3 & ;;
			esac
			k_child=$!
			# The signal may have come before there was a number.
			[ $k_over ] && kill -KILL $k_child
			await
			[ $k_n = 0 ] || break
			;;
		esac
	done
	# Without feed this is the last that holds the pipe.
	kill -0 $k_self || { kill -0 -$$ && kill -KILL 0; }
	exit $k_n
}

# await gives the code of k_child in k_n. A signal ends a wait, too.
await() {
	wait $k_child
	k_n=$?
	[ $k_over ] && wait $k_child
}

# finish ends everything in this process group but the script itself, which has to see it go, if the group is the script's own.
finish() {
	kill -0 -$$ || return
	kill -TERM 0
	for k_step in 0.1 0.4 TERM 1 1 1 1 1 KILL 1 KILL 1; do
		# Serve may be about to start one.
		if ! others; then
			sleep 0.1 || sleep 1
			release
			others || return 0
		fi
		case $k_step in
		[A-Z]*) kill -$k_step $k_others ;;
		*) sleep $k_step || sleep 1 ;;
		esac
	done
}

# others are the living processes of the group but this script's: those have $$ for a parent, or are $$, or a child of feed.
others() {
	k_others= k_served=
	for k_stat in /proc/[0-9]*/stat; do
		read -r k_n <$k_stat || continue
		k_stat=${k_stat#/proc/}
		k_stat=${k_stat%/stat}
		set -- ${k_n##*) }
		case $2/$1/$3 in
		$$/*) k_served="$k_served $k_stat" ;;
		$k_self/* | */Z/*) ;;
		*/$$) [ $k_stat = $$ ] || k_others="$k_others $k_stat" ;;
		esac
	done
	[ "$k_others" ]
}

# release ends serve, if it is still writing: the client is gone, and a full pipe stays full.
release() {
	k_served=
	# The line ends without a newline, and not every kernel has it.
	read -r k_served </proc/$$/task/$$/children
	[ "$k_served" ] || others
	for k_n in $k_served; do
		[ $k_n = $k_self ] || kill -KILL $k_n
	done
}

# serve runs the command, and tells the client how it ended.
serve() {
	# A command may signal its whole group. Its own subshell has the defaults again.
	trap : HUP INT QUIT TERM USR1
	k_code= k_feed=
	trap 'k_n=$?
	[ $k_code$k_n = 0 ] && exit
	kill -USR1 $k_feed || k_code=
	both "ended ${k_code:-failed}"' EXIT
	k_env=$(exec tr '\000\n' '\n\001' </proc/$$/environ)
	read -r k_feed k_n || exit
	[ $k_stdin = blocks ] || exec </dev/null
	if [ $k_n ]; then
		k_code=unable
	elif [ "$k_dir" ] && ! cd "$k_dir"; then
		k_code=nowhere
	elif given "$@"; then
		(as_it_is "$@")
		k_code=$?
	else
		k_code=missing
	fi
	exit $k_code
}

feed | (serve "$@")
k_n=$?
trap - EXIT
exit $k_n
