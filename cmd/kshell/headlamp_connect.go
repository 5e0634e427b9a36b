package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
	"kshell/internal/group"
	"kshell/internal/headlamp"
	"kshell/internal/kubeconfig"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/remote"
	"kshell/internal/script"
)

// defaultProbeTimeout limits the request for the configuration of a Headlamp
// server, unless --request-timeout is given.
const defaultProbeTimeout = 5 * time.Second

// headlampConnection is a connection through a Headlamp server that is being
// set up.
type headlampConnection struct {
	app     *app
	plan    *headlampPlan
	options connectOptions
	loaded  *kubeconfig.Loaded
	user    kubeconfig.User
	gate    string // the token of Headlamp's desktop app, or ""
	conn    *kubeconfig.Connection
	server  *headlamp.Server // nil if the server was not asked
	login   *apiclient.Credentials
}

// connectHeadlamp returns a connection through a Headlamp server. It asks the
// server for its configuration if the plan needs it, and runs the credential
// plugin at the same time.
func (a *app) connectHeadlamp(
	ctx context.Context, loaded *kubeconfig.Loaded, p *headlampPlan, o connectOptions,
) (*kubeconfig.Connection, error) {
	c := &headlampConnection{app: a, plan: p, options: o, loaded: loaded, user: loaded.User()}
	if err := c.prepare(); err != nil {
		return nil, err
	}
	if p.stateless == statelessAlways {
		if err := c.checkUpload(); err != nil {
			return nil, err
		}
	}
	if err := c.ask(ctx); err != nil {
		return nil, err
	}
	uploads, err := c.uploads()
	if err != nil {
		return nil, err
	}
	route := &headlamp.Route{Base: p.address.Base, Gate: c.gate, Server: c.server}
	if uploads {
		err = c.upload(ctx, route)
	} else {
		err = c.choose(ctx, route)
		a.headlampCluster = route.Cluster
	}
	if err != nil {
		return nil, err
	}
	c.setNamespace(route.Cluster)
	c.conn.Config = route.Apply(c.conn.Config)
	a.headlampServer = c.server
	return c.conn, nil
}

// prepare sets gate and conn. It does not access the network.
func (c *headlampConnection) prepare() error {
	if c.user.Login == kubeconfig.Password {
		return notice.WithHint(
			fmt.Errorf("%s a password, which is not passed on to a Headlamp server", c.userHas()),
			"type --token TOKEN, or choose a user with a token by --context or --user")
	}
	var err error
	if c.gate, err = c.app.headlamp.token(); err != nil {
		return err
	}
	stateless := c.plan.stateless != statelessNever
	c.conn, err = c.loaded.ConnectTo(kubeconfig.Server{
		URL: c.plan.address.Base, Source: c.plan.source, Secret: c.gate != "" || stateless,
	})
	if err != nil {
		return err
	}
	if err := c.conn.UseHTTPCredentials(c.app.httpRule()); err != nil {
		return err
	}
	if c.conn.CredentialsDropped() {
		if stateless {
			return outcome.NewUsageError(
				"a context is not uploaded with --http-credentials=drop, because it contains credentials",
				"omit --headlamp-stateless, or use an https:// address")
		}
		c.user.Login, c.gate = kubeconfig.NoLogin, ""
	}
	if c.options.completing {
		c.conn.Config = withoutPrompts(c.conn.Config)
	}
	c.app.useNamespaceSetting(c.conn)
	return nil
}

// checkUpload returns an error if no context is selected, or a flag names a
// cluster of the server. If a setting names one, or the address the one with the
// name of the context, checkUpload removes the name from the plan.
func (c *headlampConnection) checkUpload() error {
	context, cluster, source := c.conn.Context, c.plan.address.Cluster, c.plan.clusterSource
	const (
		always = "--" + statelessFlag + "=" + statelessAlways
		never  = "--" + statelessFlag + "=" + statelessNever
	)
	switch {
	case context == "":
		return outcome.NewUsageError("--"+statelessFlag+" uploads a context of the kubeconfig, and none is selected",
			"--context CONTEXT")
	case source == "--"+clusterFlag:
		return outcome.NewUsageError(source+" and "+always+" exclude each other",
			"omit "+source+" to upload the context, or type "+never+" to use the cluster of the server")
	case cluster == "", cluster == headlamp.MapName(context):
	case source == "--"+headlampFlag:
		return outcome.NewUsageError(
			fmt.Sprintf("the address in %s names the cluster %q, but %s uploads the context %q",
				source, cluster, always, context),
			fmt.Sprintf("type --%s %s to upload the context, or %s to use the cluster of the server",
				headlampFlag, script.Quote(c.plan.address.Base), never))
	default:
		c.app.notice.Detail("the cluster %q of %s is not used, because the context %q is uploaded", cluster, source, context)
	}
	c.plan.address.Cluster = ""
	return nil
}

