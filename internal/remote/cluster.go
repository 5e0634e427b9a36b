package remote

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/pod"
	"kshell/internal/stream"
)

// Cluster holds the clients of one API server: one pod.Client and one
// stream.Transport. If the configuration has a credential plugin,
// HoldCredentials adds a second pair for requests that are made while a session
// uses the terminal. A Cluster is safe for concurrent use; commands on the same
// server should share it, because each client opens its own connections.
type Cluster struct {
	env           Env
	webSocketOnly bool
	clients       clients
	sharesWatches atomic.Bool // ShareWatches was called
	limitsLine    atomic.Bool // a gateway has refused a request line that was too long, and accepted a shorter one

	mu         sync.Mutex // protects the following
	creds      *background
	background *clients // nil before HoldCredentials
}

// clients are the clients that share one configuration.
type clients struct {
	cfg       *rest.Config
	transport *stream.Transport
	pods      *pod.Client
}

// NewCluster returns the Cluster of cfg. It does not connect to the server.
// webSocketOnly disables SPDY.
func NewCluster(env Env, cfg *rest.Config, webSocketOnly bool) (*Cluster, error) {
	c := &Cluster{env: env, webSocketOnly: webSocketOnly}
	made, err := c.newClients(cfg)
	if err != nil {
		return nil, err
	}
	c.clients = *made
	return c, nil
}

func (c *Cluster) newClients(cfg *rest.Config) (*clients, error) {
	transport, err := stream.NewTransport(cfg, c.webSocketOnly, c.env.Notice.Detail)
	if err != nil {
		return nil, err
	}
	pods, err := c.newPodClient(cfg, transport)
	if err != nil {
		return nil, err
	}
	return &clients{cfg, transport, pods}, nil
}

func (c *Cluster) newPodClient(cfg *rest.Config, transport *stream.Transport) (*pod.Client, error) {
	runWatch := func(ctx context.Context, path string, query url.Values, each func([]byte) error) bool {
		return !c.sharesWatches.Load() && (&clients{transport: transport}).runWatch(ctx, path, query, each)
	}
	return pod.NewClient(cfg, pod.Options{RunWatch: runWatch, OnSelectorIgnored: c.env.SelectorIgnored})
}

// ShareWatches makes each watch of a pod a plain HTTP request, so that with HTTP/2,
// all watches and other requests share one connection. It is for many commands at
// the same time. Without it, a watch opens a WebSocket, because some proxies hold
// back the answer to a plain request. Behind such a proxy, a shared watch does not
// work, and the pod is requested again and again.
func (c *Cluster) ShareWatches() { c.sharesWatches.Store(true) }

// Config returns the configuration. Its credential plugin may prompt the user.
func (c *Cluster) Config() *rest.Config { return c.clients.cfg }

// Pods returns the client for requests while no session uses the terminal. Its
// credential plugin may prompt the user.
func (c *Cluster) Pods() *pod.Client { return c.clients.pods }

// newPods returns a client like Pods that opens new connections; see
// newPodsLike.
func (c *Cluster) newPods() (pods *pod.Client, done func(), err error) {
	return c.newPodsLike(&c.clients)
}

// newBackgroundPods returns a client like BackgroundPods that opens new
// connections; see newPodsLike.
func (c *Cluster) newBackgroundPods() (pods *pod.Client, done func(), err error) {
	return c.newPodsLike(c.backgroundClients())
}

// newPodsLike returns a client like old.pods that opens new connections. It is
// used after a connection was lost, because the connections that old.pods has
// open may be dead, too, and cannot be closed while other requests use them.
// The caller must call done when it no longer needs the client. If the
// configuration contains an HTTP transport, newPodsLike returns old.pods, after
// closing its idle connections.
func (c *Cluster) newPodsLike(old *clients) (pods *pod.Client, done func(), err error) {
	if old.cfg.Transport != nil {
		old.pods.CloseIdleConnections()
		return old.pods, func() {}, nil
	}
	cfg := rest.CopyConfig(old.cfg)
	dial := cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: dialTimeout}).DialContext
	}
	// A new function makes client-go create a new transport, instead of sharing
	// the one of old.pods.
	cfg.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		return dial(ctx, network, address)
	}
	made, err := c.newPodClient(cfg, old.transport)
	if err != nil {
		return nil, nil, err
	}
	return made, made.CloseIdleConnections, nil
}

// dialTimeout is the timeout and the keepalive interval of a TCP connection, as
// in client-go.
const dialTimeout = 30 * time.Second

// Close closes the connections that are open and not used.
func (c *Cluster) Close() {
	c.Transport().ClosePrepared()
	c.closeIdleConnections()
}

// closeIdleConnections closes the connections on which no request is in
// progress. It is called after a connection was lost, because the idle ones may
// be dead, too.
func (c *Cluster) closeIdleConnections() {
	c.Pods().CloseIdleConnections()
	c.BackgroundPods().CloseIdleConnections()
}

