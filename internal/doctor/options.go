package doctor

import (
	"context"
	"time"

	"kshell/internal/headlamp"
	"kshell/internal/kubeconfig"
	"kshell/internal/pod"
	"kshell/internal/remote"
	"kshell/internal/settings"
)

// Options are the input of Run.
type Options struct {
	Name      string // what the user types: kshell, or kubectl kshell
	Program   Program
	Env       remote.Env               // for commands in the container; its streams are not used
	Hint      func(hint string) string // completes the commands in a hint
	Target    pod.Target               // used if Named is set
	Named     bool                     // a pod is named
	Container string                   // of the pod; "" means the default one
	// Agents reports whether this kshell contains session agents.
	Agents bool
	// NodeRights are the rights that a node shell needs in the namespace.
	NodeRights []pod.Rule
	// Limit is the time limit of a check; 0 means 10 s. Some checks have longer ones.
	Limit time.Duration
	// Slow is how long the check idle holds a connection open; 0 means that the
	// check is skipped.
	Slow time.Duration
	// Progress is called with the state of a slow check.
	Progress func(text string)
}

// Program is the part of kshell that reads its configuration.
type Program interface {
	// Load reads the kubeconfig files.
	Load() (*kubeconfig.Loaded, error)
	// Settings reads the settings of kshell.
	Settings(*kubeconfig.Loaded) (Settings, error)
	// Server returns a connection to the first server to which kshell connects: the
	// API server, or a Headlamp server. headlamp reports which. Server makes no
	// request.
	Server(*kubeconfig.Loaded) (conn *kubeconfig.Connection, headlamp bool, err error)
	// Connect returns the connection to the API server. If it goes through a Headlamp
	// server, Connect may make requests to that server, and return its description.
	Connect(context.Context, *kubeconfig.Loaded) (*kubeconfig.Connection, *headlamp.Server, error)
}

// Settings are the settings of kshell.
type Settings struct {
	File     string           // the settings file that was read; "" if there is none
	Values   []settings.Value // those with an empty Text are not set
	Warnings []string         // about the file
	// Namespace is the setting that selects the namespace; its Text is "" if the
	// flag or the kubeconfig does.
	Namespace settings.Value
	// Keepalive is the interval of the pings of a session; 0 means no pings.
	Keepalive  time.Duration
	ResumeDirs []string // directories for the session agent, before the default ones
}

// diagnosis contains the values that checks store for later checks. Only the
// goroutine of Run uses it.
type diagnosis struct {
	Options

	loaded   *kubeconfig.Loaded
	config   kubeconfig.Description
	settings Settings
	first    *kubeconfig.Connection // to the first server; see Program.Server
	headlamp bool                   // the first server is a Headlamp server
	contact  *contact               // the first request
	conn     *kubeconfig.Connection // to the API server
	cluster  *remote.Cluster        // of conn
	version  string                 // of the API server, or ""
	user     string                 // the name of the user at the server, or ""

	webSocketOnly *remote.Cluster // of conn, without SPDY
	target        remote.Target
	webSocket     bool // exec works over a WebSocket
}

// close closes the connections that are open.
func (d *diagnosis) close() {
	for _, c := range []*remote.Cluster{d.cluster, d.webSocketOnly} {
		if c != nil {
			c.Close()
		}
	}
}
