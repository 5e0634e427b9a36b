# kshell runs a command through this script, so that stdout and stderr themselves
# carry the outcome of the command (docs/exact.md).
#
# Arguments: $0 "kshell"; $1 and $2 the two halves of the mark, so that a list of
# processes never shows the whole mark; $3 what the client sends on stdin:
# "blocks" or "nothing"; $4 what happens to the command when the client
# disconnects: "end" or "keep"; $5 the same, if the client disconnects before it
# has sent the end of the input; $6 the working directory, or empty; $7 the number
# of variables; the variables; the command. Apart from the shell's builtins, the
# script uses only dd (or head), cat, tr, env and sleep.
#
# In a container at its process limit, any fork may fail, and the shell that
# wanted to fork exits. The parent of a lost process therefore reports it to the
# client: "ended failed" for the part that starts the command, "ended lost" for
# the part that delivers its input. The command sees the end of its input only
# after the script has read "end".
k_mark=$2$1 k_stdin=$3 k_gone=$4 k_cut=$5 k_dir=$6 k_count=$7
shift 7
trap : HUP INT QUIT TERM USR1

# feed holds open the pipe to the command's stdin. It runs until the client's
# stdin ends, that is, until the client has received everything or has
# disconnected, which may be long after the command has ended. First it writes a
# line for serve: its process ID, and a 1 if exact mode is not possible: the
# container has no tool that can count input, or the shell is mksh or another
# descendant of pdksh, in which exec does not close the pipe. serve sends it USR1
# when the command has ended.
feed() {
	exec 3<&0 </dev/null
	k_over= k_child= k_unable=
	trap 'k_over=1; kill -USR1 $k_child' USR1
	trap '' HUP INT QUIT TERM
	read -r k_self k_n </proc/self/stat || k_self=$(exec sh -c 'echo $PPID')
	case $KSH_VERSION/$k_stdin in
	*' KSH '*) k_unable=1 ;;
	*/blocks)
		k_with=dd
		if ! dd bs=1 count=0 iflag=fullblock >/dev/null; then
			k_with=head
			[ "$(printf ab | { head -c 1 >/dev/null; head -c 1; })" = b ] || k_unable=1
		fi
		deliver &
		k_child=$!
		;;
	esac
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
		*) lost ;;
		esac
	fi
	until [ $k_over ] || ! read -r k_n <&3; do
		[ "$k_n" ] && both alive
		served || [ $k_over ] || lost
	done
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

# lost reports that a process of the script is lost, and ends the command.
lost() {
	both 'ended lost'
	! finish || k_over=1
}

# deliver reads the client's messages and writes the input to the command. It
# exits with 0 after the end of the input, with 77 if the client's stdin ends
# before, and with any other code if it fails or the command has ended.
deliver() {
	k_child=
	trap 'k_over=1; kill -KILL $k_child' USR1
	while k_n=77; read -r k_size k_many <&3; do
		[ $k_over ] && exit 1
		case $k_size in
		'') served || exit 1 ;;
		'?') both alive ;;
		end) exit 0 ;;
		*)
			case $k_with in
			dd) dd bs=$k_size count=$k_many iflag=fullblock <&3 & ;;
			*) head -c $((k_size * k_many)) <&3 & ;;
			esac
			k_child=$!
			# USR1 may have arrived before k_child was set.
			[ $k_over ] && kill -KILL $k_child
			await
			[ $k_n = 0 ] || break
			;;
		esac
	done
	# If feed has died, this process is the last writer of the pipe: end the
	# process group first, so that the command sees no end of its input.
	kill -0 $k_self || { kill -0 -$$ && kill -KILL 0; }
	exit $k_n
}

# await waits for k_child and sets k_n to its exit code. A signal interrupts the
# first wait.
await() {
	wait $k_child
	k_n=$?
	[ $k_over ] && wait $k_child
}

# finish ends all other processes of this process group and waits until they are
# gone. It fails if the script does not lead the group.
finish() {
	kill -0 -$$ || return
	kill -TERM 0
	for k_step in 0.1 0.4 TERM 1 1 1 1 1 KILL 1 KILL 1; do
		# serve may be about to start a process.
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

# others sets k_others to the living processes of this process group that are not
# the script's own, and reports whether there are any. The script's own processes
# are $$, its children (listed in k_served) and the children of feed.
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

# served sets k_served to the living children of $$, which are feed and serve.
# It fails if serve is not one of them.
served() {
	k_served=
	# The file has no newline at its end, so read fails although it sets the
	# variable. Some kernels do not have the file.
	read -r k_served </proc/$$/task/$$/children
	[ "$k_served" ] || others
	case $k_served in
	*[0-9]\ [0-9]* | '') ;; # the list is empty if there is no /proc
	*) return 1 ;;
	esac
}

# release kills serve, which may still be trying to write to a full pipe: the
# client reads nothing any more.
release() {
	served
	for k_n in $k_served; do
		[ $k_n = $k_self ] || kill -KILL $k_n
	done
}

# serve runs the command and reports the outcome to the client.
serve() {
	# A command may send signals to its whole process group. In the subshell of
	# the command the signals have their default actions again.
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
	elif exists "$@"; then
		(launch "$@")
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
