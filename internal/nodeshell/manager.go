package nodeshell

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/apiclient"
	"kshell/internal/interactive"
	"kshell/internal/node"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
	"kshell/internal/remote"
)

// The default images. DefaultImage has nsenter, chroot and the programs that
// exact mode needs.
const (
	DefaultImage        = "docker.io/library/busybox:1.37"
	DefaultImageWindows = "mcr.microsoft.com/oss/kubernetes/windows-host-process-containers-base-image:v1.0.0"
)

// Limits are time limits. A zero value means the default, which is at the end
// of each field's comment.
type Limits struct {
	Progress time.Duration // until a message says why the pod does not run yet; 2 s
	Exec     time.Duration // of a command that kshell itself needs, and for which the user waits; 10 s
}

// requestTimeout is the time limit of the request that creates a pod, and of
// requests that kshell can do without.
const requestTimeout = 10 * time.Second

// Options describe the node shells of one command line.
type Options struct {
	Program string // what the user types for node shells, for hints: "kshell node-shell"
	// Pod describes the pods. The Manager sets Node, Windows, Name, CreatedAt
	// and NoPropagation for each pod. An empty Image means the default for the
	// node.
	Pod         node.Options
	CPU, Memory string // requested if a quota demands it

	Attach  bool                // attach to a running shell instead of creating a pod
	Command remote.Options      // what runs; the Manager sets its Command and Pod for each pod
	Console interactive.Options // the console of a shell; the Manager sets its SameShell and Detacher
	Limits  Limits
}

// Manager creates, finds, uses and deletes the pods of one command line. It is
// safe for concurrent use.
type Manager struct {
	env     remote.Env
	cluster *remote.Cluster
	nodes   *node.Client
	options Options

	checkOnce sync.Once
	forbidden error // the result of CheckRights

	// connected is closed when the first request for a node object has a
	// connection, or has ended. Other requests wait for that: with HTTP/2, they
	// use the same connection.
	connected    chan struct{}
	setConnected func() // closes connected

	leftRunning atomic.Bool // see LeftRunning
}

// New returns a Manager. It sends no requests.
func New(env remote.Env, cluster *remote.Cluster, o Options) (*Manager, error) {
	env.Limits.Rights = cmp.Or(env.Limits.Rights, 3*time.Second)
	env.Limits.Reason = cmp.Or(env.Limits.Reason, 2*time.Second)
	o.Limits.Progress = cmp.Or(o.Limits.Progress, 2*time.Second)
	o.Limits.Exec = cmp.Or(o.Limits.Exec, 10*time.Second)
	nodes, err := node.NewClient(cluster.Config(), env.SelectorIgnored)
	if err != nil {
		return nil, err
	}
	connected := make(chan struct{})
	return &Manager{
		env: env, cluster: cluster, nodes: nodes, options: o,
		connected: connected, setConnected: sync.OnceFunc(func() { close(connected) }),
	}, nil
}

// backgroundNodes returns a client for requests while a session uses the
// terminal.
func (m *Manager) backgroundNodes() (*node.Client, error) {
	cfg := m.cluster.BackgroundConfig()
	if cfg == m.cluster.Config() {
		return m.nodes, nil
	}
	return node.NewClient(cfg, m.env.SelectorIgnored)
}

// Nodes returns the nodes that match a label selector, sorted by name.
func (m *Manager) Nodes(ctx context.Context, selector string) ([]corev1.Node, error) {
	nodes, err := m.nodes.Nodes(ctx, selector)
	var lookup *node.LookupError
	if errors.As(err, &lookup) && apiclient.IsDenied(lookup.Err) {
		denied := &pod.ForbiddenError{Denied: []pod.Rule{{Verb: "list", Resource: "nodes"}}, Err: lookup.Err}
		return nil, notice.WithHint(err, denied.Hint()+"\nor name the node")
	}
	return nodes, err
}

