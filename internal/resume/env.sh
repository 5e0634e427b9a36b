# This part of the script is used if a variable may have a value that the container
# does not know (see Start.Env). A locale is set only if the container has it or has
# a locale archive, because shells and programs print warnings about a locale that
# is missing. A terminal (TERM) without a terminfo entry is replaced by
# xterm-256color or xterm, if that has an entry.
set +f
k_usable=$# k_rest=
# Each argument is moved to the end of the list, which keeps their order.
while [ $k_usable -gt 0 ]; do
	k_n=$1
	shift
	k_usable=$((k_usable - 1))
	case $k_rest$k_n in
	--*) k_rest=-- ;;
	'env=?TERM='*)
		k_n=${k_n#*=?TERM=}
		for k_dir in "$k_n" xterm-256color xterm; do
			for k_at in "${TERMINFO:-/etc/terminfo}"/* ~/.terminfo/* /etc/terminfo/* /lib/terminfo/* /usr/share/terminfo/*; do
				[ -e "$k_at/$k_dir" ] && k_n=$k_dir && break 2
			done
		done
		k_n=env=TERM=$k_n
		;;
	'env=?'*)
		k_n=${k_n#*=?} k_at=/usr/lib/locale
		k_dir=${k_n#*=}
		[ -e $k_at/locale-archive ] || [ -d "$k_at/$k_dir" ] || [ -d "$k_at/${k_dir%.*}.utf8" ] || continue
		k_n=env=$k_n
		;;
	esac
	set -- "$@" "$k_n"
done
set -f
