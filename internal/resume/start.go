package resume

import (
	"crypto/rand"
	_ "embed"
	"encoding/hex"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"kshell/internal/agent"
	"kshell/internal/script"
)

var (
	//go:embed start.sh
	startSource string
	//go:embed upload.sh
	uploadSource string
	//go:embed env.sh
	envSource string
	//go:embed shell.sh
	shellSource string
)

// scripts returns the parts of the start script, as they are sent.
var scripts = sync.OnceValue(func() (s struct{ first, env, shell, use, upload string }) {
	head, tail, _ := strings.Cut(startSource, "# The command follows.\n")
	parts := script.Shorten(head, envSource, shellSource, tail, uploadSource)
	s.first, s.env, s.shell, s.use, s.upload = parts[0], parts[1], parts[2], parts[3], parts[4]
	return s
})

// Start is a command that the agent is to run.
type Start struct {
	ID   string   // of the session; see NewID
	Dirs []string // the directories in which the agent may be written, in this order; see CheckDir
	// Fallback are the directories that are tried after Dirs. If one of Dirs
	// exists and is writable, an agent that is already in one of Fallback is not
	// used.
	Fallback []string
	Build    string                     // the build ID of the agent
	Agent    func(goarch string) []byte // returns the agent for an architecture, gzipped, or nil

	Command     []string // if it is empty, the first of bash, sh and ash that exists
	Env         []string // variables that are set for the command: NAME=VALUE, or with the prefix IfKnown
	Workdir     string   // if it is empty, that of the container
	TTY, Stdin  bool
	Buffer      int           // the output that is kept, in bytes; 0 means the agent's default
	Idle, Total time.Duration // the time limits of the session; 0 means the agent's default

	// UploadLimit is how long the upload of the agent may take; 0 means no
	// limit. If the first part shows that it takes longer, the start fails
	// with an *UnableError.
	UploadLimit time.Duration
	// Progress, if not nil, is called while the agent is uploaded, with the number
	// of bytes that the container has received, and the number of all bytes.
	Progress func(sent, total int64)
}

// IfKnown is a prefix of variables in Start.Env whose values the container may not
// know. With this prefix, a variable of the locale is set only if the container
// has the locale or a locale archive. TERM is set to xterm-256color or xterm if the
// container has a terminfo entry for one of these and none for the value in Env.
const IfKnown = "?"

// DefaultDirs are the directories in which the agent is written.
var DefaultDirs = []string{"/tmp", "/var/tmp", "/dev/shm"}

// CheckDir returns an error if the agent cannot be written in a directory with
// this path. The error continues a sentence that begins with the path.
func CheckDir(dir string) error {
	switch {
	case !strings.HasPrefix(dir, "/"):
		return dirError("is not an absolute path")
	case strings.ContainsAny(dir, ":\\") || strings.ContainsFunc(dir, isControl):
		return dirError("contains a colon, a backslash or a control character")
	}
	return nil
}

type dirError string

func (e dirError) Error() string { return string(e) }

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// idBytes is the number of random bytes in an ID, and in the name of a
// directory of the agent.
const idBytes = 5

// NewID returns a random ID of a session: ten digits and letters.
func NewID() string {
	var bits [idBytes]byte
	_, _ = rand.Read(bits[:]) // never fails
	return hex.EncodeToString(bits[:])
}

// dirPrefix is the beginning of the names of all directories of agents.
const dirPrefix = ".kshell-agent-"

// buildInName is the number of characters of the build ID in such a name.
const buildInName = 12

// namePrefix returns the beginning of the names of the directories of this
// agent.
func (s *Start) namePrefix() string {
	return dirPrefix + s.Build[:min(buildInName, len(s.Build))] + "-"
}

// usableDirs returns the directories of Dirs and Fallback that the script can
// use, without duplicates.
func (s *Start) usableDirs() []string { return usable(slices.Concat(s.Dirs, s.Fallback)) }

// dirList returns the directories for the script. An empty element separates
// those of Fallback.
func (s *Start) dirList() string {
	all := s.usableDirs()
	first := len(usable(s.Dirs))
	list := strings.Join(all[:first], ":")
	if first < len(all) {
		list += "::" + strings.Join(all[first:], ":")
	}
	return list
}

func usable(dirs []string) []string {
	var found []string
	for _, dir := range dirs {
		if dir = path.Clean(dir); CheckDir(dir) == nil && !slices.Contains(found, dir) {
			found = append(found, dir)
		}
	}
	return found
}

// Argv returns the command of the first relay: a script that brings the agent
// into the container, and starts it. Setup is the other end of its dialogue.
func (s *Start) Argv() []string {
	text := scripts().first
	if slices.ContainsFunc(s.Env, func(v string) bool { return strings.HasPrefix(v, IfKnown) }) {
		text += scripts().env
	}
	if len(s.Command) == 0 {
		text += scripts().shell
	}
	text += scripts().use
	argv := []string{
		"sh", "-c", strings.TrimSuffix(text, "\n"), "kshell",
		"kshell-agent " + strconv.Itoa(agent.Version) + " " + s.Build, s.namePrefix(), NewID(),
		s.dirList(), s.ID,
	}
	argv = append(argv, s.options()...)
	if len(s.Command) == 0 {
		return argv
	}
	return slices.Concat(argv, []string{"--"}, s.Command)
}

// options returns the options of "kshell-agent start", other than those that the
// script adds.
func (s *Start) options() []string {
	var options []string
	add := func(key, value string, when bool) {
		if when {
			options = append(options, key+"="+value)
		}
	}
	add("tty", "1", s.TTY)
	add("stdin", "1", s.Stdin && !s.TTY)
	add("workdir", s.Workdir, s.Workdir != "")
	add("buffer", strconv.Itoa(s.Buffer), s.Buffer > 0)
	add("idle", seconds(s.Idle), s.Idle > 0)
	add("total", seconds(s.Total), s.Total > 0)
	for _, variable := range s.Env {
		add("env", variable, true)
	}
	return options
}

// seconds returns a time limit in seconds, rounded up.
func seconds(limit time.Duration) string {
	return strconv.FormatInt(int64((limit+time.Second-1)/time.Second), 10)
}

// attachScript runs the agent in the directory $1, if the directory and the
// agent belong to the user of the container. cd makes sure that no other user
// replaces the directory after the check. Like the agent, it exits with code 3
// (exitNoSession) if there is no session: the directory or the agent is missing,
// or belongs to another user.
const attachScript = `cd "$1" 2>&-&&test -O .&&test -O agent||exit 3;exec ./agent "$2" id="$3"`

// AttachArgv returns the command of a relay to a session that runs. dir is the
// directory of the agent.
func AttachArgv(dir, id string) []string {
	return []string{"sh", "-c", attachScript, "kshell", dir, "attach", id}
}
