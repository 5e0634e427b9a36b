//go:build unix

package contract

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kshell/test/faultproxy"
)

// Watches checks the command watch on a server: lists, changes, the conditions
// that end a watch, a lost connection, and a second cluster that cannot be
// reached.
func Watches(t *testing.T, w Setup) {
	for name, test := range map[string]func(*testing.T, Setup){
		"changes":                        watchChanges,
		"lost":                           func(t *testing.T, w Setup) { WatchLost(t, w, func() {}) },
		"once":                           watchOnce,
		"until":                          watchUntil,
		"second cluster":                 watchDeadCluster,
		"closed output":                  func(t *testing.T, w Setup) { watchClosedOutput(t, w, true) },
		"closed output without a change": func(t *testing.T, w Setup) { watchClosedOutput(t, w, false) },
	} {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			test(t, w)
		})
	}
}

// watchLine is a line of kshell watch -o json.
type watchLine struct {
	Cluster, Type, Error string
	Object               struct {
		Metadata struct{ Name, UID string }
	}
}

// watchProcess is a running kshell watch -o json.
type watchProcess struct {
	t     *testing.T
	ctx   context.Context
	cmd   *exec.Cmd
	start time.Time
	out   *bufio.Reader
	errs  bytes.Buffer
	seen  []watchLine // all lines so far
}

// startWatch starts kshell watch -o json with these arguments.
func startWatch(t *testing.T, p Program, args ...string) *watchProcess {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	t.Cleanup(cancel)
	x := &watchProcess{t: t, ctx: ctx, start: time.Now()}
	x.cmd = p.Command(ctx, t, append([]string{"watch", "-o", "json"}, args...)...)
	x.cmd.Stderr = &x.errs
	out, err := x.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	x.out = bufio.NewReader(out)
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return x
}

// waitFor reads lines up to the first one about this type of change and, unless
// name is "", about this object. It returns that line.
func (x *watchProcess) waitFor(kind, name string) watchLine {
	x.t.Helper()
	for {
		text, err := x.out.ReadBytes('\n')
		if err != nil {
			_ = x.cmd.Wait()
			x.t.Fatalf("waiting for %s %s: %v; stderr %.500q", kind, name, err, x.errs.String())
		}
		var line watchLine
		if err := json.Unmarshal(text, &line); err != nil {
			x.t.Fatalf("%v: %q", err, text)
		}
		x.seen = append(x.seen, line)
		if line.Type == kind && (name == "" || line.Object.Metadata.Name == name) {
			return line
		}
	}
}

// count returns the number of lines so far about this type of change and this
// object.
func (x *watchProcess) count(kind, name string) (n int) {
	for _, line := range x.seen {
		if line.Type == kind && line.Object.Metadata.Name == name {
			n++
		}
	}
	return n
}

// interrupt sends SIGINT, checks the exit code, and returns stderr.
func (x *watchProcess) interrupt() string {
	x.t.Helper()
	if err := x.cmd.Process.Signal(syscall.SIGINT); err != nil {
		x.t.Error(err)
	}
	return x.wait(128 + int(syscall.SIGINT)).Err
}

// wait reads the rest of the output, waits for the end of the process, and
// checks the exit code.
func (x *watchProcess) wait(code int) Result {
	x.t.Helper()
	for {
		text, err := x.out.ReadBytes('\n')
		if err != nil {
			break
		}
		var line watchLine
		if err := json.Unmarshal(text, &line); err != nil {
			x.t.Errorf("%v: %q", err, text)
		}
		x.seen = append(x.seen, line)
	}
	r := waitExit(x.ctx, x.t, x.cmd, x.start, &x.errs)
	if r.Code != code {
		x.t.Errorf("exit code %d, want %d; stderr %q", r.Code, code, r.Err)
	}
	return r
}

// watchChanges watches a pod from its creation to its deletion.
func watchChanges(t *testing.T, w Setup) {
	x := startWatch(t, w.Program, "pods")
	x.waitFor("SYNCED", "")
	if x.count("ADDED", "web") != 1 {
		t.Errorf("pod web is not in the list: %+v", x.seen)
	}
	pod := w.Pod(t)
	added := x.waitFor("ADDED", pod)
	w.Delete(t, pod)
	gone := x.waitFor("DELETED", pod)
	if added.Object.Metadata.UID == "" || added.Object.Metadata.UID != gone.Object.Metadata.UID {
		t.Errorf("the UID was %q, then %q", added.Object.Metadata.UID, gone.Object.Metadata.UID)
	}
	if x.count("ADDED", pod) != 1 || x.count("DELETED", pod) != 1 {
		t.Errorf("pod %s was added or deleted more than once: %+v", pod, x.seen)
	}
	if errs := x.interrupt(); errs != "" {
		t.Errorf("stderr %q, want nothing", errs)
	}
}

