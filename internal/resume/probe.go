package resume

import (
	"bytes"
	"path"
	"strings"
)

// Facts are what a container reports about itself; see ProbeArgv.
type Facts struct {
	Arch string   // the architecture, as a value of GOARCH if Go knows it
	Dirs []string // of the directories that were tried, those in which the agent can be written and executed
	// NoExec are the directories that can be written, but in which the agent
	// cannot be executed, because of how they are mounted.
	NoExec []string
}

// mountScript prints a line for each mount: "exec PATH" or "noexec PATH".
const mountScript = `while read -r k_a k_b k_c k_d k_e;do case ,$k_d, in ` +
	`*,noexec,*)echo "noexec $k_b";;*)echo "exec $k_b";;esac;done 2>/dev/null </proc/self/mounts
`

// ProbeArgv returns a command that reports what is needed to start the agent, and
// changes nothing in the container. It must have no stdin. It exits with code 1.
// Probe parses its output.
func (s *Start) ProbeArgv() []string {
	own := *s
	own.Build, own.Command, own.Env = "probe"+NewID(), []string{"true"}, nil // no directory has an agent of this build
	argv := own.Argv()
	argv[2] = mountScript + argv[2]
	return argv
}

// Probe returns what the command of ProbeArgv has reported. The error is an
// *UnableError if the agent cannot run in the container.
func (s *Start) Probe(output []byte) (Facts, error) {
	setup := s.NewSetup()
	mounts := map[string]bool{} // whether files can be executed, by the path of the mount
	var reported Facts
	for line := range bytes.Lines(output[:min(len(output), maxDialogue)]) {
		text := strings.TrimSuffix(string(line), "\n")
		word, value, _ := strings.Cut(text, " ")
		switch {
		case setup.facts.header:
		case word == "exec" || word == "noexec":
			mounts[unescapeMount(value)] = word == "exec"
			continue
		case word == "ready":
			reported = setup.facts.report(mounts)
			setup.facts.dirs = reported.Dirs
		}
		if err := setup.report(text, 0); err != nil {
			if len(reported.NoExec) > 0 && len(reported.Dirs) == 0 {
				err = unable("files cannot be executed in any directory that can be written (mounted with noexec: %s)",
					strings.Join(reported.NoExec, ", "))
			}
			return reported, err
		}
	}
	if !setup.prepared {
		return reported, unexpected(nil)
	}
	return reported, nil
}

// report returns the facts for users. mounts is as in Probe.
func (f *facts) report(mounts map[string]bool) Facts {
	r := Facts{Arch: clean(f.goarch())}
	for _, dir := range f.dirs {
		if executable(dir, mounts) {
			r.Dirs = append(r.Dirs, dir)
		} else {
			r.NoExec = append(r.NoExec, dir)
		}
	}
	return r
}

// executable reports whether files in dir can be executed, according to the mount
// that contains dir.
func executable(dir string, mounts map[string]bool) bool {
	for at := path.Clean(dir); ; at = path.Dir(at) {
		if exec, ok := mounts[at]; ok {
			return exec
		}
		if at == "/" || at == "." {
			return true
		}
	}
}

// unescapeMount returns a path of /proc/self/mounts, in which the kernel escapes
// spaces and backslashes.
func unescapeMount(name string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\134`, `\`).Replace(name)
}
