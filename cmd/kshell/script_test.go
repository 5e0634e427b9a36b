//go:build unix

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kshell/internal/agentbin"
	"kshell/internal/sandbox"
	"kshell/test/contract"
)

// TestScripts runs testdata/*.txtar. Each script has its own sandbox, and these
// commands in addition to those of testscript:
//
//	code N COMMAND...  runs COMMAND, which must end with exit code N
//	fault NAME         injects one of faults, until the next fault or "fault none"
//	pod NAME           adds one of pods to the sandbox
//	csr NAME NODE      adds a certificate signing request of a node's kubelet to the sandbox
//	ran N              checks that N commands have run in the sandbox so far
//	gateway            starts a server that redirects execs to a login page, and sets GATEWAY
//	                   to its address
//	reviewer [HOW]     starts a proxy in front of the sandbox that answers access reviews, and sets
//	                   REVIEWER to its address. If HOW is hang, it does not answer them. If HOW is
//	                   incomplete, it answers that not all rules could be reviewed
//	http-servers       starts two HTTP servers in front of the sandbox, and sets HTTP and
//	                   KUBECTL_PROXY to their addresses; see httpServers
//	reviews            makes the sandbox itself answer access reviews
//	serve DIR          starts a web server for the files in DIR, and sets FILES to its address
//	plain FILE         checks that FILE has no control characters except line feeds
//	no-secret FILE     checks that FILE does not contain the token
//	headlamp ...       starts a Headlamp server in front of the sandbox; see startHeadlamp
//	key-pair CERT KEY  writes a client certificate and its key to two files
//	requests FILE      lists the requests to the Headlamp server; see headlampRequests
//	websockets HOW...  starts a proxy in front of the sandbox that rejects WebSockets, and sets
//	                   GATEWAY to its address; see websockets
//
// The condition [agents] is true if kshell contains the session agents, which
// "make agent" builds.
func TestScripts(t *testing.T) {
	skipShort(t)
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                "testdata",
		RequireUniqueNames: true,
		Setup:              setUpScript,
		Condition:          condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code": code, "fault": fault, "pod": addPod, "ran": ran, "gateway": gateway, "reviewer": reviewer,
			"serve": serve, "plain": plain, "no-secret": noSecret, "websockets": websockets, "reviews": reviews,
			"http-servers": httpServers, "csr": addSigningRequest,
			"headlamp": startHeadlamp, "requests": headlampRequests, "key-pair": keyPair,
		},
	})
}

// condition evaluates the conditions of scripts that testscript does not know.
func condition(name string) (bool, error) {
	if name == "agents" {
		return agentbin.BuildID() != "", nil
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

type sandboxKey struct{}

func setUpScript(env *testscript.Env) error {
	s, err := sandbox.Start(sandbox.Config{Dir: filepath.Join(env.WorkDir, ".sandbox"), Gentle: true})
	if err != nil {
		return err
	}
	env.Defer(func() {
		if err := s.Close(); err != nil {
			env.T().Fatal(err)
		}
	})
	env.Values[sandboxKey{}] = s
	env.Values[headlampKey{}] = new(*sandbox.Headlamp)
	env.Setenv("HOME", env.WorkDir)
	env.Setenv("KUBECONFIG", s.Kubeconfig())
	env.Setenv("CA", s.CA())
	env.Setenv("SERVER", s.URL())
	env.Setenv("TOKEN", s.Token("admin"))
	env.Setenv("GORACE", "atexit_sleep_ms=0")
	return nil
}

func sandboxOf(ts *testscript.TestScript) *sandbox.Server {
	return ts.Value(sandboxKey{}).(*sandbox.Server)
}

func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit) && contract.ExitCode(exit.ProcessState) == want:
	case err == nil && want == 0:
	case err == nil:
		ts.Fatalf("exit code 0, want %d", want)
	default:
		ts.Fatalf("%v, want exit code %d", err, want)
	}
}

// hostile is text that would control the terminal if it were printed unchanged.
const hostile = "\x1b]0;owned\x07\x1b[2J\x1b[31mpress \u202eenter\u009b5m\r\nkshell: all is well\x00"

func refusal(code int32, reason metav1.StatusReason, message string) sandbox.Fault {
	return sandbox.Fault{Refusal: &metav1.Status{Code: code, Reason: reason, Message: message}}
}

// onPods returns f, limited to requests for pods.
func onPods(f sandbox.Fault) sandbox.Fault {
	f.Path = "/pods/"
	return f
}

// otherNotFound reports that a service does not exist. No test requests this
// service.
var otherNotFound = &metav1.Status{
	Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound, Message: `services "x" not found`,
	Details: &metav1.StatusDetails{Kind: "services", Name: "x"},
}

