# A mark in what the shell prints, by which kshell finds its place again in the container's log: no terminal shows it.
printf '\033_kshell %s %s\033\\\n' "$1" "$(date +%s)" >"$(cat "$KSHELL_STATE/tty")"
