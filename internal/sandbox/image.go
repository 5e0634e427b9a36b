package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// These images contain only some commands. An image that is neither one of them
// nor created by AddImage contains all commands of the machine.
const (
	// NoShellImage contains hello, args, cat, exit, sleep, true and false, also
	// in the root directory (/hello, /args, ...), like an image that contains
	// one static binary. It contains no sh.
	NoShellImage = "sandbox/noshell:1"
	// NoDDImage contains sh and the usual small commands, except dd and head.
	NoDDImage = "sandbox/nodd:1"
)

// noDDCommands are the commands in NoDDImage.
var noDDCommands = []string{
	"sh", "[", "basename", "cat", "chmod", "cmp", "cp", "cut", "date", "dirname", "echo", "env", "expr", "false",
	"grep", "hostname", "id", "kill", "ln", "ls", "mkdir", "mkfifo", "mv", "nice", "nohup", "od", "printenv",
	"printf", "ps", "pwd", "readlink", "rm", "rmdir", "sed", "seq", "setsid", "sha256sum", "sleep", "sort",
	"stat", "stty", "tail", "tee", "test", "touch", "tr", "true", "tty", "uname", "uniq", "wc", "yes",
}

// noShellScripts are the scripts in NoShellImage, by name. The tests on a
// cluster use another image without a shell, which contains static binaries in
// place of these scripts.
var noShellScripts = map[string]string{
	"hello": `echo hello from a container without a shell`,
	"args":  `for a; do printf '%s\n' "$a"; done`,
	"exit":  `exit "$1"`,
}

// AddImage creates an image that contains commands, a map of names to paths on
// the machine. A container of the image finds these commands, and no others, in
// its PATH and its /bin. Only the sandbox's lookup of commands enforces this: a
// process that opens another path, such as /bin/sh for a script, opens the file
// of the machine. AddImage may be called again to add commands.
func (s *Server) AddImage(image string, commands map[string]string) error {
	root := s.imageDir(image)
	if err := os.MkdirAll(filepath.Join(root, "bin"), 0o700); err != nil {
		return err
	}
	for name, path := range commands {
		err := os.Symlink(path, filepath.Join(root, "bin", filepath.Base(name)))
		if err != nil && !errors.Is(err, fs.ErrExist) {
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

// imageRoot returns the directory of an image, or "" if the image contains all
// commands of the machine.
func (s *Server) imageRoot(image string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.images[image]
}

// makeImage creates NoShellImage or NoDDImage when a command first needs it.
// Most sandboxes use neither.
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
	for name, text := range noShellScripts {
		path := filepath.Join(s.dir, "images", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := writeScript(path, "#!/bin/sh\n"+text+"\n"); err != nil {
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

func (s *Server) addNoDDImage() error { return s.AddImage(NoDDImage, onMachine(noDDCommands...)) }

// onMachine returns the paths of those commands that the machine has.
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
