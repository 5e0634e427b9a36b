package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sort"
	"strings"
)

// packages maps each Debian package that the cluster needs to a file that
// exists if the package is installed. The file of busybox-static is not its
// program, because the package busybox has a program with the same path. The
// program of the package busybox is linked dynamically, and so does not run in
// an image.
var packages = map[string]string{
	"etcd-server":                 "/usr/bin/etcd",
	"containerd":                  "/usr/bin/containerd",
	"runc":                        "/usr/sbin/runc",
	"containernetworking-plugins": "/usr/lib/cni/bridge",
	"busybox-static":              "/var/lib/dpkg/info/busybox-static.list",
	"bash-static":                 "/bin/bash-static",
	"tini":                        "/usr/bin/tini",
	"iproute2":                    "/sbin/ip",
	"util-linux":                  "/usr/bin/nsenter",
	"haproxy":                     "/usr/sbin/haproxy",
	"nginx-light":                 "/usr/sbin/nginx",
}

func lacking() []string {
	var list []string
	for name, file := range packages {
		if _, err := os.Stat(file); err != nil {
			list = append(list, name)
		}
	}
	sort.Strings(list)
	return list
}

// noServices is a file that prevents Debian from starting services that are
// installed: the cluster runs its own etcd and containerd.
const noServices = "/usr/sbin/policy-rc.d"

// installPackages installs missing Debian packages, and logs that.
func (c *Cluster) installPackages(ctx context.Context) error {
	missing := lacking()
	if len(missing) == 0 {
		return nil
	}
	if _, err := os.Stat("/usr/bin/apt-get"); err != nil {
		return fmt.Errorf("this machine lacks %s and has no apt-get to install them", strings.Join(missing, ", "))
	}
	c.say("installing Debian packages: %s", strings.Join(missing, " "))
	if _, err := os.Stat(noServices); errors.Is(err, os.ErrNotExist) {
		err := os.WriteFile(noServices, []byte("#!/bin/sh\nexit 101\n"), 0o755) //nolint:gosec // it is a script
		if err != nil {
			return err
		}
		defer func() { _ = os.Remove(noServices) }()
	}
	apt := []string{"env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"}
	if err := c.run(ctx, append(apt, "update")...); err != nil {
		return err
	}
	install := slices.Concat(apt, []string{"install", "-y", "--no-install-recommends"}, missing)
	if err := c.run(ctx, install...); err != nil {
		return err
	}
	if missing := lacking(); len(missing) > 0 {
		return fmt.Errorf("apt-get succeeded, but files of these packages are missing: %s", strings.Join(missing, ", "))
	}
	return nil
}
