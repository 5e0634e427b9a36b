package remote

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"kshell/internal/pod"
	"kshell/internal/stream"
)

// lostNetwork is a transport to a server that cannot be reached.
type lostNetwork struct {
	refuses bool // connections fail at once; otherwise, nothing is answered
	events  []string
}

func (n *lostNetwork) CloseIdleConnections() { n.events = append(n.events, "close") }

func (n *lostNetwork) RoundTrip(req *http.Request) (*http.Response, error) {
	n.events = append(n.events, req.Method)
	if n.refuses {
		return nil, errors.New("connection refused")
	}
	<-req.Context().Done()
	return nil, req.Context().Err()
}

// After the loss of a command's connection, the status of the pod is requested
// once, on a new connection, and the request may take 500 ms.
func TestPodWatch_RequestAfterLoss(t *testing.T) {
	for name, c := range map[string]struct {
		refuses bool
		want    time.Duration
	}{
		"refused":      {true, 0},
		"not answered": {false, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := &lostNetwork{refuses: c.refuses}
				env, printed := recordedEnv()
				cluster, err := NewCluster(env, &rest.Config{Host: "https://server", Transport: network}, false)
				if err != nil {
					t.Fatal(err)
				}
				object := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"}}
				target := Target{"default", "web", "web", &pod.Found{Pod: object, Container: "web"}}
				cmd, err := New(env, cluster, target, Options{Reconnect: ReconnectNever})
				if err != nil {
					t.Fatal(err)
				}
				lost := &stream.LostError{Err: errors.New("reset")}
				begin := time.Now()
				if err := cmd.newPodWatch().ended(t.Context(), lost); !errors.Is(err, lost) {
					t.Errorf("error %v, want %v", err, lost)
				}
				if took := time.Since(begin); took != c.want || printed.Len() > 0 {
					t.Errorf("took %v, want %v; printed %q", took, c.want, printed)
				}
				if len(network.events) != 2 || network.events[0] != "close" || network.events[1] != http.MethodGet {
					t.Errorf("events %q", network.events)
				}
			})
		})
	}
}
