# kshell lists the sessions of a container through this script. $1 are the
# directories in which the directories of agents may be, separated by colons.
# The script prints:
#
#	mounts NAME	the mount namespace of the container
#	agent DIR	the directory of an agent; the Info frames of its
#			sessions follow
#	removed DIR	the directory of an agent that was removed
#
# It removes the directories of agents without sessions. A directory in which
# something was changed less than a minute ago is kept: a session may be about to
# start there. If the container has no find, all directories are kept.
set +aeumCf
unset TMOUT
unset -f cd command echo find ls readlink rm rmdir test
PATH=${PATH:+$PATH:}/usr/bin:/bin
exec 2>/dev/null
k_n=$(readlink /proc/self/ns/mnt || ls -l /proc/self/ns/mnt)
echo "mounts ${k_n##* }"

# k_list lists the sessions of the agent in the working directory, which is
# k_dir, and removes the directory if it has none.
k_list() {
	[ -O . ] || return
	echo "agent $k_dir"
	[ -O agent ] && ./agent list
	for k_n in s-*; do
		[ -S "$k_n" ] && return
	done
	[ "$(find . -mmin -1 && echo old)" = old ] || return
	rm -f agent new-* use-*
	cd / && rmdir "$k_dir" && echo "removed $k_dir"
}
IFS=:
for k_n in $1; do
	unset IFS
	for k_dir in "$k_n"/.kshell-agent-*; do
		case ${k_dir##*/} in
		*[!0-9a-z.-]*) continue ;;
		esac
		[ -d "$k_dir" ] && [ ! -L "$k_dir" ] && (cd "$k_dir" && k_list)
	done
done
exit 0
