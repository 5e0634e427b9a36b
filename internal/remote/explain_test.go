package remote

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/stream"
)

var webTarget = Target{Namespace: "team", Pod: "web", Container: "app"}

// errorText holds the message and the hint that are printed for an error.
type errorText struct{ Message, Hint string }

func errorTextOf(err error) errorText {
	if err == nil {
		return errorText{}
	}
	return errorText{Message: err.Error(), Hint: notice.HintOf(err)}
}

// Messages of a containerd node.
const (
	notFound = `Internal error occurred: error executing command in container: ` +
		`failed to exec in container: failed to start exec "4f": ` +
		`OCI runtime exec failed: exec failed: unable to start container process: ` +
		`exec: "frobnicate": executable file not found in $PATH: unknown`
	notExecutable = `failed to exec in container: OCI runtime exec failed: exec failed: ` +
		`unable to start container process: ` +
		`exec: "/etc/passwd": permission denied: unknown`
)

func TestExplain(t *testing.T) {
	const (
		notRunning  = "the container is not running: type `kubectl describe pod web -n team` to see why"
		ownPath     = "the command is looked up in the container's own PATH; an image without a shell has no sh either"
		checkServer = "a login page or a gateway may be in front of the API server: " +
			"check --server and the proxy settings"
		tryAgain = "a gateway in front of the API server does not reach it: is the cluster up? Try again in a few seconds"
		verbs    = "exec needs the verbs get and create on pods/exec in namespace team: " +
			"type `kubectl auth can-i create pods --subresource=exec -n team`"
		omitSubprotocol = "omit --subprotocol"
		checkProxy      = "check that the server is the API server itself: a proxy in front of it may not support WebSockets"
		needsV5         = "stdin that ends needs v5.channel.k8s.io (Kubernetes 1.30); " +
			"for an older server, omit -i or pass the data as arguments"
		forbidden = "the server refused (403 Forbidden) and gave no reason: " +
			"it may support none of the subprotocols offered "
	)
	v5 := []string{stream.V5}
	command := &Options{Program: "kubectl kshell exec", Command: []string{"frobnicate"}, Protocols: stream.Protocols()}
	input := &Options{Command: []string{"cat"}, Stdin: true, Protocols: v5, InputEnds: true}
	chosen := &Options{Command: []string{"ls"}, Protocols: v5, ProtocolsChosen: true}
	interactive := &Options{Command: []string{"bash"}, Stdin: true, TTY: true, Protocols: stream.Protocols()}
	status := func(code int, message string) *stream.HandshakeError {
		return &stream.HandshakeError{StatusCode: code, Status: &metav1.Status{Message: message}}
	}
	tests := []struct {
		name    string
		err     error
		options *Options
		want    errorText
		code    int
	}{
		{"success", nil, command, errorText{}, 0},
		{"exit code", &stream.ExitError{Code: 7}, command, errorText{"command exited with code 7", ""}, 7},
		{
			"lost", &stream.LostError{Err: errors.New("reset")}, command,
			errorText{
				"the connection broke before the command ended, so its result is unknown; it may still be running " +
					"(connection lost: reset)",
				"`kubectl kshell exec web -- ps` lists the processes of the container",
			},
			255,
		},
		{
			"lost, with a percent sign", &stream.LostError{Err: errors.New("disk 100% full")}, command,
			errorText{
				"the connection broke before the command ended, so its result is unknown; it may still be running " +
					"(connection lost: disk 100% full)",
				"`kubectl kshell exec web -- ps` lists the processes of the container",
			},
			255,
		},
		{
			"lost on a terminal", &stream.LostError{Err: errors.New("reset")}, interactive,
			errorText{"connection lost: reset", ""},
			255,
		},
		{
			"no such command", &stream.RemoteError{Message: notFound, Start: stream.StartNotFound}, command,
			errorText{
				`the container has no command "frobnicate": exec: "frobnicate": executable file not found in $PATH`, ownPath,
			},
			127,
		},
		{
			"not executable", &stream.RemoteError{Message: notExecutable, Start: stream.StartNotExecutable},
			&Options{Command: []string{"/etc/passwd"}},
			errorText{`the container could not run "/etc/passwd": exec: "/etc/passwd": permission denied`, ""},
			126,
		},
		{
			"the container has ended (v5)", &stream.RemoteError{Message: `container not found ("app")`}, command,
			errorText{`the server reported a failure: container not found ("app")`, notRunning},
			255,
		},
		{
			"the container has ended (v4)",
			&stream.HandshakeError{StatusCode: http.StatusInternalServerError, Text: `container not found ("app")`}, command,
			errorText{`the server refused (500): container not found ("app")`, notRunning},
			255,
		},
		{
			"another failure that the server reports", &stream.RemoteError{Message: "no space left on device"}, command,
			errorText{"the server reported a failure: no space left on device", ""},
			255,
		},
		{
			"403 without a body", &stream.HandshakeError{StatusCode: http.StatusForbidden}, command,
			errorText{
				forbidden +
					"(v5.channel.k8s.io, v4.channel.k8s.io, v4.base64.channel.k8s.io, base64.channel.k8s.io, channel.k8s.io)",
				checkProxy,
			},
			255,
		},
		{
			"403 without a body, with chosen subprotocols", &stream.HandshakeError{StatusCode: http.StatusForbidden}, chosen,
			errorText{
				forbidden + "(v5.channel.k8s.io)",
				omitSubprotocol,
			},
			255,
		},
		{
			"403 without a body, with input that ends", &stream.HandshakeError{StatusCode: http.StatusForbidden}, input,
			errorText{
				forbidden + "(v5.channel.k8s.io)",
				needsV5,
			},
			255,
		},
		{
			"403 by RBAC",
			status(http.StatusForbidden, `pods "web" is forbidden: User "dev" cannot get resource "pods/exec"`), command,
			errorText{`the server refused (403): pods "web" is forbidden: User "dev" cannot get resource "pods/exec"`, verbs},
			255,
		},
		{
			"403 that gives no reason (1.35)", status(http.StatusForbidden, `pods "web" is forbidden: `), command,
			errorText{
				`the server refused (403): pods "web" is forbidden: no reason given; ` +
					`the verb create on pods/exec is probably missing`,
				verbs,
			},
			255,
		},
		{
			"401", status(http.StatusUnauthorized, "Unauthorized"), command,
			errorText{"the server refused (401): Unauthorized", "log in again, or try another --context or --user"},
			255,
		},
		{
			"a web page", &stream.HandshakeError{StatusCode: http.StatusBadGateway, Page: true}, command,
			errorText{"the server answered with a web page (502), not as a Kubernetes API", tryAgain},
			255,
		},
		{
			"a redirect to a login page",
			&stream.HandshakeError{StatusCode: http.StatusFound, Location: "https://login.example/"}, command,
			errorText{"the server redirects (302) to https://login.example/: the redirect was not followed", checkServer},
			255,
		},
		{
			"404", &stream.HandshakeError{StatusCode: http.StatusNotFound, Status: &metav1.Status{
				Reason: metav1.StatusReasonNotFound, Message: `pods "web" not found`,
				Details: &metav1.StatusDetails{Kind: "pods", Name: "web"},
			}}, command,
			errorText{`the server refused (404): pods "web" not found`, "`kubectl get pods -n team` lists the pods"},
			255,
		},
		{
			"server not reachable", &stream.DialError{Server: "https://k", Err: errors.New("no route")}, command,
			errorText{"cannot connect to https://k: no route", ""},
			255,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := explain(tt.err, tt.options, webTarget, false)
			if diff := cmp.Diff(tt.want, errorTextOf(got)); diff != "" {
				t.Errorf("message and hint (-want +got):\n%s", diff)
			}
			if code := outcome.Classify(got).ExitCode; code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if tt.err != nil && !errors.Is(got, tt.err) {
				t.Errorf("%v does not wrap the error", got)
			}
		})
	}
}