// userHas returns the beginning of a sentence about the user's credentials.
func (c *headlampConnection) userHas() string {
	if c.user.Name == "" || c.app.kube.Username != "" {
		return "the user has only"
	}
	return fmt.Sprintf("user %q has only", c.user.Name)
}

// ask asks the server for its configuration, if it is needed, and determines
// the user's credentials at the same time, if it is certain that they will be
// sent.
func (c *headlampConnection) ask(ctx context.Context) error {
	known := c.plan.address.Cluster
	// An upload is possible only if the server allows it.
	required := known == "" || c.plan.stateless == statelessAlways
	var askErr, loginErr error
	var probe group.Group
	if required || c.conn.Namespace == "" || c.wantsNodeDefaults() || c.options.diagnosing {
		probe.Go(func() { c.server, askErr = c.probe(ctx) })
	}
	if known != "" && c.plan.stateless != statelessAlways || c.user.Chosen || c.plan.ofContext {
		if known == "" || c.checkContext(known) == nil { // c.choose returns the error
			loginErr = c.resolve(ctx)
		}
	}
	probe.Wait()
	switch {
	case ctx.Err() != nil:
		return outcome.ContextCause(ctx, ctx.Err())
	case askErr != nil && required:
		return askErr
	case askErr != nil: // if the first request fails as well, it reports the reason
		c.app.notice.Detail("the configuration of the Headlamp server is not known: %s", askErr)
	}
	return loginErr
}

// wantsNodeDefaults reports whether the server's default image or namespace for
// node shells is used if it has one.
func (c *headlampConnection) wantsNodeDefaults() bool {
	s := c.app.settings
	return c.options.nodeShell && (s.NodeImage.Text == "" || c.app.kube.Namespace == "" && s.Namespace.Text == "")
}

func (c *headlampConnection) probe(ctx context.Context) (*headlamp.Server, error) {
	return c.app.probeHeadlamp(ctx, c.conn.Config, c.plan.address.Base, c.gate)
}

// askHeadlamp returns the configuration of the Headlamp server that the flags or
// the settings select. It sends no credentials of the user.
func (a *app) askHeadlamp(ctx context.Context) (*headlamp.Server, error) {
	loaded, err := a.load()
	if err != nil {
		return nil, err
	}
	p, err := a.headlamp.plan(&a.settings, &a.kube)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, outcome.NewUsageError("no Headlamp server is selected", "--"+headlampFlag+" URL")
	}
	return a.askServer(ctx, loaded, p)
}

// askServer returns the configuration of the Headlamp server of p. It sends no
// credentials of the user.
func (a *app) askServer(
	ctx context.Context, loaded *kubeconfig.Loaded, p *headlampPlan,
) (*headlamp.Server, error) {
	gate, err := a.headlamp.token()
	if err != nil {
		return nil, err
	}
	conn, err := loaded.ConnectTo(kubeconfig.Server{URL: p.address.Base, Source: p.source, Secret: gate != ""})
	if err != nil {
		return nil, err
	}
	if gate != "" {
		if err := conn.UseHTTPCredentials(a.httpRule()); err != nil {
			return nil, err
		}
	}
	if conn.CredentialsDropped() {
		gate = ""
	}
	return a.probeHeadlamp(ctx, conn.Config, p.address.Base, gate)
}

