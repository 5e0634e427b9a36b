# From the image to the node: $1 is how, $2 are the namespaces to enter (nsenter's flags); then the command, or nothing for a login shell.
k_how=$1 k_into=$2 k_tool=''
shift 2
k_leads() { "$@" sh -c : </dev/null >/dev/null 2>&1; }
if [ "$k_how" = auto ]; then
	k_how=view
	if k_leads nsenter -t 1 $k_into --; then
		k_how=enter
	elif k_leads chroot "$KSHELL_HOST"; then
		k_how=chroot
	fi
fi
echo "$k_how" >"$KSHELL_STATE/how"
[ $# -gt 0 ] || set -- sh -c 'cd; command -v bash >/dev/null && exec bash -l; exec sh -l'
case $k_how in
view) exec "$@" ;;
enter) k_tool=nsenter && set -- -t 1 $k_into -- "$@" ;;
chroot) k_tool=chroot && set -- "$KSHELL_HOST" "$@" ;;
esac
# Of the image's environment nothing is the node's but the terminal.
exec env -i HOME=/root USER=root LOGNAME=root ${TERM:+"TERM=$TERM"} ${COLORTERM:+"COLORTERM=$COLORTERM"} \
	PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/run/current-system/sw/bin \
	"$(command -v "$k_tool" || echo "$k_tool")" "$@"
