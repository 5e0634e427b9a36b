package remote

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
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
				found := &pod.Found{Pod: object, Container: "web"}
				target := Target{Namespace: "default", Pod: "web", Container: "web", Found: found}
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

// The status of the pod is requested on a new connection, although another
// request is in progress on the old HTTP/2 connection, which can therefore not
// be closed.
func TestPodWatch_RequestAfterLoss_NewConnection(t *testing.T) {
	type request struct{ path, connection string }
	requests := make(chan request, 2)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests <- request{r.URL.Path, r.Proto + " " + r.RemoteAddr}
		if strings.HasSuffix(r.URL.Path, "/other") {
			<-r.Context().Done()
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	env, _ := recordedEnv()
	cfg := &rest.Config{Host: s.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}
	cluster, err := NewCluster(env, cfg, false)
	if err != nil {
		t.Fatal(err)
	}
	cmd := newCommand(t, cluster)
	target := cmd.Target()
	object := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: target.Pod, Namespace: target.Namespace}}
	target.Found = &pod.Found{Pod: object, Container: target.Container}
	cmd.setTarget(target)
	cmd.limits.Status, cmd.limits.Reason = time.Minute, time.Minute

	ctx, cancel := context.WithCancel(t.Context())
	var other sync.WaitGroup
	defer other.Wait()
	defer cancel()
	other.Go(func() { _, _ = cluster.BackgroundPods().Get(ctx, target.Namespace, "other") })
	first := <-requests
	cmd.newPodWatch().findReason(t.Context(), false)
	second := <-requests
	if !strings.HasPrefix(first.connection, "HTTP/2") || first.connection == second.connection {
		t.Errorf("requests %q and %q, want two connections with HTTP/2", first, second)
	}
}
