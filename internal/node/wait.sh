# Commands are run beside this process, which does nothing.
trap 'exit 143' TERM
k_watch
