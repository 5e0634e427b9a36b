package exact

// NoneLeft is the exit code of ProbeCommand when no command is left in the container.
const NoneLeft = 3

// ProbeCommand is a command that says whether any command that was started in the container from outside still runs there, itself and the
// container's own first process aside. Such a command has no parent there. Where the container sees the node's processes, or has
// no /proc, it says nothing: only NoneLeft is an answer.
func ProbeCommand() []string {
	return []string{"sh", "-c", `[ "$PPID" = 0 ] || exit 2
for p in /proc/[0-9]*; do
read -r l <"$p/stat" || continue
set -- ${l##*) }
[ "$2" = 0 ] && [ "$1" != Z ] && [ "$p" != /proc/1 ] && [ "$p" != "/proc/$$" ] && exit 0
done
exit 3`}
}
