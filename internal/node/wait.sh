# The main process of a pod for commands, which run beside it.
trap 'exit 143' TERM
k_watch
