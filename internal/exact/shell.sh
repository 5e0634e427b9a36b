# kshell starts a command on a terminal through this script (docs/exact.md). The
# script sets the requested variables and working directory, and sends its
# process ID, so that kshell can end the command when the client exits.
#
# Arguments:
#
#	$0	"kshell"
#	$1, $2	the second and the first half of the mark
#	$3	the working directory, or empty
#	$4	the number of variables
#	...	the variables, and then the command with its arguments; without a
#		command, the script starts the first of bash, sh and ash that exists
#
# If "?" precedes a variable, the container may not know its value. A locale is
# set only if the container has it or has a locale archive, because shells and
# programs print warnings about a locale that is missing. A terminal (TERM)
# without a terminfo entry is replaced by xterm-256color or xterm, if that has
# an entry.
trap '[ $? = 0 ] || k_both "ended failed"' EXIT
k_own=$PATH k_dir=$3 k_count=$4
shift 4
k_found sh "$PATH" || PATH=$PATH:/usr/bin:/bin
set +f
k_given=$k_count k_all=$#
# Each argument is moved to the end of the list, which keeps their order.
while [ $k_all -gt 0 ]; do
	k_n=$1
	shift
	k_all=$((k_all - 1)) k_given=$((k_given - 1))
	if [ $k_given -ge 0 ]; then
		case $k_n in
		'?TERM='*)
			k_n=${k_n#?}
			for k_value in "${k_n#*=}" xterm-256color xterm; do
				for k_file in "${TERMINFO:-/etc/terminfo}"/* ~/.terminfo/* /etc/terminfo/* /lib/terminfo/* /usr/share/terminfo/*; do
					[ -e "$k_file/$k_value" ] && k_n=TERM=$k_value && break 2
				done
			done
			;;
		'?'*)
			k_n=${k_n#?} k_value=${k_n#*=} k_file=/usr/lib/locale
			[ -e $k_file/locale-archive ] || [ -d "$k_file/$k_value" ] || [ -d "$k_file/${k_value%.*}.utf8" ] || {
				k_count=$((k_count - 1))
				continue
			}
			;;
		esac
	fi
	set -- "$@" "$k_n"
done
set -f
k_env=$(exec tr '\0\n' '\n\1' </proc/$$/environ)
if [ $# = $k_count ]; then
	for k_shell in bash sh ash /bin/bash /bin/sh; do
		if k_exists "$@" "$k_shell"; then
			set -- "$@" "$k_shell"
			break
		fi
	done
fi
if [ "$k_dir" ] && ! cd "$k_dir"; then
	k_both 'ended nowhere'
elif k_exists "$@"; then
	k_launch "$@"
else
	k_both 'ended missing'
fi
