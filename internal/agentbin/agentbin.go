// Package agentbin contains the programs of the session agent (cmd/kshell-agent) for
// Linux containers, if "make agent" has built them. kshell does not use it yet.
//
// It does not know how they are used. It imports no other package of kshell.
package agentbin

import (
	"embed"
	"strings"
)

//go:embed all:agents
var files embed.FS

// Architectures are the values of GOARCH for which there are agents.
var Architectures = []string{"amd64", "arm64"}

// BuildID returns the build ID of the agents, or "" if there are none. It is a hash
// of the sources of the agent and of the version of Go.
func BuildID() string {
	id, err := files.ReadFile("agents/build")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// Gzipped returns the agent for an architecture, compressed with gzip, or nil if
// there is none.
func Gzipped(goarch string) []byte {
	data, err := files.ReadFile("agents/" + goarch + ".gz")
	if err != nil || BuildID() == "" {
		return nil
	}
	return data
}
