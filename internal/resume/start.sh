# kshell starts the session agent in a container through this script
# (docs/resume.md). The script reports on stdout what kshell needs to know, one
# fact per line. The last line is one of:
#
#	start DIR	the agent in the directory DIR runs; its frames follow
#	ready		no agent can be used; kshell sends upload.sh, and a line "."
#
# Arguments:
#
#	$1	the output of "agent -check" of the right agent
#	$2	the beginning of the names of the agent's directories
#	$3	the rest of the name of a new directory
#	$4	the directories to try, separated by colons; after an empty element,
#		those whose agents are used only if none of the others is writable
#	$5	the ID of the session
#	...	the other options of "agent start", "--", and the command
#
# Descriptors 4 and 5 are the stdout and stderr of the script, and descriptor 8
# is the agent's directory. Apart from the shell's builtins, this part of the
# script needs no programs. The names of its variables begin with k_, because
# the script must not change the variables of the container.
set +aeumC -f
unset TMOUT
unset -f busybox cat cd chmod command dd echo gunzip gzip head mkdir read rm rmdir test uname
PATH=${PATH:+$PATH:}/usr/bin:/bin
exec 4>&1 5>&2 2>/dev/null
k_check=$1 k_name=$2 k_new=$3 k_dirs=$4 k_id=$5
shift 5
# The command follows.

# k_open sets k_at to a path of the directory that descriptor 8 refers to: a
# path that does not change if another user renames the directory k_dir.
# Without /proc, it is k_dir. k_open fails if the directory belongs to another
# user.
k_open() {
	k_at=/proc/$$/fd/8
	[ -e $k_at/. ] || k_at=$k_dir
	[ -O "$k_at/." ]
}

# k_use OPTION... replaces the shell with the agent in the directory k_dir, which
# starts the session. It returns if the file is not the right agent. If the
# session exists, because an earlier connection was lost at this moment, the
# agent only attaches to it. The file use-ID prevents the last session of the
# directory from removing the directory before this session has begun.
#
# A shell may ignore signals that its child processes do not ignore, so the agent
# gets /proc/self/status of a child process.
k_use() {
	k_open && [ -O "$k_at/agent" ] || return
	[ -S "$k_at/s-$k_id" ] || true >"$k_at/use-$k_id" || return
	k_n=$("$k_at/agent" -check 2>&1)
	[ "$k_n" = "$k_check" ] || { rm -f "$k_at/use-$k_id"; return; }
	export KSHELL_AGENT_ENVIRON="$("$k_at/agent" -environ status="$(cat /proc/self/status)")"
	k_n=start
	[ -S "$k_at/s-$k_id" ] && k_n=attach
	echo "start $k_dir"
	exec "$k_at/agent" $k_n dir="$k_dir" id=$k_id remove=1 "$@" 2>&5 4>&- 5>&-
}

# The ELF header of the shell contains the architecture, if there is no uname.
k_n=$(uname -m) && echo "machine $k_n" || {
	echo elf
	head -c 20 </proc/self/exe || dd bs=20 count=1 </proc/self/exe
	echo
}
k_tools=
for k_n in busybox cat chmod dd gunzip gzip head mkdir rm rmdir; do
	command -v $k_n >/dev/null && k_tools="$k_tools $k_n"
done
echo "tools$k_tools"

# The limits of the container, and what it uses, in cgroup v2 and v1.
for k_n in memory.max memory.current pids.max pids.current memory/memory.limit_in_bytes memory/memory.usage_in_bytes \
	pids/pids.max pids/pids.current; do
	read -r k_dir </sys/fs/cgroup/$k_n && echo "$k_n $k_dir"
done
for k_n in memory.stat memory/memory.stat; do
	while read -r k_n k_dir; do
		case $k_n in
		*inactive_file) echo "$k_n $k_dir" ;;
		esac
	done </sys/fs/cgroup/$k_n
done

k_usable= k_skip=
IFS=:
for k_n in $k_dirs; do
	[ "$k_n" ] || k_skip=$k_usable
	[ -d "$k_n" ] && [ -w "$k_n" ] && [ -x "$k_n" ] || continue
	echo "dir $k_n"
	k_usable=$k_usable$k_n:
	[ ! "$k_skip" ] || continue
	set +f
	for k_dir in "$k_n/$k_name"*; do
		[ -d "$k_dir" ] && [ ! -L "$k_dir" ] && [ -O "$k_dir" ] && k_use "$@" 8<"$k_dir"
	done
done
unset IFS
set -f
echo ready
k_rest=
while read -r k_n; do
	[ "$k_n" != . ] || eval "$k_rest"
	k_rest="$k_rest
$k_n"
done
exit 1
