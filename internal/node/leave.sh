# Removes the client with the ID $1 from the clients of the shell. The exit code
# is 0 if other clients are attached.
rm -f "$KSHELL_STATE/beat-$1"
for k_beat in "$KSHELL_STATE"/beat-*; do
	[ ! -e "$k_beat" ] || exit 0
done
exit 1
