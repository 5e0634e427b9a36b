package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"kshell/internal/sandbox"
)

// stage is a temporary directory with a running sandbox, kshell and its settings.
type stage struct {
	dir    string
	bin    string // a directory that contains kshell
	config string // the settings file of kshell
	server *sandbox.Server
}

// settings are the settings of kshell. The session agents of exec --resume are in the
// working directory of the command, which each container has for itself. Without this
// setting, they would be in /tmp, which all containers share with the machine: kshell
// sessions would list each session once per container, and close would not remove the
// agents.
const settings = "resume-dir: /proc/self/cwd\n"

// newStage starts a sandbox. kshell is the path of the binary.
func newStage(kshell string) (_ *stage, err error) {
	path, err := executable(kshell)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kshell-demo-")
	if err != nil {
		return nil, fmt.Errorf("cannot create a temporary directory: %w "+
			"(set TMPDIR to a directory that is writable)", err)
	}
	s := &stage{dir: dir, bin: filepath.Join(dir, "bin"), config: filepath.Join(dir, "config.yaml")}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := os.Mkdir(s.bin, 0o700); err != nil {
		return nil, err
	}
	if err := os.Symlink(path, filepath.Join(s.bin, "kshell")); err != nil {
		return nil, err
	}
	if err := os.WriteFile(s.config, []byte(settings), 0o600); err != nil {
		return nil, err
	}
	s.server, err = sandbox.Start(sandbox.Config{Dir: filepath.Join(dir, "sandbox"), Gentle: true})
	if err != nil {
		return nil, err
	}
	s.server.Review(true)
	return s, nil
}

// close ends the processes of the sandbox and removes the directory.
func (s *stage) close() error {
	var err error
	if s.server != nil {
		err = s.server.Close()
	}
	return errors.Join(err, os.RemoveAll(s.dir))
}

// executable returns the absolute path of the kshell binary.
func executable(kshell string) (string, error) {
	path, err := filepath.Abs(kshell)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", fmt.Errorf("cannot run kshell: %s does not exist (make demo and make tour build it)", path)
	case err != nil:
		return "", fmt.Errorf("cannot run kshell: %w", err)
	case info.IsDir() || info.Mode()&0o111 == 0:
		return "", fmt.Errorf("cannot run kshell: %s is not executable", path)
	}
	return path, nil
}

// variables returns the environment variables, except PATH, that make kshell use
// the sandbox and not the configuration of the user.
func (s *stage) variables() [][2]string {
	return [][2]string{{"KUBECONFIG", s.server.Kubeconfig()}, {"KSHELL_CONFIG", s.config}}
}

// environ returns the environment for programs that run kshell: the environment of
// the demo without the user's KSHELL_ variables, and with variables and PATH.
func (s *stage) environ() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "KSHELL_") {
			env = append(env, v)
		}
	}
	for _, v := range s.variables() {
		env = append(env, v[0]+"="+v[1])
	}
	return append(env, "PATH="+s.bin+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// exportLine returns the command that lets another shell use the sandbox.
func (s *stage) exportLine() string {
	line := "export"
	for _, v := range s.variables() {
		line += " " + v[0] + "=" + quote(v[1])
	}
	return line + " PATH=" + quote(s.bin) + `:"$PATH"`
}

// quote quotes a string for the shell if that is necessary.
func quote(text string) string {
	special := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') &&
			!strings.ContainsRune("/._-+,:", r)
	}
	if text != "" && !strings.ContainsFunc(text, special) {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
