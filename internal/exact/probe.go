package exact

// NoneLeft is the exit code of ProbeCommand if no other command is running.
const NoneLeft = 3

// ProbeCommand returns a command that, run in the container by an exec request,
// exits with NoneLeft if no command of another exec request is running there.
// The command looks in /proc for processes without a parent in the container,
// other than itself and process 1. It cannot find them if there is no /proc, or
// if the container shares the node's processes, so that the command itself has
// a parent. It then exits with a code other than NoneLeft. Therefore only
// NoneLeft is a reliable answer.
func ProbeCommand() []string {
	return []string{"sh", "-c", `[ "$PPID" = 0 ] && [ -e "/proc/$$/stat" ] || exit 2
for p in /proc/[0-9]*; do
read -r l <"$p/stat" || continue
set -- ${l##*) }
[ "$2" = 0 ] && [ "$1" != Z ] && [ "$p" != /proc/1 ] && [ "$p" != "/proc/$$" ] && exit 0
done
exit 3`}
}