// probeHeadlamp asks the Headlamp server at base for its configuration.
func (a *app) probeHeadlamp(ctx context.Context, cfg *rest.Config, base, gate string) (*headlamp.Server, error) {
	timeout := cmp.Or(cfg.Timeout, a.probeTimeout, defaultProbeTimeout)
	cfg = rest.CopyConfig(cfg)
	cfg.Timeout = 0 // the context limits the time
	client, err := headlamp.NewClient(cfg, gate)
	if err != nil {
		return nil, err
	}
	defer client.CloseIdleConnections()
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	server, err := headlamp.Probe(limited, client, base)
	if err == nil {
		return server, nil
	}
	var failed *apiclient.ConnectError
	unreachable := errors.As(err, &failed)
	if limited.Err() != nil && ctx.Err() == nil {
		err = &apiclient.TimeoutError{Server: base, After: timeout}
		if unreachable {
			late := *failed
			late.Err = err
			return nil, &late
		}
		return nil, err
	}
	if unreachable {
		return nil, fmt.Errorf("the Headlamp server %s cannot be reached: %w", base, failed)
	}
	return nil, err
}

// resolve sets login, which may run the credential plugin.
func (c *headlampConnection) resolve(ctx context.Context) error {
	if c.login != nil || c.user.Login != kubeconfig.Bearer {
		return nil
	}
	login, err := c.credentials(ctx, c.conn.Config)
	if err != nil {
		return err
	}
	c.login = &login
	return nil
}

// credentials is like apiclient.ResolveCredentials, which may run the credential
// plugin, but returns the cause of ctx when ctx ends. The plugin cannot be
// interrupted, so the goroutine that runs it continues until the plugin or the
// process ends.
func (c *headlampConnection) credentials(ctx context.Context, cfg *rest.Config) (apiclient.Credentials, error) {
	type result struct {
		apiclient.Credentials
		err error
	}
	resolved := make(chan result, 1)
	go func() {
		defer c.app.cleanup.OnPanic()
		login, err := apiclient.ResolveCredentials(cfg)
		resolved <- result{login, err}
	}()
	select {
	case r := <-resolved:
		return r.Credentials, r.err
	case <-ctx.Done():
		return apiclient.Credentials{}, outcome.ContextCause(ctx, ctx.Err())
	}
}

// uploads reports whether the context of the kubeconfig is uploaded.
func (c *headlampConnection) uploads() (bool, error) {
	switch c.plan.stateless {
	case statelessAlways:
		return true, c.server.CheckStateless()
	case statelessAuto:
		context := c.conn.Context
		if c.plan.address.Cluster != "" || context == "" || c.server == nil || !c.server.Stateless ||
			c.server.Cluster(headlamp.MapName(context)) != nil {
			return false, nil
		}
		c.app.notice.Note("the context %q is uploaded to the Headlamp server %s, which has no cluster of this name",
			context, c.plan.address.Base)
		return true, nil
	}
	return false, nil
}

// choose sets the cluster of route, and checks that the user's credentials may
// be sent to it.
func (c *headlampConnection) choose(ctx context.Context, route *headlamp.Route) error {
	route.Cluster = c.plan.address.Cluster
	if c.server != nil {
		var err error
		if route.Cluster, err = c.server.Choose(route.Cluster, c.conn.Context); err != nil {
			return err
		}
	}
	if c.user.Login == kubeconfig.Certificate {
		return c.onlyCertificate()
	}
	if err := c.checkContext(route.Cluster); err != nil {
		return err
	}
	if err := c.resolve(ctx); err != nil {
		return err
	}
	switch {
	case c.login == nil:
		c.app.notice.Detail("no credentials are sent: Headlamp uses its own for cluster %q, if it has any", route.Cluster)
	case c.login.Token == "":
		return c.onlyCertificate()
	}
	return nil
}

// onlyCertificate returns the error for a user without a token.
func (c *headlampConnection) onlyCertificate() error {
	return notice.WithHint(
		fmt.Errorf("%s a client certificate, which a Headlamp server cannot pass on", c.userHas()),
		"type --token TOKEN; or --"+statelessFlag+"="+statelessAlways+
			", which uploads the context of the kubeconfig with the key of the certificate, if the server allows that")
}

// checkContext returns an error if the credentials are those of the current
// context, and it is not certain that they are meant for the cluster.
func (c *headlampConnection) checkContext(cluster string) error {
	context := c.conn.Context
	if c.user.Login == kubeconfig.NoLogin || c.user.Chosen || c.plan.ofContext || headlamp.MapName(context) == cluster {
		return nil
	}
	return outcome.NewUsageError(
		fmt.Sprintf("the credentials of the current context %q are not sent to the cluster %q of the Headlamp server %s, "+
			"because the names differ", context, cluster, c.plan.address.Base),
		"if they are meant for this cluster, type --context "+script.Quote(context)+
			"; otherwise --token TOKEN, or --kubeconfig /dev/null to send none")
}

