package apiclient

import (
	"fmt"
	"net/http"
	"strings"

	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
)

// PluginErrors returns a transport that wraps rt, which must be the transport of
// rest.HTTPClientFor or rest.TransportFor for cfg. If the credential plugin
// fails, its RoundTrip returns a *PluginError.
func PluginErrors(cfg *rest.Config, rt http.RoundTripper) http.RoundTripper {
	command := "the credential plugin"
	if cfg.ExecProvider != nil {
		command = cfg.ExecProvider.Command
	}
	return pluginErrors{rt, command}
}

type pluginErrors struct {
	http.RoundTripper
	command string // the plugin, for hints
}

// WrappedRoundTripper implements RoundTripperWrapper of
// k8s.io/apimachinery/pkg/util/net.
func (p pluginErrors) WrappedRoundTripper() http.RoundTripper { return p.RoundTripper }

// CloseIdleConnections is called by the method of that name of http.Client.
func (p pluginErrors) CloseIdleConnections() { utilnet.CloseIdleConnectionsFor(p.RoundTripper) }

// pluginPrefix is the beginning of client-go's errors about a plugin. They have
// no type.
const pluginPrefix = "getting credentials: "

// RoundTrip implements http.RoundTripper.
func (p pluginErrors) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := p.RoundTripper.RoundTrip(req)
	if err == nil || !strings.HasPrefix(err.Error(), pluginPrefix) {
		return resp, err
	}
	return nil, newPluginError(err, p.command)
}

// PluginError means that the credential plugin of the user failed.
type PluginError struct {
	text  string
	hints []string
	err   error
}

// newPluginError returns the error for err, with which the plugin command has
// failed. The first line of client-go's text is the message; the other lines
// are hints.
func newPluginError(err error, command string) *PluginError {
	text, rest, _ := strings.Cut(err.Error(), "\n")
	e := &PluginError{text: text, err: err}
	for line := range strings.Lines(rest) {
		switch line := strings.TrimSpace(line); {
		case line == "":
		case strings.HasPrefix(line, "https://") && len(e.hints) > 0: // the address that the previous line announces
			e.hints[len(e.hints)-1] += " " + line
		default:
			e.hints = append(e.hints, line)
		}
	}
	if len(e.hints) == 0 {
		e.hints = pluginHints(text, command)
	}
	return e
}

// pluginHints returns the hints for a failure of the plugin command. text is
// the message of the failure.
func pluginHints(text, command string) []string {
	switch {
	case strings.Contains(text, " not found"):
		return []string{"install the program, or correct the user's exec.command in the kubeconfig"}
	case strings.Contains(text, "plugin returned version"), strings.Contains(text, "is registered for version"):
		return []string{fmt.Sprintf("%s and the kubeconfig differ in the apiVersion: update %[1]s, and log in again "+
			"with the command that wrote the user's entry in the kubeconfig", command)}
	case strings.Contains(text, "not allowed: policy"), strings.Contains(text, "credential plugin allowlist"):
		return []string{"credentialPluginPolicy and credentialPluginAllowlist in the kuberc file " +
			"(--kuberc, KUBERC or ~/.kube/kuberc) determine which plugins may run"}
	case strings.Contains(text, "interactive mode"):
		return []string{"the plugin must prompt: run the command in a terminal, or log in there first"}
	}
	return []string{"log in again with the login command of your cluster"}
}

// Error returns the message of client-go, in one line.
func (e *PluginError) Error() string { return e.text }

// Hint returns what to install or to type, in one or more lines.
func (e *PluginError) Hint() string { return strings.Join(e.hints, "\n") }

// Unwrap returns the error of client-go.
func (e *PluginError) Unwrap() error { return e.err }
