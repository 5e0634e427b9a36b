# kshell runs a command through this script, which reports the outcome of the
# command on stdout and stderr (docs/exact.md).
#
# Arguments:
#
#	$1, $2	the second and the first half of the mark
#	$3	what the client sends on stdin: "blocks" or "nothing"
#	$4	what happens to the command when the client disconnects: "end" or
#		"keep"
#	$5	the same, if the client disconnects before it has sent the end of
#		the input
#	$6	the working directory, or empty
#	$7	the number of variables
#	...	the variables, and then the command with its arguments
#
# The variable k_script contains the script. Apart from the shell's builtins,
# the script uses only dd (or head), cat, tr, env and sleep.
#
# The script has two parts. The first part starts the command, and is in the
# request: command.sh, this file, blocks_first.sh if there is input, main.sh, and
# nothing.sh or blocks.sh. The client sends the rest on stdin when the command is
# running, or when blocks_first.sh requests it: rest.sh, and nothing_rest.sh or
# blocks_rest.sh.
#
# In a container at its process limit, any fork may fail, and a shell that
# cannot fork exits. Therefore the parent of each process of the script reports
# to the client that the process is lost: "ended failed" for the part that
# starts the command, "ended lost" for the part that delivers its input. The
# command sees the end of its input only after the script has read "end".

# k_end is the EXIT trap of the shell that runs the command. The trap sends USR1
# to k_feed, and then reports the outcome. It also runs if the shell cannot
# fork, and, in bash, with status 0 if a signal terminates the shell. In
# nothing.sh, the trap then waits for the process $!, which runs k_rest, and
# sends it another USR1 each time it receives USR1 itself.
k_code= k_feed= k_over=
k_end='[ $k_code$? = 0 ] && exit
kill -USR1 $k_feed || k_code=
k_both "ended ${k_code:-failed}"
while kill -USR1 $!; do wait $!; done'
trap "$k_end" EXIT
