# The main process of a pod for commands. The commands run next to it.
trap 'exit 143' TERM
k_watch
