#!/bin/bash
# Sets up a node of the cluster from the inside. It is started as PID 1 of new
# pid, mount, net, uts and ipc namespaces.
#
#   node.sh join  NAME STATE BIN   move this process to the node's cgroups, and exec tini in a cgroup namespace
#   node.sh setup NAME STATE BIN   as the child of tini: build the node's root, switch to it, and sleep
#
# STATE is the directory of the node, BIN that of the Kubernetes binaries. All
# paths are those of the host.
set -euo pipefail
step=$1 name=$2 state=$3 bin=$4
cg=/sys/fs/cgroup group=kshell-e2e-$name

join() {
	local h
	if [ -f $cg/cgroup.controllers ]; then # version 2
		mkdir -p $cg/$group
		echo $$ >$cg/$group/cgroup.procs
	else
		for h in $(hierarchies); do
			mkdir -p $cg/$h/$group
			if [ -f $cg/$h/cpuset.cpus ]; then
				cat $cg/$h/cpuset.cpus >$cg/$h/$group/cpuset.cpus
				cat $cg/$h/cpuset.mems >$cg/$h/$group/cpuset.mems
			fi
			echo $$ >$cg/$h/$group/cgroup.procs
		done
	fi
	exec unshare --cgroup -- tini -g -- bash "$0" setup "$name" "$state" "$bin"
}

# hierarchies prints the directories of all mounted version 1 hierarchies.
hierarchies() {
	local d
	for d in $cg/*/; do
		d=${d%/}
		if [ ! -L "$d" ] && [ -f "$d/cgroup.procs" ]; then echo "${d##*/}"; fi
	done
}

# cgroups mounts the node's part of the cgroup tree at $1. In a cgroup namespace,
# it looks like the whole tree.
cgroups() {
	local h options
	if [ -f $cg/cgroup.controllers ]; then
		mount -t cgroup2 cgroup2 "$1"
		# A cgroup that delegates controllers must not contain processes.
		mkdir -p "$1/init"
		while read -r h; do echo "$h" >"$1/init/cgroup.procs" || true; done < <(cat "$1/cgroup.procs")
		for h in $(cat "$1/cgroup.controllers"); do echo "+$h" >"$1/cgroup.subtree_control" || true; done
		return
	fi
	mount -t tmpfs -o mode=755 tmpfs "$1"
	for h in $(hierarchies); do
		mkdir "$1/$h"
		if [ -f "$cg/$h/cgroup.controllers" ]; then
			mount -t cgroup2 cgroup2 "$1/$h"
			continue
		fi
		options=$(findmnt -n -o FS-OPTIONS --target "$cg/$h" | tr , '\n' | grep -vx 'rw\|ro\|clone_children\|release_agent=.*' | paste -sd,)
		mount -t cgroup -o "$options" cgroup "$1/$h"
	done
}

setup() {
	local root=$state/root/merged pair tunable
	mount --make-rprivate /
	# The root is the host's file system. Writes go to memory.
	mount -t tmpfs -o mode=755,size=512m tmpfs "$state/root"
	mkdir "$state"/root/{upper,work,merged}
	mount -t overlay -o "lowerdir=/,upperdir=$state/root/upper,workdir=$state/root/work" overlay "$root"
	mount -t proc proc "$root/proc"
	mount --bind /dev "$root/dev"
	mount -t devpts -o newinstance,mode=620,gid=5,ptmxmode=666 devpts "$root/dev/pts"
	mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
	mount -t sysfs sysfs "$root/sys"
	cgroups "$root/sys/fs/cgroup"
	mount -t tmpfs -o mode=755 tmpfs "$root/run"
	mount -t tmpfs tmpfs "$root/tmp"
	for pair in containerd:var/lib/containerd kubelet:var/lib/kubelet log:var/log cni:etc/cni/net.d etc:etc/kubernetes; do
		mkdir -p "$root/${pair#*:}"
		mount --bind "$state/${pair%%:*}" "$root/${pair#*:}"
	done
	mkdir -p "$root/opt/kube"
	mount --bind "$bin" "$root/opt/kube"

	hostname "$name"
	rm -f "$root"/etc/{hostname,hosts,resolv.conf,machine-id}
	echo "$name" >"$root/etc/hostname"
	printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >"$root/etc/hosts"
	# No DNS server listens there: lookups fail at once, and do not leave the machine.
	echo 'nameserver 10.77.0.1' >"$root/etc/resolv.conf"
	echo -n "$name" | md5sum | cut -d' ' -f1 >"$root/etc/machine-id"

	# The kubelet requires these kernel settings, which belong to the whole machine:
	# show it the required values.
	mkdir "$root/run/sysctl"
	for tunable in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
		kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
		mkdir -p "$root/run/sysctl/${tunable%/*}"
		echo "${tunable#*=}" >"$root/run/sysctl/${tunable%=*}"
		mount --bind "$root/run/sysctl/${tunable%=*}" "$root/proc/sys/${tunable%=*}"
	done

	# A process that enters the node keeps its cgroups: `/run/join COMMAND` moves it
	# to those of the node. `/run/daemon NAME COMMAND` starts COMMAND as a child of
	# PID 1, and writes its pid to /run/NAME.pid.
	cat >"$root/run/join" <<-'END'
		#!/bin/sh
		for procs in /sys/fs/cgroup/*/cgroup.procs; do
			if [ -d /sys/fs/cgroup/init ] && [ "$procs" != /sys/fs/cgroup/init/cgroup.procs ]; then continue; fi
			echo $$ >"$procs"
		done
		exec "$@"
	END
	cat >"$root/run/daemon" <<-'END'
		#!/bin/sh
		name=$1
		shift
		setsid "$@" </dev/null &
		echo $! >"/run/$name.pid"
	END
	chmod 755 "$root/run/join" "$root/run/daemon"

	mkdir "$root/run/old"
	cd "$root"
	pivot_root . run/old
	cd /
	umount -l /run/old
	rmdir /run/old
	mount --make-rshared / # as on a real machine
	ip link set lo up
	echo 1 >/proc/sys/net/ipv4/ip_forward
	touch /run/node-ready
	exec sleep infinity
}

$step
