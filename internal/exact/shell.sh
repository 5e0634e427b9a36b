# kshell starts a command on a terminal through this script (docs/exact.md): with the variables and in the directory that were asked for, and
# after it has said which process it is, so that kshell can end it when it goes.
#
# $0 kshell; $1 and $2 the mark in two halves; $3 the working directory, or nothing; $4 how many variables follow; they; then the command,
# or nothing for the best shell there is. A variable behind a "?" is a locale that is only set where the container has it: shells and
# programs complain of others.
k_mark=$2$1 k_dir=$3 k_count=$4
shift 4
k_given=$k_count k_all=$#
# Each argument goes to the end of the line, so that they come out as they were.
while [ "$k_all" -gt 0 ]; do
	k_n=$1
	shift
	k_all=$((k_all - 1)) k_given=$((k_given - 1))
	if [ "$k_given" -ge 0 ]; then
		case $k_n in
		'?'*)
			k_n=${k_n#?} k_value=${k_n#*=}
			if ! [ -e /usr/lib/locale/locale-archive ] && ! [ -d "/usr/lib/locale/$k_value" ] && ! [ -d "/usr/lib/locale/${k_value%.*}.utf8" ]; then
				k_count=$((k_count - 1))
				continue
			fi
			;;
		esac
	fi
	set -- "$@" "$k_n"
done
k_env=$(exec tr '\000\n' '\n\001' </proc/$$/environ)
if [ $# = "$k_count" ]; then
	for k_shell in bash sh ash /bin/bash /bin/sh; do
		if given "$@" "$k_shell"; then
			set -- "$@" "$k_shell"
			break
		fi
	done
fi
if [ "$k_dir" ] && ! cd "$k_dir"; then
	tell 'ended nowhere' >&4
elif given "$@"; then
	as_it_is "$@"
else
	tell 'ended missing' >&4
fi
