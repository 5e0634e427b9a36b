// Package agentbin embeds the session agent (cmd/kshell-agent), built for Linux
// containers by "make agent". Without that, it contains no agents.
//
// It does not know how agents are started. It imports no other package of
// kshell.
package agentbin

import (
	"embed"
	"strings"
)

//go:embed all:agents
var files embed.FS

// Architectures are the values of GOARCH for which "make agent" builds agents.
var Architectures = []string{"amd64", "arm64"}

// BuildID returns the build ID of the embedded agents, or "" if there are none.
// The build ID is a hash of the agent's sources and of the Go version.
func BuildID() string {
	id, err := files.ReadFile("agents/build")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

// Gzipped returns the gzipped agent for an architecture, or nil if there is
// none.
func Gzipped(goarch string) []byte {
	data, err := files.ReadFile("agents/" + goarch + ".gz")
	if err != nil || BuildID() == "" {
		return nil
	}
	return data
}
