# What kshell's scripts have in common: they become a command as if it had been started directly. They set k_mark, k_dir, and k_count, the
# number of variables that are given to the command, a PATH as the first. No variable of the container or of the user changes what they do: their own variables
# begin with k_, a command's are set by what starts it, and what a shell takes from its environment (options, functions, a time limit for
# read) is put back first.
set +aefumC
unset TMOUT GLOBIGNORE
unset -f [ cat cd dd echo head kill printf read sleep tr wait
k_line='
'

# Descriptors 4 and 5 are the command's outputs. What the shell itself complains of is not part of them.
exec 4>&1 5>&2 2>/dev/null

# tell WORDS sends them to the client on stdout, after everything written before: in one write, and again while a full pipe does not wait.
tell() {
	k_n=0
	until printf '\036%s%s\n' $k_mark "$1"; do
		k_n=$((k_n + 1))
		[ $k_n -lt 60 ] && sleep 1 || return
	done
}

# both WORDS sends them on both outputs.
both() {
	tell "$1" >&4
	tell "$1" >&5
}

# A shell that cannot fork exits. (bash also comes here when a signal ends it, with a status of 0.)
trap '[ $? = 0 ] || both "ended failed"' EXIT

# found FILE PATH reports whether exec will find it: a file, no function and nothing built into the shell. k_file is where it is.
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

# k_path is where the command is looked up. Where sh is not there, the script's own tools are not either.
k_own=$PATH k_path=$PATH
found sh "$PATH" || PATH=$PATH:/usr/bin:/bin

# given [NAME=VALUE...] COMMAND [ARG...] reports whether there is such a command.
given() {
	case $k_count/$1 in
	[1-9]*/PATH=*) k_path=${1#PATH=} ;;
	esac
	eval "found \"\${$((k_count + 1))}\" \"\$k_path\""
}

# as_it_is [NAME=VALUE...] COMMAND [ARG...] tells the client that the command runs, and becomes it, in the environment that the script was
# started with (k_env: a variable a line, and a byte 1 for each newline in it) and k_count more variables. env sets what a shell has names
# of its own for. Where there is no env, or it would take the command for a variable, one line does what it can: it uses no variable of the
# script's, and starts no command without a variable that was asked for.
as_it_is() {
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
