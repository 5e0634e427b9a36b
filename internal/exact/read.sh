# kshell starts a command through this script if the script that starts it is sent
# on stdin, because the request line would be too long. $0 is the length of that
# script in bytes; the other arguments are those of start.sh. The script is run
# only if it is complete: an empty script would succeed.
trap 'for k_n in 1 2; do printf "\036$2$1ended failed\n" >&$k_n; done' EXIT
unset -f dd head printf
k_script=$(PATH=$PATH:/usr/bin:/bin; exec 2>/dev/null; dd bs=$0 count=1 iflag=fullblock || head -c $0)
case $k_script in
*'#end') eval "$k_script" ;;
esac
exit 1
