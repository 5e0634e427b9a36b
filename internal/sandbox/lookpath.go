package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// defaultPath is the PATH of containers if the sandbox itself has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func searchPath(root string) string {
	if root != "" {
		return filepath.Join(root, "bin")
	}
	if p := os.Getenv("PATH"); p != "" {
		return p
	}
	return defaultPath
}

// lookPath returns the path of the executable file for name, the first word of
// a command. Its errors are those of a container runtime. If root is not "",
// lookPath looks for an absolute name below root.
func lookPath(name, dir, root, searchPath string) (string, error) {
	if strings.Contains(name, "/") {
		path := name
		switch {
		case !filepath.IsAbs(path):
			path = filepath.Join(dir, path)
		case root != "" && !strings.HasPrefix(path, root+"/"):
			path = filepath.Join(root, path)
		}
		info, err := os.Stat(path)
		var errno syscall.Errno
		switch {
		case err == nil && executable(info):
			return path, nil
		case err == nil || errors.Is(err, fs.ErrPermission):
			return "", errCannotRun("exec: %q: permission denied", name)
		case errors.As(err, &errno):
			return "", errCannotRun("exec: %q: stat %s: %w", name, name, errno)
		default:
			return "", errCannotRun("exec: %q: %w", name, err)
		}
	}
	for d := range strings.SplitSeq(searchPath, ":") {
		if d == "" || name == "" {
			continue
		}
		path := filepath.Join(d, name)
		if info, err := os.Stat(path); err == nil && executable(info) {
			return path, nil
		}
	}
	return "", errCannotRun("exec: %q: executable file not found in $PATH", name)
}

func executable(info fs.FileInfo) bool { return info.Mode().IsRegular() && info.Mode()&0o111 != 0 }

// errCannotRun formats an error and wraps it in the messages that containerd
// and runc add.
func errCannotRun(format string, args ...any) error {
	return fmt.Errorf("failed to exec in container: failed to start exec %q: OCI runtime exec failed: exec failed: "+
		"unable to start container process: %w: unknown", randomName(16), fmt.Errorf(format, args...))
}
