# What kshell's scripts have in common: to become a command as if nobody had been before it. They set k_mark, k_env (from environment), and
# k_count, the number of variables that are given to the command.
k_line='
'

# Descriptors 4 and 5 are the command's outputs. What the shell has to say about its children is nobody's business.
exec 4>&1 5>&2 2>/dev/null

# tell WORDS says them to the client, behind all that the stream carried before: in one write, again where a full pipe does not wait.
tell() {
	k_n=0
	until printf '\036%s%s\n' "$k_mark" "$1"; do
		k_n=$((k_n + 1))
		[ "$k_n" -lt 60 ] && sleep 1 || return
	done
}

# environment is the one that the script was started with: a variable a line, and a byte 1 for each newline within.
environment() { exec tr '\000\n' '\n\001' </proc/$$/environ; }

# enter goes to the working directory that was asked for.
enter() { [ -z "$k_dir" ] || CDPATH='' cd -- "$k_dir"; }

# found FILE says whether exec will find it: a file, no function and nothing that the shell has built in.
found() {
	case $1 in
	*/*) [ -f "$1" ] && [ -x "$1" ]; return ;;
	esac
	k_code=1
	IFS=:
	set -f
	for k_n in $PATH; do
		if [ -f "${k_n:-.}/$1" ] && [ -x "${k_n:-.}/$1" ]; then
			k_code=0
			break
		fi
	done
	unset IFS
	set +f
	return "$k_code"
}

# as_it_is [NAME=VALUE...] COMMAND [ARG...] becomes the command, in the environment that the script itself was started with and k_count more
# variables.
as_it_is() {
	k_one='' k_odd=''
	for k_n in PWD OLDPWD SHLVL _; do # what shells set by themselves
		case $k_env in
		*"$k_line$k_n="*)
			k_value=${k_env#*"$k_line$k_n="}
			lines "${k_value%%"$k_line"*}"
			eval "$k_n=\$k_value; export $k_n"
			;;
		*) unset "$k_n" ;;
		esac
	done
	eval "k_value=\${$((k_count + 1))}"
	case $k_value in
	*=*) ;; # env would take it for a variable
	*)
		IFS=$k_line
		set -f
		for k_n in $k_env; do # what shells drop, for its name, or have changed
			case ${k_n%%=*} in
			'') ;; # env cannot
			[0-9]* | *[!A-Za-z0-9_]* | _ | k_* | IFS | PS[0-9] | PPID | OPTIND | OPTERR | LINENO | POSIXLY_CORRECT | SHELLOPTS | BASH*)
				lines "$k_n"
				[ "$k_odd" ] || found env || break
				k_odd=1
				set -- "$k_value" "$@"
				;;
			esac
		done
		;;
	esac
	if [ "$k_odd" ]; then
		set -- env -- "$@"
	else
		while [ "$k_count" -gt 0 ]; do
			export "$1"
			shift
			k_count=$((k_count - 1))
		done
	fi
	exec "$@" >&4 2>&5 4>&- 5>&-
}

# lines WORDS puts them into k_value, with the newlines that tr made bytes 1 of.
lines() {
	k_value=$1
	[ "$k_one" ] || k_one=$(printf '\001')
	while :; do
		case $k_value in
		*"$k_one"*) k_value=${k_value%%"$k_one"*}$k_line${k_value#*"$k_one"} ;;
		*) return ;;
		esac
	done
}