func statusOnChannel(message string) sandbox.Fault {
	raw, err := json.Marshal(metav1.Status{
		Status: metav1.StatusFailure, Message: message, Reason: metav1.StatusReasonInternalError,
	})
	if err != nil {
		panic(err)
	}
	return sandbox.Fault{ErrorChannel: raw}
}

func nothingSelected() sandbox.Fault {
	nothing := ""
	return sandbox.Fault{Subprotocol: &nothing}
}

// The texts of some faults.
const (
	noShells     = `pods "web" is forbidden: no shells on Fridays`
	shuttingDown = "apiserver is shutting down"
	taskNotFound = "error executing command in container: failed to exec in container: " +
		"failed to load task: no running task found: task " +
		"242c5a4f0b1d8e7a6c3f9e2d1b0a8c7e6f5d4c3b2a1908f7e6d5c4b3a2918070 not found"
	noKubeletCertificate = "error dialing backend: remote error: tls: internal error"
)

// onAll returns f for all requests.
func onAll(f sandbox.Fault) sandbox.Fault {
	f.Path = "/"
	return f
}

// webPage returns a fault that makes the server answer with an HTML page.
func webPage(code int) sandbox.Fault {
	return sandbox.Fault{Code: code, ContentType: "text/html; charset=utf-8", Body: "<!DOCTYPE html><h1>Sign in</h1>"}
}

// noCredentials is the message of the API server's authorizer for a request
// without credentials.
const noCredentials = `pods "web" is forbidden: User "system:anonymous" cannot get resource "pods/exec" ` +
	`in API group "" in the namespace "default"`

// upgradeRequired is the message of the API server for an exec without the
// header Upgrade.
const upgradeRequired = "unable to upgrade: Upgrade request required"

// lineLimit returns a fault that simulates a gateway: the answer to a request
// line that is longer than bytes is an HTML page with the status code.
func lineLimit(bytes, code int) sandbox.Fault {
	f := webPage(code)
	f.LineLimit = bytes
	return f
}

// onDeployments returns f, limited to requests for deployments.
func onDeployments(f sandbox.Fault) sandbox.Fault {
	f.Path = "/deployments/"
	return f
}

