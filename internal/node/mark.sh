# Sends a heartbeat of the client with the ID $1, and prints the mark $2 to the
# shell's terminal. The client uses the mark to find its position in the
# container's log. Terminals ignore the mark.
: >"$KSHELL_STATE/beat-$1"
printf '\033_kshell %s %s\033\\\n' "$2" "$(date +%s)" >"$(cat "$KSHELL_STATE/tty")"
