# Runs a command on the node. $1 is the way to enter it: auto, enter, chroot or
# view. $2 are the flags of nsenter for the namespaces to enter. The command
# follows.
k_entry=$1 k_namespaces=$2 k_tool=''
shift 2
k_works() { "$@" sh -c : </dev/null >/dev/null 2>&1; }
if [ "$k_entry" = auto ]; then
	k_entry=view
	if k_works nsenter -t 1 $k_namespaces --; then
		k_entry=enter
	elif k_works chroot "$KSHELL_HOST"; then
		k_entry=chroot
	fi
fi
echo "$k_entry" >"$KSHELL_STATE/how"
case $k_entry in
view) exec "$@" ;;
enter) k_tool=nsenter && set -- -t 1 $k_namespaces -- "$@" ;;
chroot) k_tool=chroot && set -- "$KSHELL_HOST" "$@" ;;
esac
# The command on the node gets only the terminal's variables from the
# environment of the image.
exec env -i HOME=/root USER=root LOGNAME=root ${TERM:+"TERM=$TERM"} ${COLORTERM:+"COLORTERM=$COLORTERM"} \
	PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin \
	"$(command -v "$k_tool" || echo "$k_tool")" "$@"
