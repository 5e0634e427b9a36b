package resume

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"fmt"
	"path"
	"strings"
	"sync"

	"kshell/internal/agent"
	"kshell/internal/script"
)

//go:embed list.sh
var listSource string

// Info describes a session that runs in a container.
type Info struct {
	Dir string // the directory of its agent
	agent.Info
	// SameMounts means that the session has the mount namespace of the container
	// in which the sessions were listed. It is false if the session runs in
	// another container, with which the container shares the directory. If the
	// container has no tool that shows the namespace, it is true.
	SameMounts bool
}

// ListArgv returns the command that lists the sessions of a container whose
// agents are in one of dirs. It also removes the directories of agents without
// sessions.
func ListArgv(dirs []string) []string {
	return []string{"sh", "-c", listScript(), "kshell", strings.Join(usable(dirs), ":")}
}

// listScript returns the script of ListArgv.
var listScript = sync.OnceValue(func() string { return strings.TrimSuffix(script.Shorten(listSource)[0], "\n") })

// EndArgv returns the command that ends a session.
func EndArgv(dir, id string) []string {
	return []string{"sh", "-c", attachScript, "kshell", dir, "end", id}
}

const (
	// maxSessions limits the sessions of a list.
	maxSessions = 1000

	// frameHeader is the length of the header of a frame: the type, and the
	// length of the payload in four bytes.
	frameHeader = 5

	// firstLetter is the smallest byte with which a line of the list begins. A
	// frame begins with a smaller byte.
	firstLetter = 'a'
)

// ParseList returns the sessions in the output of the command of ListArgv, and the
// directories that the command has removed.
func ParseList(out []byte) (infos []Info, removed []string, err error) {
	var mounts, dir string
	for len(out) > 0 {
		if out[0] >= firstLetter {
			line, after, ok := bytes.Cut(out, []byte("\n"))
			word, value, _ := strings.Cut(string(line), " ")
			switch {
			case ok && word == "mounts":
				mounts = value
			case ok && word == "agent" && isAgentDir(value):
				dir = value
			case ok && word == "removed" && isAgentDir(value):
				removed = append(removed, value)
			default:
				return nil, nil, listError(line)
			}
			out = after
			continue
		}
		info, length := parseInfo(out)
		if info == nil || dir == "" || len(infos) >= maxSessions {
			return nil, nil, listError(out)
		}
		out = out[length:]
		infos = append(infos, Info{Dir: dir, Info: *info})
	}
	for i := range infos {
		own := infos[i].Mounts
		infos[i].SameMounts = own == mounts || own == "" || mounts == ""
	}
	return infos, removed, nil
}

// parseInfo returns the Info frame at the beginning of p, and its length. It
// returns nil if there is none.
func parseInfo(p []byte) (*agent.Info, int) {
	if len(p) < frameHeader {
		return nil, 0
	}
	size := binary.BigEndian.Uint32(p[1:])
	if size > agent.MaxPayload || int(size) > len(p)-frameHeader {
		return nil, 0
	}
	var decoder agent.Decoder
	length := frameHeader + int(size)
	_, _ = decoder.Write(p[:length])
	m, _ := decoder.Next()
	info, _ := m.(*agent.Info)
	return info, length
}

// isAgentDir reports whether dir can be the directory of an agent.
func isAgentDir(dir string) bool {
	random, ok := strings.CutPrefix(path.Base(dir), dirPrefix)
	return ok && CheckDir(dir) == nil && isWord(strings.ReplaceAll(random, "-", ""))
}

// listError returns the error for output that the script does not print.
func listError(out []byte) error {
	return fmt.Errorf("the list of sessions cannot be read: %q", out[:min(len(out), maxTool)])
}