// Transport returns the transport of the user's sessions.
func (c *Cluster) Transport() *stream.Transport { return c.clients.transport }

// BackgroundPods returns the client for requests during a session.
func (c *Cluster) BackgroundPods() *pod.Client { return c.backgroundClients().pods }

// BackgroundConfig returns the configuration for other clients that make
// requests during a session.
func (c *Cluster) BackgroundConfig() *rest.Config { return c.backgroundClients().cfg }

func (c *Cluster) backgroundClients() *clients {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.background == nil {
		return &c.clients
	}
	return c.background
}

// HoldCredentials makes the background clients use the credentials that the
// plugin returned last, so that their requests do not run the plugin on the
// terminal. HoldCredentials itself may run the plugin. Without a plugin it does
// nothing.
func (c *Cluster) HoldCredentials() error {
	if c.clients.cfg.ExecProvider == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.background != nil {
		return c.creds.hold()
	}
	creds, cfg, err := newBackground(c.clients.cfg)
	if err != nil {
		return err
	}
	if err := creds.hold(); err != nil {
		return err
	}
	made, err := c.newClients(cfg)
	if err != nil {
		return err
	}
	c.creds, c.background = creds, made
	return nil
}

// renewHeld replaces the credentials that HoldCredentials has stored by those
// that the server has just accepted. It does nothing if HoldCredentials was not
// called.
func (c *Cluster) renewHeld() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.creds != nil {
		_ = c.creds.hold() // after an error the old credentials remain
	}
}

// Prompts reports whether opening a connection may make a credential plugin
// prompt the user.
func (c *Cluster) Prompts() bool { return prompts(c.clients.cfg) }

// prompts is Prompts for the configuration of a cluster.
func prompts(cfg *rest.Config) bool {
	plugin := cfg.ExecProvider
	return plugin != nil && plugin.InteractiveMode != api.NeverExecInteractiveMode && !plugin.StdinUnavailable
}

// WithoutPrompts returns a copy of cfg whose credential plugin cannot prompt
// the user. If the plugin must prompt, client-go returns an error whose text
// contains the argument why.
func WithoutPrompts(cfg *rest.Config, why string) *rest.Config {
	if cfg.ExecProvider == nil {
		return cfg
	}
	cfg = rest.CopyConfig(cfg)
	plugin := *cfg.ExecProvider // CopyConfig does not copy the ExecProvider
	plugin.StdinUnavailable, plugin.StdinUnavailableMessage = true, why
	cfg.ExecProvider = &plugin
	return cfg
}

// runWatch runs a watch over a WebSocket. opened reports whether the connection
// was opened.
func (c *clients) runWatch(ctx context.Context, path string, query url.Values, each func([]byte) error) (opened bool) {
	if c.transport.UsesSPDY() { // the server or a gateway refuses WebSockets
		return false
	}
	d := &watchDriver{transport: c.transport, request: stream.Request{Path: path, Query: query, Origin: true}}
	e := stream.NewEvents(d, nil, stream.LinkSettings{Reconnect: stream.ReconnectNever}, each)
	_ = e.Run(ctx) // the caller tries again
	return d.opened
}

// watchDriver is the stream.Driver of a watch.
type watchDriver struct {
	transport *stream.Transport
	request   stream.Request
	opened    bool
}

// Dial implements stream.Driver.
func (d *watchDriver) Dial(ctx context.Context) (*stream.Conn, error) {
	return d.transport.DialWebSocket(ctx, d.request)
}

// Opened implements stream.Driver.
func (d *watchDriver) Opened(context.Context, *stream.Conn) error {
	d.opened = true
	return nil
}

// Ended implements stream.Driver.
func (d *watchDriver) Ended(_ context.Context, err error) error { return err }

// runInternal runs a command that kshell itself needs, such as a probe. The
// command has no stdin. Its stdout is written to out; nil discards it.
// runInternal returns the outcome of the command.
func (c *clients) runInternal(ctx context.Context, request stream.Request, out io.Writer) error {
	d := &internalDriver{transport: c.transport, request: request}
	s := stream.NewSession(d, nil, stream.Settings{
		LinkSettings: stream.LinkSettings{Reconnect: stream.ReconnectNever}, Stdout: out,
	})
	return s.Run(ctx)
}

// internalDriver is the stream.Driver of a command that runInternal runs.
type internalDriver struct {
	transport *stream.Transport
	request   stream.Request
}

// Dial implements stream.Driver.
func (d *internalDriver) Dial(ctx context.Context) (*stream.Conn, error) {
	return d.transport.Dial(ctx, d.request)
}

// Opened implements stream.Driver.
func (d *internalDriver) Opened(context.Context, *stream.Conn) error { return nil }

// Ended implements stream.Driver.
func (d *internalDriver) Ended(_ context.Context, err error) error { return err }
