# The client sends this before the rest of the script if it has short input at that
# time. k_rest runs it like the rest of the script, and then continues to read, because
# the assignments discard these lines. The client replaces %s by a format of printf.
printf '%s'
k_late= k_n=
