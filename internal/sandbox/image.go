package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// Images that a container of AddPod may name. Any other image holds whatever the machine holds.
const (
	// NoShellImage holds hello, args, cat, exit, sleep, true and false, each also in the root as on a cluster made of one static
	// binary: /hello, /args… There is no sh.
	NoShellImage = "sandbox/noshell:1"
	// NoDDImage holds sh and the usual small commands, but neither dd nor head.
	NoDDImage = "sandbox/nodd:1"
)

// small are the commands of NoDDImage.
var small = []string{
	"sh", "[", "basename", "cat", "chmod", "cmp", "cp", "cut", "date", "dirname", "echo", "env", "expr", "false", "grep", "hostname", "id",
	"kill", "ln", "ls", "mkdir", "mkfifo", "mv", "nice", "nohup", "od", "printenv", "printf", "ps", "pwd", "readlink", "rm", "rmdir",
	"sed", "seq", "setsid", "sha256sum", "sleep", "sort", "stat", "stty", "tail", "tee", "test", "touch", "tr", "true", "tty", "uname",
	"uniq", "wc", "yes",
}

// scripts stand for the static binaries of a cluster's image without a shell.
var scripts = map[string]string{
	"hello": `echo hello from a container without a shell`,
	"args":  `for a; do printf '%s\n' "$a"; done`,
	"exit":  `exit "$1"`,
}

// AddImage makes an image that holds the given commands and no others: names, with the paths that they have on the machine. A
// container of it finds them on its PATH and in its /bin; that is the limit of it: a process that asks the machine for
// another path, such as a script for /bin/sh, gets it. Adding an image again adds to it.
func (s *Server) AddImage(image string, commands map[string]string) error {
	root := s.imageDir(image)
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o700); err != nil {
		return err
	}
	for name, path := range commands {
		if err := os.Symlink(path, filepath.Join(root, "bin", filepath.Base(name))); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.images[image] = root
	return nil
}

func (s *Server) imageDir(image string) string {
	return filepath.Join(s.dir, "images", fmt.Sprintf("%x", image))
}

// imageRoot is the root of an image; "" if it is the machine's.
func (s *Server) imageRoot(image string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.images[image]
}

// makeImage makes the image of a container, if that is one of those that every
// sandbox has and is not there yet: most sandboxes do not need them.
func (s *Server) makeImage(image string) error {
	switch image {
	case NoShellImage:
		return s.makeNoShell()
	case NoDDImage:
		return s.makeNoDD()
	default:
		return nil
	}
}

func (s *Server) addNoShellImage() error {
	commands := onMachine("cat", "sleep", "true", "false")
	for name, text := range scripts {
		path := filepath.Join(s.dir, "images", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := script(path, "#!/bin/sh\n"+text+"\n"); err != nil {
			return err
		}
		commands[name] = path
	}
	if err := s.AddImage(NoShellImage, commands); err != nil {
		return err
	}
	for name := range commands {
		err := os.Symlink(filepath.Join("bin", name), filepath.Join(s.imageDir(NoShellImage), name))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

func (s *Server) addNoDDImage() error { return s.AddImage(NoDDImage, onMachine(small...)) }

// onMachine finds commands, as far as the machine has them.
func onMachine(names ...string) map[string]string {
	found := map[string]string{}
	for _, name := range names {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if path, err = filepath.Abs(path); err == nil {
			found[name] = path
		}
	}
	return found
}