// faults are the arguments of the command fault.
var faults = map[string]sandbox.Fault{
	"page-200":            webPage(http.StatusOK),
	"page-403":            webPage(http.StatusForbidden),
	"all-page-200":        onAll(webPage(http.StatusOK)),
	"all-401":             onAll(refusal(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized")),
	"all-hostile":         onAll(sandbox.Fault{Code: http.StatusInternalServerError, Body: hostile}),
	"pod-page-200":        onPods(webPage(http.StatusOK)),
	"pod-page-503":        onPods(webPage(http.StatusServiceUnavailable)),
	"pod-text-502":        onPods(sandbox.Fault{Code: http.StatusBadGateway, Body: "upstream connect error"}),
	"needs-https":         onPods(sandbox.Fault{Code: 400, Body: "Client sent an HTTP request to an HTTPS server.\n"}),
	"text-403":            {Code: http.StatusForbidden, Body: "Access denied by corporate policy"},
	"deployment-page-403": onDeployments(webPage(http.StatusForbidden)),
	"deployment-anonymous": onDeployments(
		refusal(http.StatusForbidden, metav1.StatusReasonForbidden, noCredentials)),
	"429":              refusal(http.StatusTooManyRequests, metav1.StatusReasonTooManyRequests, "too many requests"),
	"pod-429":          onPods(refusal(429, metav1.StatusReasonTooManyRequests, "too many requests")),
	"pod-503":          onPods(refusal(503, metav1.StatusReasonServiceUnavailable, shuttingDown)),
	"anonymous":        refusal(http.StatusForbidden, metav1.StatusReasonForbidden, noCredentials),
	"upgrade-required": refusal(http.StatusBadRequest, metav1.StatusReasonBadRequest, upgradeRequired),
	"page":             {Code: http.StatusBadGateway, ContentType: "text/html", Body: "<html><h1>Bad Gateway</h1></html>"},
	"502":              {Code: http.StatusBadGateway, Body: "upstream connect error"},
	"200":              {Code: http.StatusOK},
	"403-empty":        {Code: http.StatusForbidden},
	"403-policy":       refusal(http.StatusForbidden, metav1.StatusReasonForbidden, noShells),
	"401":              refusal(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized"),
	"401-pod":          onPods(refusal(http.StatusUnauthorized, metav1.StatusReasonUnauthorized, "Unauthorized")),
	"hostile-refusal":  refusal(http.StatusTeapot, "", hostile),
	"hostile-status":   statusOnChannel(hostile),
	"hostile-text":     {Code: http.StatusInternalServerError, Body: hostile},
	"hostile-pod":      {Path: "/pods/", Refusal: &metav1.Status{Code: 500, Message: hostile}},
	"status-no-json":   {ErrorChannel: []byte(hostile)},
	"nothing-selected": nothingSelected(),
	"cut":              {Do: sandbox.FIN, When: sandbox.AtEnd},
	"reset":            {Do: sandbox.RST, When: sandbox.AtEnd},
	"close":            {Do: sandbox.CloseFrame, When: sandbox.AtEnd},
	"success":          {Do: sandbox.SaySuccess, When: sandbox.AfterSent, N: 1000},
	"policy":           {RefuseCommand: func(args []string) bool { return args[0] == "sh" }},
	"cut-in-output":    {Do: sandbox.FIN, When: sandbox.AfterSent, N: 1000},
	"ignore-selectors": {Path: "/", IgnoreSelectors: true},
	"404-other":        {Path: "/pods/", Refusal: otherNotFound},
	"404-html":         onPods(sandbox.Fault{Code: 404, ContentType: "text/html", Body: "<html>no such page</html>"}),
	"404-exec":         {Code: http.StatusNotFound, Body: "404 page not found"},
	"silent-exec":      {Do: sandbox.Hang, When: sandbox.AtRequest},
	"silent-socket":    {Do: sandbox.StallWrite, When: sandbox.AfterSent, N: 3}, // after the first, empty message
	"silent":           {Path: "/", Do: sandbox.Hang, When: sandbox.AtRequest},
	"overload-twice":   {Code: 503, Body: shuttingDown, Times: 4}, // two over WebSocket, two over SPDY
	"overload":         {Code: http.StatusServiceUnavailable, Body: shuttingDown},
	"cut-once":         {Do: sandbox.FIN, When: sandbox.AfterSent, N: 1000, Times: 1},
	"reset-pod":        {Path: "/pods/", Do: sandbox.RST, When: sandbox.AtRequest},
	"task-not-found":   {FailStart: taskNotFound},
	"no-certificate":   refusal(http.StatusInternalServerError, "", noKubeletCertificate),
	"not-utf8":         statusOnChannel("rpc error: grpc: error while marshaling: string field contains invalid UTF-8"),
	"line-4096":        lineLimit(4096, http.StatusRequestURITooLong),
	"line-1500-400":    lineLimit(1500, http.StatusBadRequest),
	"line-1500-403":    lineLimit(1500, http.StatusForbidden),
	"line-1500-413":    lineLimit(1500, http.StatusRequestEntityTooLarge),
	"line-1500-431":    lineLimit(1500, http.StatusRequestHeaderFieldsTooLarge),
	"all-line-4096":    onAll(lineLimit(4096, http.StatusRequestURITooLong)),
	"all-line-1500":    onAll(lineLimit(1500, http.StatusBadRequest)),
	"all-line-700":     onAll(lineLimit(700, http.StatusRequestHeaderFieldsTooLarge)),
	"line-200":         lineLimit(200, http.StatusRequestURITooLong),
	"reset-at-request": {Do: sandbox.RST, When: sandbox.AtRequest},
}

func fault(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: fault NAME")
	}
	s := sandboxOf(ts)
	s.Reset()
	if args[0] == "none" {
		return
	}
	f, ok := faults[args[0]]
	if !ok {
		ts.Fatalf("unknown fault %s", args[0])
	}
	if f.FailStart == taskNotFound { // the container ends before the server reports the failure
		f.Seen = func() { _ = s.ChangePod("default", "instant", endContainer) }
	}
	s.Inject(f)
}

// endContainer ends the main container of a pod with exit code 3.
func endContainer(p *corev1.Pod) {
	p.Status.Phase = corev1.PodFailed
	p.Status.ContainerStatuses[0].State = corev1.ContainerState{
		Terminated: &corev1.ContainerStateTerminated{ExitCode: 3, Reason: "Error"},
	}
}

func waiting(reason string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
}

func running() corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}
}

// starting returns a pod whose container main does not run yet, and is in
// the state main. If setup is not the zero value, the pod has an init container
// named setup in this state.
func starting(main, setup corev1.ContainerState) *corev1.Pod {
	p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}, NodeName: "node1"}}
	p.Status = corev1.PodStatus{
		Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{{Name: "main", State: main}},
	}
	if setup != (corev1.ContainerState{}) {
		p.Spec.InitContainers = []corev1.Container{{Name: "setup"}}
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "setup", State: setup}}
	}
	return p
}

