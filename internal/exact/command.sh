# The common part of kshell's scripts. Each script replaces itself with a
# command, which then runs as if it had been started directly. A script sets
# k_mark, k_dir, and k_count, the number of variables to set for the command; if
# PATH is one of them, it is the first.
#
# No variable of the container or of the user changes what a script does: the
# names of its own variables begin with k_, the command's variables are set only
# when the command is started, and whatever the shell took from its environment
# (options, functions, the time limit of read) is reset here.
set +aefumC
unset TMOUT GLOBIGNORE
unset -f [ cat cd dd echo head kill printf read sleep tr wait
k_line='
'

# Descriptors 4 and 5 are the command's stdout and stderr. The shell's own error
# messages are discarded.
exec 4>&1 5>&2 2>/dev/null

# send MESSAGE sends a message to the client on stdout, in a single write. If the
# write fails (a full pipe in non-blocking mode), it tries again each second, up
# to 60 times.
send() {
	k_n=0
	until printf '\036%s%s\n' $k_mark "$1"; do
		k_n=$((k_n + 1))
		[ $k_n -lt 60 ] && sleep 1 || return
	done
}

# both MESSAGE sends a message on stdout and on stderr.
both() {
	send "$1" >&4
	send "$1" >&5
}

# A shell exits if it cannot fork. (bash also runs this trap when a signal
# terminates it, with status 0.)
trap '[ $? = 0 ] || both "ended failed"' EXIT

# found FILE PATH reports whether exec can run FILE: an executable file, not a
# function or a builtin. It sets k_file to the path of the file.
found() {
	case $1 in
	*/*) [ -f "$1" ] && [ -x "$1" ]; return ;;
	esac
	k_file=
	IFS=:
	set -f
	for k_n in $2; do
		k_file=${k_n:-.}/$1
		[ -f "$k_file" ] && [ -x "$k_file" ] && break
		k_file=
	done
	unset IFS
	set +f
	[ "$k_file" ]
}

# k_path is the search path for the command. If PATH does not contain sh, it does
# not contain the script's tools either: append the usual directories.
k_own=$PATH k_path=$PATH
found sh "$PATH" || PATH=$PATH:/usr/bin:/bin

# exists [NAME=VALUE...] COMMAND [ARG...] reports whether COMMAND exists. It looks
# in the PATH among the variables, if there is one.
exists() {
	case $k_count/$1 in
	[1-9]*/PATH=*) k_path=${1#PATH=} ;;
	esac
	eval "found \"\${$((k_count + 1))}\" \"\$k_path\""
}

# launch [NAME=VALUE...] COMMAND [ARG...] reports to the client that the command is
# running, and replaces the shell with the command. The command's environment is
# the one that the script was started with, plus the k_count variables in front
# of COMMAND. k_env holds the former: one variable per line, with a byte 1 for
# each newline in a value.
#
# env sets the variables that the shell itself uses or cannot set. If there is no
# env, or the command's name contains "=", which env would take for a variable,
# the shell sets the variables itself, in one line that reads none of the
# script's own variables. If the shell cannot set a variable that was asked for,
# the command is not started.
launch() {
	eval "k_value=\${$((k_count + 1))}"
	k_with=
	case $k_value in
	*=*) ;;
	*) ! found env "$PATH" || k_with=$k_file ;;
	esac
	PATH=$k_own
	unset PWD OLDPWD SHLVL _
	IFS=$k_line
	set -f
	for k_n in $k_env; do
		k_name=${k_n%%=*}
		case $k_name in
		'') continue ;;
		PWD | OLDPWD | SHLVL | k_*) ;;
		[0-9]* | *[!A-Za-z0-9_]* | _ | BASH*) [ "$k_with" ] || continue ;;
		*) [ "$k_with" ] && eval "[ \"\${$k_name-$k_mark}\" != \"\${k_n#*=}\" ]" || continue ;;
		esac
		k_one=$(printf '\001')
		k_value=
		while :; do
			case $k_n in
			*"$k_one"*) k_value=$k_value${k_n%%"$k_one"*}$k_line k_n=${k_n#*"$k_one"} ;;
			*) break ;;
			esac
		done
		set -- "$k_value$k_n" "$@"
		k_count=$((k_count + 1))
	done
	k_do= k_n=0
	case $k_count/$k_with in
	0/*) ;;
	*/?*) set -- "$k_with" -- "$@" ;;
	*)
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
