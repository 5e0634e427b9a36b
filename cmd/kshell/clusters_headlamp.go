package main

import (
	"cmp"
	"context"
	"errors"

	"kshell/internal/headlamp"
	"kshell/internal/kubeconfig"
)

// headlampEntries returns the clusters of the Headlamp server of plan.
func (a *app) headlampEntries(
	ctx context.Context, loaded *kubeconfig.Loaded, plan *headlampPlan,
) ([]clusterEntry, error) {
	if err := a.checkHTTPRule(a.settings.HTTP); err != nil {
		return nil, err
	}
	server, err := a.askServer(ctx, loaded, plan)
	if err != nil {
		return nil, err
	}
	c := headlampConnection{app: a, plan: plan, loaded: loaded, user: loaded.User(), server: server}
	chosen, err := server.Choose(plan.address.Cluster, loaded.Context())
	if err != nil {
		chosen = "" // none, or several
	}
	var entries []clusterEntry
	for _, cluster := range server.Clusters {
		address := headlamp.Address{Base: plan.address.Base, Cluster: cluster.Name}
		entry := clusterEntry{row: clusterRow{
			Name: cluster.Name, From: fromHeadlamp, Server: address.URL(),
			Auth:      cmp.Or(cluster.AuthType, c.authFor(cluster.Name, chosen)),
			Namespace: cmp.Or(a.kube.Namespace, cluster.Namespace, "default"),
			Current:   cluster.Name == chosen && !a.headlamp.byFlag(),
		}}
		entry.connect = func() (*kubeconfig.Connection, error) {
			if cluster.Error != "" {
				return nil, errors.New(cluster.Error)
			}
			return c.connectTo(cluster.Name, chosen)
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// sends reports whether kshell sends the user's credentials to a cluster. chosen
// is the cluster that the flags and the settings select, or "". Another cluster
// gets the credentials only if the context has its name.
func (c *headlampConnection) sends(cluster, chosen string) bool {
	switch {
	case c.user.Login != kubeconfig.Bearer:
		return false
	case cluster == headlamp.MapName(c.loaded.Context()):
		return true
	}
	return cluster == chosen && (c.user.Chosen || c.plan.ofContext)
}

// authFor returns how kshell authenticates to a cluster; see sends.
func (c *headlampConnection) authFor(cluster, chosen string) string {
	if c.sends(cluster, chosen) {
		return kubeconfig.AuthToken
	}
	return kubeconfig.AuthNone
}

// connectTo returns the connection with a cluster of the server. It neither
// accesses the network nor runs the credential plugin. The connection has the
// user's credentials only if sends allows it.
func (c *headlampConnection) connectTo(cluster, chosen string) (*kubeconfig.Connection, error) {
	own := *c
	if !own.sends(cluster, chosen) {
		own.user.Login = kubeconfig.NoLogin
	}
	if err := own.prepare(); err != nil {
		return nil, err
	}
	if own.user.Login == kubeconfig.NoLogin {
		own.conn.Config = headlamp.WithoutLogin(own.conn.Config)
	}
	own.setNamespace(cluster)
	route := &headlamp.Route{Base: own.plan.address.Base, Cluster: cluster, Gate: own.gate, Server: own.server}
	own.conn.Config = route.Apply(own.conn.Config)
	return own.conn, nil
}