// checkedOptions calls CheckRights, and returns the podOptions of a new pod on a
// node. It sends the requests for both at the same time, on one connection if the
// server supports HTTP/2.
func (m *Manager) checkedOptions(ctx context.Context, n *notice.Printer, name string) (node.Options, error) {
	ctx, cancel := context.WithCancel(ctx)
	var requesting sync.WaitGroup
	defer requesting.Wait()
	defer cancel()
	var found *corev1.Node
	var err error
	requesting.Go(func() {
		defer m.env.Cleanup.OnPanic()
		defer m.setConnected()
		found, err = m.requestNode(remote.OnConnected(ctx, m.setConnected), name)
	})
	<-m.connected
	if err := m.CheckRights(ctx); err != nil {
		return node.Options{}, err
	}
	requesting.Wait()
	return m.podOptions(n, name, found, err)
}

func (m *Manager) requestNode(ctx context.Context, name string) (*corev1.Node, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return m.nodes.Node(ctx, name)
}

// podOptions returns the options of a new pod on a node. The options depend on
// the node object: found and err are the result of requestNode. If the user is
// not allowed to read the node, it is assumed to run Linux. If a server in front
// of the API server refuses to read the node, podOptions returns the error,
// because that server would also refuse to create a pod.
func (m *Manager) podOptions(n *notice.Printer, name string, found *corev1.Node, err error) (node.Options, error) {
	o := m.options.Pod
	o.Node, o.Name, o.CreatedAt = name, node.Name(name), time.Now()
	var lookup *node.LookupError
	switch {
	case errors.As(err, &lookup) && (lookup.NotFound() || apiclient.AsRefusal(err) != nil):
		return o, err
	case err != nil:
		n.Detail("node %s is assumed to run Linux: %s", name, err)
	default:
		o.Windows = node.IsWindows(found)
		if why := node.NotReady(found); why != "" {
			n.WarnAlways("node %s %s", name, why)
		}
	}
	if o.Windows {
		o.Shell = false
	}
	switch {
	case o.Image != "":
	case o.Windows:
		o.Image = DefaultImageWindows
	default:
		o.Image = DefaultImage
	}
	return o, nil
}

// Manifest returns the pod that would be created on a node, as JSON or YAML.
func (m *Manager) Manifest(ctx context.Context, name string, asJSON bool) ([]byte, error) {
	found, err := m.requestNode(ctx, name)
	o, err := m.podOptions(m.env.Notice, name, found, err)
	if err != nil {
		return nil, err
	}
	if asJSON {
		return node.JSON(node.Pod(o))
	}
	return node.YAML(node.Pod(o))
}

// Run creates a pod on a node and runs the shell or command in it. The pod is
// deleted when Run returns, unless the shell was left running. In the
// background, Run deletes the pods that earlier node shells left. in is the
// input of the shell or command. Run stores the command in started before it
// runs it.
func (m *Manager) Run(ctx context.Context, name string, in io.Reader, started *atomic.Pointer[remote.Command]) error {
	defer m.startDeletingLeftovers(ctx, m.connected)()
	p, err := m.Open(ctx, m.env.Notice, name)
	if p != nil {
		defer p.Remove()
	}
	switch {
	case err != nil:
		return outcome.ContextCause(ctx, err)
	case p.options.Detached:
		p.leaveRunning()
		return nil
	case p.options.Shell:
		return p.attach(ctx, in, false, started)
	}
	return p.run(ctx, in, started)
}

// LeftRunning reports whether Run or Attach left its shell running, because the
// user detached from it or the Options have Detached set.
func (m *Manager) LeftRunning() bool { return m.leftRunning.Load() }

// Attach attaches the local terminal to a shell that was left running. The
// method find describes name and user.
func (m *Manager) Attach(ctx context.Context, name string, user Prompter) error {
	p, err := m.find(ctx, name, user)
	if err != nil {
		return outcome.ContextCause(ctx, err)
	}
	defer p.Remove()
	return p.attach(ctx, m.env.In, true, new(atomic.Pointer[remote.Command]))
}
