package remote

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"sync/atomic"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"

	"kshell/internal/apiclient"
	"kshell/internal/outcome"
)

// background is the transport of requests that are made while a session uses
// the terminal. If such a request ran a credential plugin, the plugin would
// read the keys typed for the session and write to its screen.
//
// Therefore these requests carry credentials that the method hold has stored
// earlier. If the server refuses the credentials (401), background runs the
// plugin again, with the null device as stdin and stderr. A background is safe
// for concurrent use.
type background struct {
	cfg   *rest.Config      // the configuration of the session
	renew http.RoundTripper // runs the plugin without the terminal
	held  atomic.Pointer[held]
}

// held is a set of credentials and a transport that sends them.
type held struct {
	token string
	cert  []byte // PEM
	http.RoundTripper
}

// newBackground returns a background for cfg, and a configuration for clients
// that use the background as their transport. cfg must have a credential
// plugin.
func newBackground(cfg *rest.Config) (*background, *rest.Config, error) {
	server, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, nil, err
	}
	quiet, err := withQuietPlugin(cfg)
	if err != nil {
		return nil, nil, err
	}
	b := &background{cfg: http1(cfg)}
	if b.renew, err = rest.TransportFor(http1(quiet)); err != nil {
		return nil, nil, err
	}
	outer := rest.AnonymousClientConfig(cfg)
	outer.Host, outer.TLSClientConfig, outer.Proxy, outer.Transport = server.String(), rest.TLSClientConfig{}, nil, b
	return b, outer, nil
}

// http1 returns a copy of cfg that disables HTTP/2, because an HTTP/2
// connection cannot be upgraded to SPDY. The requests during a session are so
// few that they do not need HTTP/2.
func http1(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.NextProtos = []string{"http/1.1"}
	return cfg
}

// hold stores the current credentials of the session's plugin. If the plugin
// has not run yet or its credentials have expired, hold runs the plugin on the
// terminal.
func (b *background) hold() error {
	now, err := apiclient.ResolveCredentials(b.cfg)
	if err != nil {
		return err
	}
	token, cert, key := now.Token, now.Cert, now.Key
	if token == "" && cert == nil {
		return errors.New("the credential plugin returned no credentials")
	}
	if old := b.held.Load(); old != nil && old.token == token && slices.Equal(old.cert, cert) {
		return nil
	}
	cfg := rest.CopyConfig(b.cfg)
	cfg.ExecProvider, cfg.BearerToken, cfg.CertData, cfg.KeyData = nil, token, cert, key
	transport, err := rest.TransportFor(cfg)
	if err != nil {
		return err
	}
	b.held.Store(&held{token, cert, transport})
	return nil
}

// CloseIdleConnections is called by the method of that name of http.Client.
func (b *background) CloseIdleConnections() {
	if held := b.held.Load(); held != nil {
		utilnet.CloseIdleConnectionsFor(held.RoundTripper)
	}
	utilnet.CloseIdleConnectionsFor(b.renew)
}

// RoundTrip implements http.RoundTripper.
func (b *background) RoundTrip(req *http.Request) (*http.Response, error) {
	held := b.held.Load()
	if held == nil {
		return b.renew.RoundTrip(req)
	}
	again := req.Clone(req.Context())
	resp, err := held.RoundTrip(req)
	// The body of a handshake is empty, so it can be sent again.
	empty := req.Body == nil || req.Header.Get("Upgrade") != ""
	if err != nil || resp.StatusCode != http.StatusUnauthorized || !empty && req.GetBody == nil {
		return resp, err
	}
	b.held.CompareAndSwap(held, nil)
	if !empty {
		if again.Body, err = req.GetBody(); err != nil {
			return resp, nil //nolint:nilerr // the request cannot be repeated: the 401 is returned
		}
	}
	_ = resp.Body.Close() // the body is not used
	return b.renew.RoundTrip(again)
}

// QuietPlugin is the first argument of a kshell process that runs a credential
// plugin without stdin and stderr. The other arguments are the plugin's command
// line. kshell makes client-go start this process instead of the plugin,
// because client-go would pass its own stderr to the plugin.
const QuietPlugin = "__quiet-plugin"

// withQuietPlugin returns a copy of cfg whose credential plugin is run by
// RunQuietPlugin and is told that it cannot prompt the user.
func withQuietPlugin(cfg *rest.Config) (*rest.Config, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cfg = WithoutPrompts(cfg, "a session is using the terminal")
	plugin := cfg.ExecProvider
	plugin.Args = append([]string{QuietPlugin, plugin.Command}, plugin.Args...)
	plugin.Command = self
	plugin.PluginPolicy = api.PluginPolicy{} // the plugin has run before, so the policy allows it
	return cfg, nil
}

// RunQuietPlugin runs a credential plugin, without stdin and stderr, and
// returns its exit code. command is the plugin's command line: the arguments
// after QuietPlugin.
func RunQuietPlugin(stdout io.Writer, command []string) int {
	if len(command) == 0 {
		return outcome.ExitUsage
	}
	// Running the command adds no risk: it comes from the kubeconfig, and
	// client-go would run it, too.
	cmd := exec.CommandContext(context.Background(), command[0], command[1:]...)
	cmd.Stdout = stdout
	if err := cmd.Run(); err != nil {
		return cmp.Or(max(cmd.ProcessState.ExitCode(), 0), outcome.ExitFailed)
	}
	return 0
}
