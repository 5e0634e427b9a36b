# A heartbeat of the client with the ID $1. It also prints the mark $2 to the
# shell's terminal, by which the client finds its position in the container's
# log. Terminals ignore the mark.
: >"$KSHELL_STATE/beat-$1"
printf '\033_kshell %s %s\033\\\n' "$2" "$(date +%s)" >"$(cat "$KSHELL_STATE/tty")"
