//go:build unix

package contract

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/internal/sandbox"
	"kshell/test/faultproxy"
)

func TestWatches(t *testing.T) {
	t.Parallel()
	w := sandboxSetup(t)
	Watches(t, w)
}

// TestWatches_HTTP checks watches of a server that refuses WebSockets. The
// changes arrive by HTTP.
func TestWatches_HTTP(t *testing.T) {
	t.Parallel()
	s, _ := startSandbox(t)
	w := setupOf(t, s, s.URL())
	s.Inject(sandbox.Fault{Path: "/", Upgrades: true, Code: 403})
	Watches(t, w)
}

// TestWatches_Expired checks a lost connection after which the server no longer
// has the changes since the last one that kshell got.
func TestWatches_Expired(t *testing.T) {
	t.Parallel()
	s, _ := startSandbox(t)
	w := setupOf(t, s, s.URL())
	WatchLost(t, w, s.Expire)
}

// TestWatches_NormalEnd checks watches that the server ends, as real servers do
// every few minutes.
func TestWatches_NormalEnd(t *testing.T) {
	t.Parallel()
	for name, upgrades := range map[string]bool{"WebSocket": false, "HTTP": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := startSandbox(t)
			w := setupOf(t, s, s.URL())
			if upgrades {
				s.Inject(sandbox.Fault{Path: "/", Upgrades: true, Code: 403})
			}
			x := startWatch(t, w.Program, "pods")
			x.waitFor("SYNCED", "")
			for range 3 {
				pod := w.Pod(t)
				x.waitFor("ADDED", pod)
				s.Bookmark()
				s.EndWatches()
				w.Delete(t, pod)
				x.waitFor("DELETED", pod)
				if x.count("ADDED", "web") != 1 || x.count("ADDED", pod) != 1 || x.count("DELETED", pod) != 1 {
					t.Errorf("changes were printed more than once: %+v", x.seen)
				}
			}
			x.interrupt()
		})
	}
}

// TestWatches_Restart checks a watch of a server that crashes and starts again.
func TestWatches_Restart(t *testing.T) {
	t.Parallel()
	s, _ := startSandbox(t)
	w := setupOf(t, s, s.URL())
	x := startWatch(t, w.Program, "nodes")
	x.waitFor("SYNCED", "")
	for i := range 3 {
		name := fmt.Sprintf("new-%d", i)
		s.Restart()
		s.Put("nodes", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}})
		x.waitFor("ADDED", name)
	}
	if x.count("ADDED", "node1") != 1 {
		t.Errorf("node1 was added more than once: %+v", x.seen)
	}
	x.interrupt()
}

func TestWatches_Limit(t *testing.T) {
	t.Parallel()
	s, _ := startSandbox(t)
	w := setupOf(t, s, s.URL())
	message := func(i int) {
		t.Helper()
		err := s.AddEvent("default", "web", corev1.Event{Reason: "Test", Message: fmt.Sprintf("number %d", i)})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 5 {
		message(i)
	}
	r := w.Run(t, nil, "watch", "events", "--limit", "2", "--once")
	if r.Code != 0 || strings.Count(r.Out, "number ") != 2 {
		t.Errorf("exit code %d, stdout %q, stderr %q", r.Code, r.Out, r.Err)
	}
	x := startWatch(t, w.Program, "events", "--limit", "2")
	x.waitFor("SYNCED", "")
	if len(x.seen) != 3 {
		t.Errorf("got %+v, want two events and SYNCED", x.seen)
	}
	message(5)
	x.waitFor("ADDED", "")
	x.interrupt()
	for _, line := range x.seen {
		if line.Type == "DELETED" {
			t.Errorf("an event beyond the limit counts as deleted: %+v", line)
		}
	}
}

// TestWatches_Refused checks the error of a user without permissions, for one
// cluster and for one of two.
func TestWatches_Refused(t *testing.T) {
	t.Parallel()
	w := sandboxSetup(t)
	r := w.Run(t, nil, "watch", "pods", "--context", "none")
	r.checkEnd(t, 255, "", "kshell: the server refused (403): pods is forbidden: ",
		"hint: kshell watch needs the permissions to list and watch pods")
	x := startWatch(t, w.Program, "pods", "--context", "none", "--context", "sandbox")
	x.waitFor("SYNCED", "")
	pod := w.Pod(t)
	x.waitFor("ADDED", pod) // the other cluster is still watched
	if errs := x.interrupt(); !strings.Contains(errs, "kshell: none: the server refused (403): ") {
		t.Errorf("stderr %q", errs)
	}
}

// TestWatches_Interrupt checks that Ctrl-C ends a watch in each of its phases.
func TestWatches_Interrupt(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(t *testing.T, s *sandbox.Server, x *watchProcess, proxy *faultproxy.Proxy){
		"list": func(t *testing.T, s *sandbox.Server, _ *watchProcess, _ *faultproxy.Proxy) {
			t.Helper()
			waitRequests(t, s, 1)
		},
		"handshake": func(t *testing.T, s *sandbox.Server, _ *watchProcess, _ *faultproxy.Proxy) {
			t.Helper()
			waitRequests(t, s, 2)
		},
		"watch": func(_ *testing.T, _ *sandbox.Server, x *watchProcess, _ *faultproxy.Proxy) { x.waitFor("SYNCED", "") },
		"pause": func(t *testing.T, _ *sandbox.Server, x *watchProcess, proxy *faultproxy.Proxy) {
			t.Helper()
			x.waitFor("SYNCED", "")
			refuse(t, proxy, true)
			proxy.Cut(faultproxy.Both, faultproxy.RST)
			x.waitFor("STALE", "")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := startSandbox(t)
			w := setupOf(t, s, s.URL())
			if name == "list" || name == "handshake" {
				s.Inject(sandbox.Fault{
					Path: "/pods", Upgrades: name == "handshake", Do: sandbox.Hang, When: sandbox.AtRequest, Times: 1,
				})
			}
			proxy, flags := w.Through(t)
			x := startWatch(t, w.Program, append(flags, "pods")...)
			test(t, s, x, proxy)
			x.interrupt()
		})
	}
}

// waitRequests waits until the server has received n requests.
func waitRequests(t *testing.T, s *sandbox.Server, n int) {
	t.Helper()
	if err := s.WaitStats(t.Context(), func(stats sandbox.Stats) bool { return stats.Requests >= n }); err != nil {
		t.Fatal(err)
	}
}
