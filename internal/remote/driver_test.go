package remote

import (
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"kshell/internal/stream"
)

// newCommand returns a command in a cluster that is never reached.
func newCommand(t *testing.T, cluster *Cluster) *Command {
	t.Helper()
	cmd, err := New(cluster.env, cluster, webTarget, Options{Command: []string{"ls"}, Protocols: stream.Protocols()})
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

// newCluster returns a cluster that is never reached.
func newCluster(t *testing.T) *Cluster {
	t.Helper()
	env, _ := recordedEnv()
	cluster, err := NewCluster(env, &rest.Config{Host: "https://server"}, false)
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

// After a reconnect, the wait for the result of a command that has ended begins
// again.
func TestDriverOpened_GoneSince(t *testing.T) {
	d := &driver{cmd: newCommand(t, newCluster(t)), goneSince: time.Now()}
	if err := d.Opened(t.Context(), &stream.Conn{}); err != nil {
		t.Fatal(err)
	}
	if !d.goneSince.IsZero() {
		t.Error("the time of an earlier connection is kept")
	}
}
