package resume

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// probeStart is a Start whose agents are one byte.
func probeStart(dirs ...string) *Start {
	return &Start{ID: NewID(), Dirs: dirs, Build: "build", Agent: func(goarch string) []byte {
		if goarch == "amd64" || goarch == "arm64" {
			return []byte("x")
		}
		return nil
	}}
}

func TestProbe(t *testing.T) {
	const (
		mounts = "exec /\nnoexec /tmp\nexec /tmp/deep\nnoexec /with\\040space\n"
		amd64  = "machine x86_64\n"
		tools  = "tools cat chmod dd gzip mkdir rm rmdir\n"
	)
	for name, c := range map[string]struct {
		output string
		want   Facts
		reason string // part of the reason of the *UnableError; "" means success
	}{
		"usable": {
			mounts + amd64 + tools + "dir /data\nready\n", Facts{Arch: "amd64", Dirs: []string{"/data"}}, "",
		},
		"one directory is noexec": {
			mounts + amd64 + tools + "dir /tmp\ndir /tmp/deep/er\nready\n",
			Facts{Arch: "amd64", Dirs: []string{"/tmp/deep/er"}, NoExec: []string{"/tmp"}},
			"",
		},
		"all directories are noexec": {
			mounts + amd64 + tools + "dir /tmp\ndir /with space\nready\n",
			Facts{Arch: "amd64", NoExec: []string{"/tmp", "/with space"}},
			"noexec: /tmp, /with space",
		},
		"no mounts are known": {
			amd64 + tools + "dir /tmp\nready\n", Facts{Arch: "amd64", Dirs: []string{"/tmp"}}, "",
		},
		"no directory": {mounts + amd64 + tools + "ready\n", Facts{Arch: "amd64"}, "no directory can be written"},
		"no tools": {
			amd64 + "tools cat\ndir /tmp\nready\n",
			Facts{Arch: "amd64", Dirs: []string{"/tmp"}},
			"missing: chmod, mkdir, rm, rmdir",
		},
		"other architecture": {
			"machine riscv64\n" + tools + "dir /tmp\nready\n", Facts{Arch: "riscv64", Dirs: []string{"/tmp"}}, "riscv64",
		},
		"no memory": {
			amd64 + tools + "memory.max 33554432\nmemory.current 33000000\ndir /tmp\nready\n",
			Facts{Arch: "amd64", Dirs: []string{"/tmp"}},
			"MiB of memory are free",
		},
		"cut":     {mounts + amd64 + tools, Facts{}, "did not run as expected"},
		"nothing": {"", Facts{}, "did not run as expected"},
		"hostile": {"\x1b[2J\n", Facts{}, "did not run as expected"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := probeStart("/tmp", "/data").Probe([]byte(c.output))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			var unable *UnableError
			switch {
			case c.reason == "" && err != nil:
				t.Error(err)
			case c.reason != "" && (!errors.As(err, &unable) || !strings.Contains(unable.Reason, c.reason)):
				t.Errorf("error %v, want %q", err, c.reason)
			}
		})
	}
}

// The script runs in a shell of this machine, and leaves nothing behind.
func TestProbe_Script(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the script is for Linux")
	}
	dir := t.TempDir()
	start := probeStart(dir, "/no-such")
	argv := start.ProbeArgv()
	out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("error %v, want exit code 1", err)
	}
	facts, err := start.Probe(out)
	want := Facts{Arch: runtime.GOARCH, Dirs: []string{dir}}
	if diff := cmp.Diff(want, facts); diff != "" || err != nil {
		t.Errorf("%s\n%v\n%s", diff, err, out)
	}
	if left, err := os.ReadDir(filepath.Clean(dir)); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
