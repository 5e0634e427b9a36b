//go:build unix

package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"kshell/internal/sandbox"
)

// callAPI makes a request and decodes the answer. It returns the HTTP status.
func callAPI(t testing.TB, s *sandbox.Server, method, path string, in, out any) int {
	t.Helper()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, s.URL()+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := httpClient(t, s, "sandbox").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode
}

func podNames(t testing.TB, s *sandbox.Server, namespace, query string) []string {
	t.Helper()
	var list corev1.PodList
	if code := callAPI(t, s, http.MethodGet, "/api/v1/namespaces/"+namespace+"/pods?"+query, nil, &list); code != 200 {
		t.Fatalf("list: %d", code)
	}
	names := []string{}
	for _, p := range list.Items {
		names = append(names, p.Name)
	}
	return names
}

func TestList_Selectors(t *testing.T) {
	s := start(t, sandbox.Config{})
	web := podNames(t, s, "default", "labelSelector="+url.QueryEscape("app=web"))
	if len(web) != 2 || !strings.HasPrefix(web[0], "web-7c5ddbdf54-") || slices.Contains(web, "web") {
		t.Errorf("app=web selects %v, want the deployment's two", web)
	}
	for query, want := range map[string][]string{
		"labelSelector=app%3Ddb":                                  {"db-0"},
		"labelSelector=app+in+(db,nothing)":                       {"db-0"},
		"labelSelector=app%3Dnothing":                             {},
		"fieldSelector=metadata.name%3Dcrash":                     {"crash"},
		"fieldSelector=status.phase%3DPending":                    {"pending", "pulling"},
		"fieldSelector=metadata.name%3Dweb&labelSelector=app":     {},
		"fieldSelector=metadata.name%3Dweb&labelSelector=!app":    {"web"},
		"fieldSelector=metadata.namespace%3Dother&limit=500":      {},
		"labelSelector=run+in+(multi,annotated)&watch=false":      {"annotated", "multi"},
		"labelSelector=run+notin+(multi),run+in+(multi,debugged)": {"debugged"},
	} {
		if diff := cmp.Diff(want, podNames(t, s, "default", query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	if diff := cmp.Diff([]string{"web"}, podNames(t, s, "other", "")); diff != "" {
		t.Error(diff)
	}
	var st metav1.Status
	path := "/api/v1/namespaces/default/pods?fieldSelector=nonsense%3Dx"
	if code := callAPI(t, s, http.MethodGet, path, nil, &st); code != 400 {
		t.Errorf("an unknown field: %d %+v", code, st)
	}
}

func TestGet_AllKinds(t *testing.T) {
	s := start(t, sandbox.Config{})
	for path, kind := range map[string]string{
		"/api/v1/namespaces/default":                               "Namespace",
		"/api/v1/namespaces/other":                                 "Namespace",
		"/api/v1/namespaces":                                       "NamespaceList",
		"/api/v1/pods":                                             "PodList",
		"/api/v1/namespaces/default/services/web":                  "Service",
		"/api/v1/namespaces/default/replicationcontrollers/legacy": "ReplicationController",
		"/apis/apps/v1/namespaces/default/deployments/web":         "Deployment",
		"/apis/apps/v1/namespaces/default/replicasets":             "ReplicaSetList",
		"/apis/apps/v1/namespaces/default/statefulsets/db":         "StatefulSet",
		"/apis/apps/v1/namespaces/default/daemonsets/agent":        "DaemonSet",
		"/apis/batch/v1/namespaces/default/jobs/once":              "Job",
		"/apis/apps/v1/namespaces/default/deployments/nope":        "Status",
		"/apis/apps/v1/namespaces/default/nonsense":                "Status",
		"/api": "APIVersions", "/apis": "APIGroupList", "/api/v1": "APIResourceList", "/apis/apps/v1": "APIResourceList",
	} {
		var got struct{ Kind string }
		code := callAPI(t, s, http.MethodGet, path, nil, &got)
		want := 200
		if kind == "Status" {
			want = 404
		}
		if got.Kind != kind || code != want {
			t.Errorf("%s: %d %s, want %d %s", path, code, got.Kind, want, kind)
		}
	}
}

func TestSeed_States(t *testing.T) {
	s := start(t, sandbox.Config{})
	var list corev1.PodList
	callAPI(t, s, http.MethodGet, "/api/v1/namespaces/default/pods", nil, &list)
	want := map[string]string{
		"web": "Running", "multi": "Running", "annotated": "Running", "with-init": "Running", "debugged": "Running",
		"console": "Running", "pipe": "Running", "crash": "Running CrashLoopBackOff", "pulling": "Pending ImagePullBackOff",
		"pending": "Pending", "once-": "Succeeded Completed",
	}
	got := map[string]string{}
	for _, p := range list.Items {
		name := p.Name
		if p.GenerateName != "" {
			name = p.GenerateName
		}
		if _, ok := want[name]; !ok {
			continue
		}
		got[name] = string(p.Status.Phase)
		for _, c := range p.Status.ContainerStatuses {
			if c.State.Waiting != nil {
				got[name] += " " + c.State.Waiting.Reason
			}
			if c.State.Terminated != nil {
				got[name] += " " + c.State.Terminated.Reason
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// events reads a watch, over HTTP or WebSocket.
type events struct {
	t    testing.TB
	next func() ([]byte, error)
}

type podEvent struct {
	Type   watch.EventType
	Object json.RawMessage
}

func (e events) read() (podEvent, error) {
	line, err := e.next()
	if err != nil {
		return podEvent{}, err
	}
	var ev podEvent
	if !bytes.HasSuffix(line, []byte("\n")) {
		e.t.Errorf("an event without a newline: %q", line)
	}
	return ev, json.Unmarshal(line, &ev)
}

// until reads events until it finds one whose type is kind and whose pod
// satisfies ok. It returns that pod.
func (e events) until(kind watch.EventType, ok func(*corev1.Pod) bool) *corev1.Pod {
	e.t.Helper()
	for {
		ev, err := e.read()
		if err != nil {
			e.t.Fatalf("waiting for %s: %v", kind, err)
		}
		pod := &corev1.Pod{}
		if err := json.Unmarshal(ev.Object, pod); err != nil {
			e.t.Fatal(err)
		}
		if ev.Type == kind && ok(pod) {
			return pod
		}
	}
}

func watchHTTP(t testing.TB, s *sandbox.Server, path string) events {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := httpClient(t, s, "sandbox").Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	dec := json.NewDecoder(resp.Body)
	return events{t, func() ([]byte, error) {
		var raw json.RawMessage
		err := dec.Decode(&raw)
		return append(raw, '\n'), err
	}}
}

func watchWebSocket(t testing.TB, s *sandbox.Server, path string) events {
	t.Helper()
	c, resp, body, err := dialWatch(t, s, path, "https://example.com")
	if err != nil {
		t.Fatalf("%v %v %s", err, resp, body)
	}
	return events{t, func() ([]byte, error) {
		kind, msg, err := c.ws.Read(c.ctx)
		if err == nil && kind != websocket.MessageText {
			t.Error("a binary message in a watch")
		}
		return msg, err
	}}
}

func dialWatch(t testing.TB, s *sandbox.Server, path, origin string,
	protocols ...string,
) (*client, *http.Response, []byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	h := http.Header{}
	if origin != "" {
		h.Set("Origin", origin)
	}
	ws, resp, err := websocket.Dial(ctx, s.URL()+path, &websocket.DialOptions{
		HTTPClient: httpClient(t, s, "sandbox"), HTTPHeader: h, Subprotocols: protocols,
	})
	if err != nil {
		var body []byte
		if resp != nil {
			body, _ = io.ReadAll(resp.Body)
		}
		return nil, resp, body, err
	}
	ws.SetReadLimit(-1)
	t.Cleanup(func() { _ = ws.CloseNow() })
	return &client{t, ws, ws.Subprotocol(), ctx}, resp, nil, nil
}

var watchers = map[string]func(testing.TB, *sandbox.Server, string) events{
	"http":      watchHTTP,
	"websocket": watchWebSocket,
}

func TestWatch_DeletedAndReplaced(t *testing.T) {
	for name, open := range watchers {
		t.Run(name, func(t *testing.T) {
			s := start(t, sandbox.Config{})
			first := podNames(t, s, "default", "labelSelector=app%3Dweb")
			w := open(t, s, "/api/v1/namespaces/default/pods?watch=1&labelSelector=app%3Dweb")
			for range first {
				w.until(watch.Added, func(p *corev1.Pod) bool { return slices.Contains(first, p.Name) })
			}
			var deleted corev1.Pod
			path := "/api/v1/namespaces/default/pods/" + first[0]
			if code := callAPI(t, s, http.MethodDelete, path, nil, &deleted); code != 200 {
				t.Fatalf("delete: %d", code)
			}
			if deleted.DeletionTimestamp == nil {
				t.Error("the answer has no deletionTimestamp")
			}
			seen := map[string]bool{}
			for len(seen) < 3 {
				ev, err := w.read()
				if err != nil {
					t.Fatal(err)
				}
				var p corev1.Pod
				if err := json.Unmarshal(ev.Object, &p); err != nil {
					t.Fatal(err)
				}
				switch {
				case ev.Type == watch.Modified && p.Name == first[0] && p.DeletionTimestamp != nil:
					seen["deleting"] = true
				case ev.Type == watch.Deleted && p.Name == first[0]:
					seen["deleted"] = true
				case ev.Type == watch.Added && !slices.Contains(first, p.Name) && p.Status.Phase == corev1.PodRunning:
					seen["replaced"] = true
				}
			}
			if now := podNames(t, s, "default", "labelSelector=app%3Dweb"); len(now) != 2 {
				t.Errorf("pods now: %v", now)
			}
		})
	}
}

func TestWatch_FromVersion(t *testing.T) {
	s := start(t, sandbox.Config{})
	var list corev1.PodList
	callAPI(t, s, http.MethodGet, "/api/v1/namespaces/default/pods", nil, &list)
	if err := s.DeletePod("default", "db-0", 0); err != nil {
		t.Fatal(err)
	}
	for name, open := range watchers {
		w := open(
			t,
			s,
			"/api/v1/namespaces/default/pods?watch=true&fieldSelector=metadata.name%3Ddb-0&resourceVersion="+
				list.ResourceVersion,
		)
		ev, err := w.read()
		if err != nil || ev.Type != watch.Modified {
			t.Errorf("%s: the first event is %s, %v; want the deletion's MODIFIED", name, ev.Type, err)
		}
		old := w.until(watch.Deleted, func(*corev1.Pod) bool { return true })
		again := w.until(watch.Added, func(*corev1.Pod) bool { return true })
		if again.Name != "db-0" || again.UID == old.UID {
			t.Errorf("%s: the new pod of the statefulset is %s %s (the old one was %s)", name, again.Name, again.UID, old.UID)
		}
	}
}

func TestWatch_InvalidVersion(t *testing.T) {
	t.Parallel()
	s := start(t, sandbox.Config{})
	s.Expire()
	for name, open := range watchers {
		for version, want := range map[string]metav1.Status{
			"101":     {Code: 410, Reason: metav1.StatusReasonExpired},
			"9999999": {Code: 504, Reason: metav1.StatusReasonTimeout},
		} {
			w := open(t, s, "/api/v1/pods?watch=1&resourceVersion="+version)
			ev, err := w.read()
			if err != nil {
				t.Fatal(err)
			}
			var st metav1.Status
			if err := json.Unmarshal(ev.Object, &st); err != nil {
				t.Fatal(err)
			}
			if ev.Type != watch.Error || st.Code != want.Code || st.Reason != want.Reason {
				t.Errorf("%s %s: %s %+v", name, version, ev.Type, st)
			}
			_, err = w.read()
			if !errors.Is(err, io.EOF) && websocket.CloseStatus(err) != websocket.StatusNormalClosure {
				t.Errorf("%s: after the error: %v", name, err)
			}
		}
	}
}

func TestWatch_Handshake(t *testing.T) {
	s := start(t, sandbox.Config{Empty: true})
	const path = "/api/v1/pods?watch=1"
	if _, resp, body, err := dialWatch(t, s, path, ""); err == nil || resp.StatusCode != http.StatusForbidden ||
		len(body) > 0 {
		t.Errorf("no origin: %v %v %q", err, resp, body)
	}
	if _, resp, body, err := dialWatch(t, s, path, "https://a.b", "x", "y"); err == nil ||
		resp.StatusCode != http.StatusBadRequest ||
		len(body) > 0 {
		t.Errorf("two subprotocols: %v %v %q", err, resp, body)
	}
	if c, _, _, err := dialWatch(t, s, path, "https://a.b", "anything"); err != nil || c.protocol != "anything" {
		t.Errorf("one subprotocol: %v %v", c, err)
	}
}

func TestDeletePod_EndsExec(t *testing.T) {
	s := start(t, sandbox.Config{})
	const script = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
	c := dial(t, s, execPath("web", execQuery("o", "sh", "-c", script)), v5)
	for {
		if _, data, err := c.read(); err != nil {
			t.Fatal(err)
		} else if len(data) > 0 {
			break
		}
	}
	pids := s.Pids("default", "web", "web")
	if len(pids) < 2 {
		t.Fatalf("processes in the container: %v", pids)
	}
	if err := s.DeletePod("default", "web", 30*time.Second); err != nil {
		t.Fatal(err)
	}
	var status string
	for {
		ch, data, err := c.read()
		if err != nil {
			break
		}
		if ch == 3 {
			status += string(data)
		}
	}
	if got := (result{status: status}).code(); got != 137 {
		t.Errorf("code %d, want 137: %s", got, status)
	}
	w := watchHTTP(t, s, "/api/v1/pods?watch=1&resourceVersion=101")
	w.until(watch.Deleted, func(p *corev1.Pod) bool { return p.Name == "web" && p.Namespace == "default" })
	for _, pid := range pids {
		if syscall.Kill(pid, 0) == nil && !zombie(pid) {
			t.Errorf("process %d still runs", pid)
		}
	}
	if _, _, body, err := tryDial(t, s, "sandbox", execPath("web", execQuery("o", "true")), v5); err == nil {
		t.Errorf("the pod can still be entered: %s", body)
	}
}

// zombie reports whether a process is a zombie: it has exited, but its parent
// has not waited for it. zombie also returns true if /proc has no such process.
func zombie(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	return strings.HasPrefix(rest, "Z")
}

func TestExec_OutlivesClient(t *testing.T) {
	s := start(t, sandbox.Config{})
	for _, streams := range []string{"o", "iot"} {
		c := dial(t, s, execPath("web", execQuery(streams, "sh", "-c", "echo here; sleep 1000")), v5)
		for {
			if _, data, err := c.read(); err != nil {
				t.Fatal(err)
			} else if len(data) > 0 {
				break
			}
		}
		_ = c.ws.CloseNow()
		waitSession(c.ctx, t, s, func(ses sandbox.Session) bool { return ses.Pid > 0 })
	}
	var pids []int
	for _, ses := range s.Sessions() {
		if err := syscall.Kill(ses.Pid, 0); err != nil {
			t.Errorf("process %d has ended with its client: %v", ses.Pid, err)
		}
		pids = append(pids, ses.Pid)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if syscall.Kill(pid, 0) == nil {
			t.Errorf("process %d outlives the sandbox", pid)
		}
	}
}

func TestStdin_ClientGone(t *testing.T) {
	s := start(t, sandbox.Config{})
	for _, p := range []string{v5, v4} {
		c := dial(t, s, execPath("web", execQuery("io", "cat")), p)
		c.send(0, "x")
		waitSession(c.ctx, t, s, func(ses sandbox.Session) bool { return ses.Subprotocol == p && ses.StdinBytes == 1 })
		_ = c.ws.CloseNow()
		waitSession(c.ctx, t, s, func(ses sandbox.Session) bool { return ses.Exited && ses.Code == 0 })
	}
}

func TestClose_DetachedProcesses(t *testing.T) {
	s := start(t, sandbox.Config{})
	c := dial(t, s, execPath("web", execQuery("o", "sh", "-c", "setsid sleep 1000 & echo $!; wait")), v5)
	for {
		if _, data, err := c.read(); err != nil {
			t.Fatal(err)
		} else if len(data) > 0 {
			break
		}
	}
	pids := s.Pids("default", "web", "web")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		if syscall.Kill(pid, 0) == nil && !zombie(pid) {
			t.Errorf("process %d still runs", pid)
		}
	}
}

// hideProcesses is a script that leaves two processes, which hold its output
// open. Neither has the environment variable SANDBOX_CONTAINER, by which the
// sandbox finds processes. The sandbox still finds the first process, because
// that process is in the session of the script. The second has left the
// session, so that the sandbox cannot find it. It runs until a file named "go"
// exists, for at most about 60 s.
const hideProcesses = `trap '' HUP
env -i sleep 1000 &
env -i setsid sh -c 'touch up; i=0; until [ -e go ] || [ $i = 600 ]; do sleep 0.1; i=$((i+1)); done' &
until [ -e up ]; do sleep 0.01; done
echo here`

func TestClose_UnmarkedProcesses(t *testing.T) {
	for _, streams := range []string{"o", "iot"} {
		s := start(t, sandbox.Config{})
		dir := s.Dir("default", "web", "web")
		c := dial(t, s, execPath("web", execQuery(streams, "sh", "-c", hideProcesses)), v5)
		c.readUntil("here")
		waitFor(t, "the leader's end", func() bool { return syscall.Kill(s.Sessions()[0].Pid, 0) != nil })
		pids := s.Pids("default", "web", "web")
		if len(pids) != 2 {
			t.Errorf("processes in the container: %v", pids)
		}
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(testTimeout / 2):
			t.Errorf("%s: Close waits for a process that it cannot find", streams)
		}
		for _, pid := range pids {
			if syscall.Kill(pid, 0) == nil && !zombie(pid) {
				t.Errorf("%s: process %d still runs", streams, pid)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
			t.Error(err)
		}
	}
}

func attachPath(pod, streams string) string {
	return strings.Replace(execPath(pod, execQuery(streams)), "/exec?", "/attach?", 1)
}

// readUntil reads stdout until want has been received, and returns everything
// that it has read.
func (c *client) readUntil(want string) string {
	c.t.Helper()
	var got strings.Builder
	for !strings.Contains(got.String(), want) {
		ch, data, err := c.read()
		if err != nil {
			c.t.Fatalf("%q was not received, but %q: %v", want, got.String(), err)
		}
		if ch == 1 {
			got.Write(data)
		}
	}
	return got.String()
}

func TestAttach_SharedShell(t *testing.T) {
	s := start(t, sandbox.Config{})
	a := dial(t, s, attachPath("console", "ioet"), v5)
	b := dial(t, s, attachPath("console", "iot"), v4base64)
	if err := s.WaitSessions(a.ctx, func(list []sandbox.Session) bool {
		return len(list) == 2 && list[0].Pid > 0 && list[1].Pid > 0
	}); err != nil {
		t.Fatal(err)
	}
	a.send(4, `{"Width":99,"Height":33}`)
	if err := s.WaitSessions(a.ctx, func(list []sandbox.Session) bool { return len(list[0].Sizes) == 1 }); err != nil {
		t.Fatal(err)
	}
	a.send(0, "x=kept; stty size; echo do''ne\n")
	for _, c := range []*client{a, b} {
		if got := c.readUntil("done"); !strings.Contains(got, "33 99") {
			t.Errorf("%s saw %q", c.protocol, got)
		}
	}
	_ = a.ws.CloseNow()
	_ = b.ws.CloseNow()
	c := dial(t, s, attachPath("console", "iot"), v5)
	c.send(0, "echo $x again\n")
	c.readUntil("kept again")

	// An attach always ends with Success. The exit code is in the status of the
	// pod.
	w := watchHTTP(t, s, "/api/v1/namespaces/default/pods?watch=1&fieldSelector=metadata.name%3Dconsole")
	c.send(0, "exit 5\n")
	r := c.finishFrom(1)
	r.checkClosed(t)
	if r.code() != 0 {
		t.Errorf("the attach ended with %s", r.status)
	}
	pod := w.until(watch.Modified, func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].State.Running != nil })
	if n := pod.Status.ContainerStatuses[0].RestartCount; n != 1 {
		t.Errorf("restarts: %d, want 1", n)
	}
}

// finishFrom reads the rest of a session whose first message has been read. The
// parameter first is the channel of that message.
func (c *client) finishFrom(first byte) result {
	var out, status bytes.Buffer
	for {
		ch, data, err := c.read()
		if err != nil {
			return result{first: first, out: out.String(), status: status.String(), end: err}
		}
		switch ch {
		case 1:
			out.Write(data)
		case 3:
			status.Write(data)
		}
	}
}

func TestAttach_Stdin(t *testing.T) {
	s := start(t, sandbox.Config{})
	for range 2 { // stdinOnce is false: the first half-close does not end cat
		c := dial(t, s, attachPath("pipe", "io"), v5)
		c.send(0, "hello")
		c.readUntil("hello")
		c.halfClose()
		_ = c.ws.CloseNow()
	}
}

func TestPod_ExitCodeInStatus(t *testing.T) {
	s := start(t, sandbox.Config{})
	in := &corev1.Pod{}
	in.Name = "oneshot"
	in.Spec.RestartPolicy = corev1.RestartPolicyNever
	in.Spec.Containers = []corev1.Container{
		{Name: "c", Command: []string{"sh", "-c", "echo logged; read x; exit 7"}, Stdin: true},
	}
	var made corev1.Pod
	if code := callAPI(t, s, http.MethodPost, "/api/v1/namespaces/default/pods", in, &made); code != 201 {
		t.Fatalf("create: %d", code)
	}
	c := dial(t, s, attachPath("oneshot", "io"), v5)
	c.send(0, "\n")
	if r := c.finish(); r.code() != 0 {
		t.Errorf("attach: %s", r.status)
	}
	w := watchHTTP(t, s,
		"/api/v1/namespaces/default/pods?watch=1&fieldSelector=metadata.name%3Doneshot&resourceVersion="+made.ResourceVersion)
	pod := w.until(
		watch.Modified,
		func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].State.Terminated != nil },
	)
	if got := pod.Status.ContainerStatuses[0].State.Terminated.ExitCode; got != 7 || pod.Status.Phase != corev1.PodFailed {
		t.Errorf("exit code %d, phase %s", got, pod.Status.Phase)
	}
	resp, err := httpClient(t, s, "sandbox").Get(s.URL() + "/api/v1/namespaces/default/pods/oneshot/log")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, _ := io.ReadAll(resp.Body); string(body) != "logged\n" {
		t.Errorf("log %q", body)
	}
	var gone corev1.Pod
	path := "/api/v1/namespaces/default/pods/oneshot?gracePeriodSeconds=0"
	if code := callAPI(t, s, http.MethodDelete, path, nil, &gone); code != 200 {
		t.Errorf("delete: %d", code)
	}
}

func TestDelete_WrongUID(t *testing.T) {
	s := start(t, sandbox.Config{})
	var st metav1.Status
	opts := metav1.NewPreconditionDeleteOptions("other")
	if code := callAPI(t, s, http.MethodDelete, "/api/v1/namespaces/default/pods/web", opts, &st); code != 409 {
		t.Errorf("got %d %+v, want 409", code, st)
	}
}

func TestClose_DuringActivity(t *testing.T) {
	s := start(t, sandbox.Config{})
	undo := s.Inject(sandbox.Fault{Do: sandbox.Hang, When: sandbox.AfterSent, Times: 1})
	stalled := dial(t, s, execPath("web", execQuery("o", "yes")), v5)
	_ = stalled
	undo()
	s.Inject(sandbox.Fault{Do: sandbox.Hang, When: sandbox.AtEnd, Times: 1})
	dial(t, s, execPath("web", execQuery("o", "true")), v5)
	dial(t, s, execPath("web", execQuery("o", "yes")), v5) // the client does not read
	flooded := dial(t, s, execPath("web", execQuery("i", "sleep", "1000")), v4)
	go func() {
		for flooded.write(0, make([]byte, 64<<10)) == nil {
		}
	}()
	dial(t, s, attachPath("console", "iot"), v5)
	watchHTTP(t, s, "/api/v1/pods?watch=1")
	watchWebSocket(t, s, "/api/v1/pods?watch=1")
	waitSession(flooded.ctx, t, s, func(sandbox.Session) bool { return len(s.Sessions()) == 5 })
	begin := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > testTimeout/2 {
		t.Errorf("Close took %v", took)
	}
	if err := s.AddPod(&corev1.Pod{}); err == nil {
		t.Error("a closed sandbox accepted a pod")
	}
}

// pipeListener returns connections in memory.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l pipeListener) Close() error { close(l.done); return nil }

func (l pipeListener) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe" }

func TestListener_InMemory(t *testing.T) {
	for _, gentle := range []bool{false, true} {
		serveInMemory(t, gentle)
	}
}

func serveInMemory(t *testing.T, gentle bool) {
	t.Helper()
	l := pipeListener{make(chan net.Conn), make(chan struct{})}
	s := start(t, sandbox.Config{Listener: l, Gentle: gentle})
	cfg := withOwnTransport(t, restConfig(t, s, "sandbox"))
	tr, ok := cfg.Transport.(*http.Transport)
	if !ok {
		t.Fatal("no transport")
	}
	tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		a, b := net.Pipe()
		select {
		case l.conns <- b:
			return a, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	h := http.Header{"Authorization": {"Bearer " + s.Token("admin")}}
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, s.URL()+execPath("web", execQuery("o", "echo", "hi")), &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: tr}, Subprotocols: []string{v5}, HTTPHeader: h,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	r := (&client{t, ws, v5, ctx}).finish()
	if r.out != "hi\n" || r.code() != 0 {
		t.Errorf("%q %s", r.out, r.status)
	}
}

func TestSeed_CreationTime(t *testing.T) {
	s := start(t, sandbox.Config{})
	var list corev1.PodList
	callAPI(t, s, http.MethodGet, "/api/v1/pods", nil, &list)
	born := list.Items[0].CreationTimestamp
	for _, p := range list.Items {
		if !p.CreationTimestamp.Equal(&born) || p.Status.StartTime != nil && !p.Status.StartTime.Equal(&born) {
			t.Errorf("%s was created at %v and started at %v; the first pod was created at %v",
				p.Name, p.CreationTimestamp, p.Status.StartTime, born)
		}
		for _, c := range p.Status.ContainerStatuses {
			if r := c.State.Running; r != nil && !r.StartedAt.Equal(&born) {
				t.Errorf("%s: %s started at %v, want %v", p.Name, c.Name, r.StartedAt, born)
			}
		}
	}
}

func TestAddPod_StartTime(t *testing.T) {
	s := start(t, sandbox.Config{Empty: true})
	in := &corev1.Pod{}
	in.Name, in.CreationTimestamp = "old", metav1.NewTime(time.Now().Add(-time.Hour).Truncate(time.Second))
	in.Spec.Containers = []corev1.Container{{Name: "c"}}
	if err := s.AddPod(in); err != nil {
		t.Fatal(err)
	}
	var out corev1.Pod
	callAPI(t, s, http.MethodGet, "/api/v1/namespaces/default/pods/old", nil, &out)
	if at := out.Status.ContainerStatuses[0].State.Running.StartedAt; !at.Equal(&in.CreationTimestamp) ||
		!out.Status.StartTime.Equal(&at) {
		t.Errorf("created at %v, started at %v and %v", in.CreationTimestamp, out.Status.StartTime, at)
	}
}

func TestStats(t *testing.T) {
	s := start(t, sandbox.Config{Empty: true})
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	defer cancel()
	for _, open := range watchers {
		open(t, s, "/api/v1/pods?watch=1")
	}
	if err := s.WaitStats(ctx, func(st sandbox.Stats) bool { return st.Watches == len(watchers) }); err != nil {
		t.Errorf("%v: %+v", err, s.Stats())
	}
	in := &corev1.Pod{}
	in.Name = "new"
	if code := callAPI(t, s, http.MethodPost, "/api/v1/namespaces/default/pods", in, &metav1.Status{}); code != 400 {
		t.Errorf("a pod without containers: %d", code)
	}
	in.Spec.Containers = []corev1.Container{{Name: "c"}}
	if code := callAPI(t, s, http.MethodPost, "/api/v1/namespaces/default/pods", in, &corev1.Pod{}); code != 201 {
		t.Errorf("create: %d", code)
	}
	if st := s.Stats(); st.Creates != 1 || st.Watches != len(watchers) {
		t.Errorf("%+v", st)
	}
}
