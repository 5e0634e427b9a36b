# kshell runs a command through this script, so that the streams themselves say how it ended (docs/exact.md).
#
# $0 is kshell; $1 and $2 the mark, in two halves, so that no list of processes shows it whole; $3 what stdin brings: "blocks" or
# "nothing"; $4 what becomes of the command when the client goes away: "end" or "keep"; $5 the same, before the end of its
# input was told; $6 the working directory, or nothing; $7 how many variables follow; they; then the command. Only what a shell has
# built in is used, but for dd (or head), cat, tr, env and sleep.
k_mark=$2$1 k_stdin=$3 k_gone=$4 k_cut=$5 k_dir=$6 k_count=$7
shift 7
trap : HUP INT QUIT TERM USR1

# feed reads what the client sends, and hands the command its input through a pipe to serve. It outlives the command: the end of the
# client's stdin says that the client has everything, or is gone.
feed() {
	exec 3<&0 </dev/null
	k_over='' k_block=''
	trap 'k_over=1; [ -z "$k_block" ] || kill -KILL "$k_block"' USR1
	trap '' HUP INT QUIT TERM
	cd -P /proc/self && k_self=${PWD##*/} || k_self=$(exec sh -c 'echo $PPID')
	k_with=dd
	if [ "$k_stdin" = blocks ] && ! dd bs=1 count=0 iflag=fullblock >/dev/null; then
		k_with=head
		[ "$(printf ab | { head -c 1 >/dev/null; head -c 1; })" = b ] || k_self=-
	fi
	echo "$k_self"
	while read -r k_size k_count <&3; do
		[ -z "$k_over" ] || break
		case $k_size in
		'?') tell alive >&4; tell alive >&5 ;;
		end) k_cut=$k_gone; exec >/dev/null ;;
		*) unpack || break ;;
		esac
	done
	cat <&3 >/dev/null || while read -r k_n <&3; do :; done
	if [ -z "$k_over" ] && [ "$k_cut" = keep ]; then
		exec >/dev/null # the command's end of file
		while [ -z "$k_over" ]; do sleep 5 & wait $!; done
	elif [ -z "$k_over" ]; then
		finish
	fi
	release
}

# unpack moves the next block: k_count times k_size bytes.
unpack() {
	case $k_with in
	dd) dd bs="$k_size" count="$k_count" iflag=fullblock <&3 & ;;
	head) head -c "$((k_size * k_count))" <&3 & ;;
	esac
	k_block=$!
	[ -z "$k_over" ] || kill -KILL "$k_block" # the signal came before there was a number
	wait "$k_block"
	k_n=$?
	[ -z "$k_over" ] || wait "$k_block" # a signal ends a wait, too
	k_block=''
	return "$k_n"
}

# finish ends everything in this process group, if the group is the script's own, but for the script itself: it has to see them go.
finish() {
	read -r k_line </proc/self/stat
	set -- ${k_line##*) }
	[ "$3" = $$ ] || return
	kill -TERM 0
	for k_n in 0.1 0.4 TERM 1 1 1 1 1 KILL 1 KILL 1; do
		if ! others; then # but serve may be about to start one
			sleep 0.1 || sleep 1
			release
			others || return
		fi
		case $k_n in
		[A-Z]*) kill -"$k_n" $k_others ;;
		*) sleep "$k_n" || sleep 1 ;;
		esac
	done
}

# others are the living processes of the group but this script's: those have $$ for a parent, or are $$, or a child of feed.
others() {
	k_others=''
	for k_stat in /proc/[0-9]*/stat; do
		read -r k_line <"$k_stat" || continue
		set -- ${k_line##*) }
		[ "$3" = $$ ] && [ "$1" != Z ] && [ "$2" != $$ ] && [ "$2" != "$k_self" ] || continue
		k_pid=${k_stat#/proc/}
		[ "${k_pid%/stat}" = $$ ] || k_others="$k_others ${k_pid%/stat}"
	done
	[ "$k_others" ]
}

# release ends serve, if it still tries to be heard: nobody listens any more, and a pipe that is full stays so.
release() {
	k_n=''
	read -r k_n </proc/$$/task/$$/children # which ends without a newline
	if [ -z "$k_n" ]; then                 # not every kernel has it
		for k_stat in /proc/[0-9]*/stat; do
			read -r k_line <"$k_stat" || continue
			k_pid=${k_stat#/proc/}
			set -- ${k_line##*) }
			[ "$2" != $$ ] || k_n="$k_n ${k_pid%/stat}"
		done
	fi
	for k_pid in $k_n; do
		[ "$k_pid" = "$k_self" ] || kill -KILL "$k_pid"
	done
}

# serve runs the command, and says how it ended.
serve() {
	# A command may signal its whole group. Its own subshell has the defaults again.
	trap : HUP INT QUIT TERM USR1
	k_env=$k_line$(environment)$k_line
	read -r k_feed
	if [ "$k_feed" = - ]; then
		k_code=unable
	elif ! enter; then
		k_code=nowhere
	elif eval "found \"\${$((k_count + 1))}\""; then
		tell "running $$" >&5
		case $k_stdin in
		blocks) (as_it_is "$@") ;;
		*) (as_it_is "$@") </dev/null ;;
		esac
		k_code=$?
	else
		k_code=missing
	fi
	kill -USR1 "$k_feed"
	tell "ended $k_code" >&4
	tell "ended $k_code" >&5
	return "$k_code"
}

feed | serve "$@"