// pods are the arguments of the command pod.
var pods = map[string]func() *corev1.Pod{
	"hostile-containers": func() *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a"}, {Name: hostile}}}}
		p.Annotations = map[string]string{"kubectl.kubernetes.io/default-container": "none" + hostile}
		p.Status = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{
			{Name: "a", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		}}
		return p
	},
	"hostile-reason": func() *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a"}}}}
		waiting := &corev1.ContainerStateWaiting{Reason: hostile, Message: hostile}
		p.Status = corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{
			{Name: "a", State: corev1.ContainerState{Waiting: waiting}},
		}}
		return p
	},
	"env-only": func() *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a", Image: "sandbox/env-only"}}}}
	},
	"stale-annotation": func() *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a"}, {Name: "b"}}}}
		p.Annotations = map[string]string{"kubectl.kubernetes.io/default-container": "gone"}
		return p
	},
	"instant-again": func() *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}}}
	},
	"bad-volume":   func() *corev1.Pod { return starting(waiting("ContainerCreating"), corev1.ContainerState{}) },
	"initializing": func() *corev1.Pod { return starting(waiting("PodInitializing"), running()) },
	"instant": func() *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "main"}}, RestartPolicy: corev1.RestartPolicyNever,
		}}
	},
	"on-node3": func() *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}, NodeName: "node3"}}
	},
	"failed": func() *corev1.Pod {
		p := &corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "a"}}}}
		p.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "The node was low on memory."}
		return p
	},
}

// images maps the names of the images of pods to their commands, for
// sandbox.Server.AddImage.
var images = map[string]map[string]string{
	"sandbox/env-only": {
		"env": "/usr/bin/env", "printenv": "/usr/bin/printenv", "cat": "/bin/cat", "true": "/bin/true", "false": "/bin/false",
	},
}

func addPod(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || pods[args[0]] == nil {
		ts.Fatalf("usage: pod NAME")
	}
	p := pods[args[0]]()
	p.Name = args[0]
	if image := p.Spec.Containers[0].Image; image != "" {
		ts.Check(sandboxOf(ts).AddImage(image, images[image]))
	}
	ts.Check(sandboxOf(ts).AddPod(p))
	if args[0] == "bad-volume" {
		ts.Check(sandboxOf(ts).AddEvent("default", p.Name, corev1.Event{
			Type: corev1.EventTypeWarning, Reason: "FailedMount",
			Message: `MountVolume.SetUp failed for volume "keys" : secret "nope" not found`,
		}))
	}
}

func addSigningRequest(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: csr NAME NODE")
	}
	sandboxOf(ts).AddSigningRequest(args[0], args[1])
}

func ran(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ran N")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	enough := func(all []sandbox.Session) bool { return len(withoutEnding(all)) >= want }
	_ = sandboxOf(ts).WaitSessions(ctx, enough) // a client may receive the 101 response before a session is counted
	if got := withoutEnding(sandboxOf(ts).Sessions()); len(got) != want {
		ts.Fatalf("%d commands have run, want %d", len(got), want)
	}
}

// withoutEnding returns the sessions without those in which kshell ended the
// command of a lost connection, and without those in containers that do not run.
func withoutEnding(all []sandbox.Session) []sandbox.Session {
	return slices.DeleteFunc(slices.Clone(all), func(x sandbox.Session) bool {
		return x.NotRunning || strings.Contains(strings.Join(x.Query["command"], " "), `kill -TERM "-$1"`)
	})
}

func reviews(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: reviews")
	}
	sandboxOf(ts).Review(true)
}

func gateway(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: gateway")
	}
	g := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/exec") {
			http.Redirect(w, r, "https://login.invalid/?next=exec", http.StatusFound)
			return
		}
		p := corev1.Pod{
			TypeMeta:   metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
			ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default"},

			Spec:   corev1.PodSpec{Containers: []corev1.Container{{Name: "web"}}},
			Status: corev1.PodStatus{Phase: corev1.PodRunning},
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(p)
	}))
	ts.Defer(g.Close)
	ts.Setenv("GATEWAY", g.URL)
}

func plain(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: plain FILE")
	}
	text := ts.ReadFile(args[0])
	if text == "" {
		ts.Fatalf("%s is empty", args[0])
	}
	for _, r := range text {
		if r != '\n' && (r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u202e') {
			ts.Fatalf("%s contains %U: %q", args[0], r, text)
		}
	}
}

func noSecret(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: no-secret FILE")
	}
	if secret := sandboxOf(ts).Token("admin"); strings.Contains(ts.ReadFile(args[0]), secret) {
		ts.Fatalf("%s contains the token", args[0])
	}
}
