# The kshell with the id $1 leaves the shell. It succeeds if there are others.
rm -f "$KSHELL_STATE/beat-$1"
for k_beat in "$KSHELL_STATE"/beat-*; do
	[ ! -e "$k_beat" ] || exit 0
done
exit 1