// WatchLost watches pods, cuts the connection, and checks that each change is
// printed exactly once. during is called while there is no connection.
func WatchLost(t *testing.T, w Setup, during func()) {
	proxy, flags := w.Through(t)
	old := w.Pod(t)
	x := startWatch(t, w.Program, append(flags, "pods")...)
	x.waitFor("SYNCED", "")
	refuse(t, proxy, true)
	proxy.Cut(faultproxy.Both, faultproxy.RST)
	if stale := x.waitFor("STALE", ""); stale.Error == "" {
		t.Errorf("STALE has no error: %+v", stale)
	}
	pod := w.Pod(t)
	w.Delete(t, old)
	during()
	refuse(t, proxy, false)
	x.waitFor("SYNCED", "")
	for x.count("ADDED", pod) == 0 { // without a new list, the changes follow SYNCED
		x.waitFor("ADDED", pod)
	}
	for x.count("DELETED", old) == 0 {
		x.waitFor("DELETED", old)
	}
	next := w.Pod(t)
	x.waitFor("ADDED", next)
	errs := x.interrupt()
	for _, name := range []string{"web", old, pod, next} {
		if n := x.count("ADDED", name); n != 1 {
			t.Errorf("pod %s was added %d times", name, n)
		}
	}
	if n := x.count("DELETED", old); n != 1 {
		t.Errorf("pod %s was deleted %d times", old, n)
	}
	if strings.Count(errs, "connecting again") != 1 || strings.Count(errs, "connected again after") != 1 {
		t.Errorf("stderr %q, want one message about the loss and one about its end", errs)
	}
}

// watchOnce checks --once: with a deployment, with the nodes, with a pod that
// does not exist, and with a type that the server does not have.
func watchOnce(t *testing.T, w Setup) {
	r := w.Run(t, nil, "watch", "deploy/web", "--once")
	r.checkEnd(t, 0, r.Out)
	if lines := strings.Split(r.Out, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], "TIME ") ||
		!strings.Contains(lines[1], "   ADDED    web    2/2     2            2           ") {
		t.Errorf("stdout %q", r.Out)
	}
	r = w.Run(t, nil, "watch", "nodes", "--once", "-o", "name")
	r.checkEnd(t, 0, r.Out)
	if !strings.HasPrefix(r.Out, "node/") {
		t.Errorf("stdout %q, want the names of nodes", r.Out)
	}
	r = w.Run(t, nil, "watch", "pod/nosuch", "--once")
	r.checkEnd(t, 0, "", `kshell: there is no pod "nosuch"`)
	r = w.Run(t, nil, "watch", "--raw", "/apis/nosuch.example/v1/things", "--once")
	r.checkEnd(t, 255, "", "kshell: the server refused (404)")
}

// watchUntil waits until a pod is ready, and until it is deleted.
func watchUntil(t *testing.T, w Setup) {
	pod := w.Pod(t)
	x := startWatch(t, w.Program, "pod/"+pod, "--until", "ready")
	x.wait(0)
	x = startWatch(t, w.Program, "pod/"+pod, "--until", "deleted")
	x.waitFor("SYNCED", "")
	w.Delete(t, pod)
	x.wait(0)
	if x.count("DELETED", pod) != 1 {
		t.Errorf("the deletion was not printed: %+v", x.seen)
	}
	startWatch(t, w.Program, "pod/"+pod, "--until", "deleted").wait(0)
}

// watchDeadCluster watches two clusters. One of them cannot be reached.
func watchDeadCluster(t *testing.T, w Setup) {
	cfg, err := clientcmd.LoadFromFile(w.Kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	alive := cfg.CurrentContext
	cfg.Clusters["dead"] = &clientcmdapi.Cluster{Server: "https://127.0.0.1:1"}
	cfg.Contexts["dead"] = &clientcmdapi.Context{Cluster: "dead"}
	p := w.Program
	p.Kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*cfg, p.Kubeconfig); err != nil {
		t.Fatal(err)
	}
	flags := []string{"pods", "--context", alive, "--context", "dead"}
	x := startWatch(t, p, flags...)
	if line := x.waitFor("SYNCED", ""); line.Cluster != alive {
		t.Errorf("the list is of cluster %q, want %q", line.Cluster, alive)
	}
	pod := w.Pod(t)
	x.waitFor("ADDED", pod)
	x.interrupt()

	once := startWatch(t, p, append(flags, "--once")...)
	r := once.wait(255) // after the time limit for the first connection
	if once.count("ADDED", "web") != 1 ||
		!strings.Contains(r.Err, "kshell: dead: cannot connect to https://127.0.0.1:1: ") ||
		strings.Contains(r.Err, "kshell: "+alive) {
		t.Errorf("stderr %q, lines %+v", r.Err, once.seen)
	}
}

// watchClosedOutput checks that a watch ends after the reader of its output has
// closed the pipe. If change is false, there is no change to print after that.
func watchClosedOutput(t *testing.T, w Setup, change bool) {
	ctx, cancel := context.WithTimeout(t.Context(), runTimeout)
	defer cancel()
	resource := "pods"
	if !change {
		resource = "deploy/web" // other tests do not change it
	}
	cmd := w.Command(ctx, t, "watch", resource, "-o", "name")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = writer, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	if _, err := bufio.NewReaderSize(reader, 16).ReadString('\n'); err != nil {
		t.Error(err)
	}
	_ = reader.Close()
	if change {
		w.Delete(t, w.Pod(t))
	}
	r := waitExit(ctx, t, cmd, time.Now(), &errs)
	if want := 128 + int(syscall.SIGPIPE); r.Code != want || r.Err != "" {
		t.Errorf("exit code %d, want %d; stderr %q, want nothing", r.Code, want, r.Err)
	}
}