// upload makes route upload the context of the kubeconfig.
func (c *headlampConnection) upload(ctx context.Context, route *headlamp.Route) error {
	direct, err := c.loaded.ConnectDirectly()
	if err != nil {
		return err
	}
	if err := direct.UseHTTPCredentials(c.app.httpRule()); err != nil {
		return err
	}
	if c.options.completing {
		direct.Config = withoutPrompts(direct.Config)
	}
	login, err := c.credentials(ctx, direct.Config)
	if err != nil {
		return err
	}
	cfg := direct.Config
	if login.Token == "" && (login.Cert != nil || cfg.CertFile != "" || cfg.CertData != nil) {
		if c.plan.stateless != statelessAlways {
			return c.onlyCertificate()
		}
		c.app.notice.WarnAlways("the client key of context %q is uploaded to the Headlamp server %s, which uses it, "+
			"and passes it on to the cluster", c.conn.Context, route.Base)
	}
	cfg = rest.CopyConfig(cfg)
	cfg.BearerToken, cfg.BearerTokenFile = login.Token, ""
	if login.Cert != nil {
		cfg.CertData, cfg.KeyData = login.Cert, login.Key
	}
	if route.Kubeconfig, err = headlamp.Flatten(cfg); err != nil {
		return fmt.Errorf("the context %q cannot be uploaded: %w", c.conn.Context, err)
	}
	if route.Cluster, err = headlamp.ContextName(route.Kubeconfig); err != nil {
		return err
	}
	id, err := userID(stateDir())
	if err != nil {
		c.app.notice.Detail("the ID of this user for Headlamp servers is not stored, and a new one is used: %s", err)
	}
	route.UserID = headlamp.UserID(id, route.Cluster)
	return nil
}

// setNamespace sets the namespace of the connection.
func (c *headlampConnection) setNamespace(cluster string) {
	given := cmp.Or(c.app.kube.Namespace, c.app.settings.Namespace.Text)
	if c.server != nil {
		if found := c.server.Cluster(cluster); found != nil {
			c.conn.Namespace = cmp.Or(c.conn.Namespace, found.Namespace)
		}
		if c.options.nodeShell && given == "" {
			c.conn.Namespace = cmp.Or(c.server.NodeShellNamespace, c.conn.Namespace)
		}
	}
	c.conn.Namespace = cmp.Or(c.conn.Namespace, "default")
}

// routeDirect makes a connection to an API server use the route through a
// Headlamp server, if the address is that of a cluster of one:
// BASE/clusters/NAME.
func (a *app) routeDirect(conn *kubeconfig.Connection) error {
	server := serverOf(conn.Config)
	address, err := headlamp.Parse(server)
	if err != nil || address.Cluster == "" || address.URL() != server || strings.Contains(conn.Config.Host, "@") {
		return nil //nolint:nilerr // the address is that of another server, or has a password
	}
	gate, err := a.headlamp.token()
	if err != nil {
		return err
	}
	route := &headlamp.Route{Base: address.Base, Cluster: address.Cluster, Unverified: true}
	if a.mayGetToken(address.Base) {
		route.Gate = gate
	}
	conn.Config = route.Apply(conn.Config)
	return nil
}

// mayGetToken reports whether the token of Headlamp's desktop app is sent to the
// server at base, which may not be a Headlamp. The variable is meant for a
// desktop app on this machine, and the flag for any server.
func (a *app) mayGetToken(base string) bool {
	u, err := url.Parse(base)
	switch rule := a.httpRule(); {
	case err != nil:
		return false
	case u.Scheme == "http" && rule != "":
		return rule == kubeconfig.HTTPSend && (kubeconfig.IsLocal(u) || a.headlamp.tokenFile != "")
	case kubeconfig.IsLocal(u):
		return true
	}
	return u.Scheme == "https" && a.headlamp.tokenFile != ""
}

// withoutPrompts returns cfg with a credential plugin that cannot prompt.
func withoutPrompts(cfg *rest.Config) *rest.Config {
	return remote.WithoutPrompts(cfg, "a shell completion cannot prompt")
}
