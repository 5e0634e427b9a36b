//go:build unix

package main

import (
	"testing"

	"kshell/internal/sandbox"
)

// greeting is the size of the first frame on stdout, in bytes. Its message is
// empty.
const greeting = 3

// The faults of servers that accept a connection and then send nothing.
var (
	silentAPI = sandbox.Fault{Path: "/", Do: sandbox.Hang, When: sandbox.AtRequest}
	// The API server passes the WebSocket on to the kubelet, which does not
	// answer.
	silentKubelet = sandbox.Fault{Do: sandbox.Hang, When: sandbox.AtRequest}
	// The API server translates the WebSocket to SPDY, and accepts it itself.
	// The kubelet does not answer.
	silentSocket = sandbox.Fault{Do: sandbox.StallWrite, When: sandbox.AfterSent, N: greeting}
)

func TestCtrlC_BeforeTheFirstByte(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault sandbox.Fault
		args  []string
		note  string
	}{
		{"server", silentAPI, []string{"exec", "web"}, "waiting for the API server at 127.0.0.1:"},
		{
			"kubelet", silentKubelet,
			[]string{"exec", "web"},
			`waiting for node node1 to start the command \(up to 35s, press Ctrl-C to cancel\)`,
		},
		{
			"server, named container", silentAPI,
			[]string{"exec", "web", "-c", "web"},
			"waiting for the API server at 127.0.0.1:",
		},
		{
			"kubelet, named container", silentKubelet,
			[]string{"exec", "web", "-c", "web"},
			`waiting for node node1 to start the command \(up to 35s, press Ctrl-C to cancel\)`,
		},
		{"socket", silentSocket, []string{"exec", "web"}, "waiting for node node1 to start the command"},
		{
			"socket, plain mode", silentSocket,
			[]string{"exec", "-it", "--exact=never", "web", "--", "sh"},
			"waiting for node node1 to start the command",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startSandbox(t)
			s.Inject(tt.fault)
			c := open(t, s, "env", append([]string{slowVariable + "=300ms", program(t)}, tt.args...)...)
			c.waitFor(tt.note)
			c.keys("\x03")
			c.mustEnd(130)
		})
	}
}
