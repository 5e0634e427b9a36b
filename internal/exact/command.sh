# The common part of kshell's scripts. Each script replaces itself with a
# command, which then runs as if it had been started directly. Each script sets:
#
#	k_own	the PATH of the container
#	k_env	the environment of the container; see k_launch
#	k_dir	the working directory of the command, or empty
#	k_count	the number of variables to set for the command; if PATH is one
#		of them, it is the first
#
# Gateways limit the length of a request line. Therefore script.Shorten removes
# the comments, replaces each name that begins with k_ by a name of two
# characters, and replaces [ ] by test.
#
# No variable of the container or of the user changes what a script does: the
# names of its own variables begin with k_, the command's variables are set only
# when the command is started, and whatever the shell took from its environment
# (options, functions, the time limit of read) is reset here.
set +aeumC -f
unset TMOUT
unset -f test cat cd kill printf read sleep tr wait
k_line='
'

# k_mark is the mark of the messages. Its two halves are separate arguments, so
# that a list of processes never shows the whole mark. Descriptors 4 and 5 are
# the command's stdout and stderr. The shell's own error messages are discarded.
k_mark=$2$1
exec 4>&1 5>&2 2>/dev/null

# k_both MESSAGE sends a message to the client on stdout and on stderr, with one
# write to each. If a write fails, because the pipe is non-blocking and full,
# k_both tries again every second.
k_both() {
	for k_n in 4 5; do
		until printf '\036%s%s\n' $k_mark "$1" >&$k_n; do
			sleep 1 || break
		done
	done
}

# k_found FILE PATH reports whether exec can run FILE: an executable file, not a
# function or a builtin. It sets k_file to the path of the file.
k_found() {
	IFS=:
	for k_n in $2; do
		k_file=${k_n:-.}/$1
		case $1 in
		*/*) k_file=$1 ;;
		esac
		[ -f "$k_file" ] && [ -x "$k_file" ] && break
		k_file=
	done
	unset IFS
	[ "$k_file" ]
}

# k_exists [NAME=VALUE...] COMMAND [ARG...] reports whether COMMAND exists. It
# looks in the PATH among the variables, if there is one.
k_exists() {
	k_path=$k_own
	case $k_count/$1 in
	[1-9]*/PATH=*) k_path=${1#PATH=} ;;
	esac
	eval 'k_found "${'$((k_count + 1))'}" "$k_path"'
}

# k_launch [NAME=VALUE...] COMMAND [ARG...] reports to the client that the
# command is running, and replaces the shell with the command. The command gets
# the environment that the script was started with, and the k_count variables
# before COMMAND. k_env contains that environment: one variable per line, with a
# byte 1 for each newline in a value.
#
# env sets the variables that the shell itself uses or cannot set. The shell
# sets the variables itself if there is no env, or if the command's name
# contains "=", because env would take the name for a variable. It sets them in
# one line that reads none of the script's own variables. If the shell cannot
# set one of the k_count variables, the command is not started. mksh sets _ for
# each program that it starts, including env, so env removes _ (-u_).
k_launch() {
	eval 'k_n=${'$((k_count + 1))'}'
	k_file=
	case $k_n in
	*=*) ;;
	*) k_found env "$PATH" ;;
	esac
	k_do= k_all=$k_env
	PATH=$k_own
	unset PWD OLDPWD SHLVL _ k_env k_script k_with
	IFS=$k_line
	for k_n in $k_all; do
		k_name=${k_n%%=*}
		case $k_name in
		'') continue ;;
		PWD | OLDPWD | SHLVL | k_*) ;;
		[0-9]* | *[!A-Za-z0-9_]* | _ | BASH*) [ "$k_file" ] || continue ;;
		*) [ "$k_file" ] && eval "[ \"\${$k_name-$k_mark}\" != \"\${k_n#*=}\" ]" || continue ;;
		esac
		case $k_n in
		*[![:print:]]*) k_n=$(printf %sx "$k_n" | tr '\1' '\n') k_n=${k_n%x} ;;
		esac
		set -- "$k_n" "$@"
		k_count=$((k_count + 1))
	done
	case $k_file in
	?*) [ "$k_count$KSH_VERSION" = 0 ] || set -- "$k_file" ${KSH_VERSION:+-u_} -- "$@" ;;
	*)
		k_n=0
		while [ $k_n -lt $k_count ]; do
			k_n=$((k_n + 1))
			eval "k_name=\${$k_n%%=*}"
			k_do="$k_do export \"\${$k_n}\"; [ \"\$$k_name\" = \"\${$k_n#*=}\" ] || exit;"
		done
		k_do="$k_do shift $k_count;"
		;;
	esac
	eval "$k_do printf '\\036${k_mark}running $$\\n' >&5 || exit; exec \"\$@\" >&4 2>&5 4>&- 5>&-"
}
