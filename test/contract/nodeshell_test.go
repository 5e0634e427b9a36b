package contract

import (
	"testing"

	"kshell/internal/sandbox"
)

// sandboxNodes are the nodes that every sandbox has.
var sandboxNodes = Nodes{Image: sandbox.NodeImage, Names: []string{"node1", "node2"}, Restricted: "restricted", Namespace: "other"}

func TestNodeShell(t *testing.T) { NodeShells(t, program(t), sandboxNodes) }
