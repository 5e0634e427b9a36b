package suite

import (
	"strings"
	"testing"
)

// TestPicker types a part of a name into the list, and chooses the pod and one
// of its containers.
func TestPicker(t *testing.T) {
	notInCI(t)
	server := newTmux(t)
	for _, way := range apiPaths() {
		t.Run(way.name, func(t *testing.T) {
			w := server.open(t, program(way.kubeconfig), nil)
			w.local("clear")
			w.enter("$CLI exec -- hostname; echo code $?")
			w.contains("pods in namespace default")
			w.text("mult")
			w.wait("one pod is left", func(s screen) bool {
				return strings.Contains(s.String(), "multi ") && !strings.Contains(s.String(), "web ")
			})
			w.keys("Enter")
			w.contains("containers of pod multi")
			w.text("b")
			w.keys("Enter")
			w.line("multi")
			w.line("code 0")
			w.prompt("local")
			w.local("clear")
			w.enter("$CLI exec --pick -l app=web -- hostname; echo not reached")
			w.contains("pods in namespace default")
			w.keys("C-c") // kshell ends by SIGINT, so the shell does not run the rest of the line
			w.prompt("local")
			w.local("echo code $?")
			w.line("code 130")
		})
	}
}
