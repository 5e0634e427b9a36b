package suite

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"kshell/test/contract"
	"kshell/test/e2e/harness"
)

// waitTimeout limits how long a test waits for an event. The test fails if the
// event does not occur in this time.
const waitTimeout = 60 * time.Second

// eventually waits until cond returns true, at most for waitTimeout.
func eventually(t *testing.T, what string, cond func(ctx context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := cond(ctx)
		if ok && err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not after %v (%v)", what, waitTimeout, err)
		}
	}
}

func clientset(t *testing.T) *kubernetes.Clientset {
	t.Helper()
	client, err := cluster.Client()
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// sleeper returns a pod with one container that sleeps. node is the name of its
// node; "" means any node. The pod terminates within two seconds. A pod with a
// given node is never evicted. A pod without a given node is evicted 20 s or
// more after its node is lost.
func sleeper(node string) *corev1.Pod {
	grace := int64(2)
	p := &corev1.Pod{Spec: corev1.PodSpec{
		NodeName: node, TerminationGracePeriodSeconds: &grace,
		Containers: []corev1.Container{busyboxContainer("main", "sleep", "infinity")},
	}}
	if node != "" {
		p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}}
	}
	return p
}

// busyboxContainer returns a container with the busybox image.
func busyboxContainer(name string, command ...string) corev1.Container {
	return corev1.Container{Name: name, Image: harness.BusyboxImage, Command: command}
}

// createPod creates a pod, which is deleted at the end of the test, and returns
// its name.
func createPod(t *testing.T, p *corev1.Pod) string {
	t.Helper()
	p.GenerateName = "suite-"
	metav1.SetMetaDataLabel(&p.ObjectMeta, "kshell", "suite")
	pods := clientset(t).CoreV1().Pods(harness.Namespace)
	made, err := pods.Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), waitTimeout)
		defer cancel()
		now := int64(0)
		_ = pods.Delete(ctx, made.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}) // the test may have deleted it
	})
	return made.Name
}

// waitForPod waits until cond returns true for the pod, and returns the pod.
func waitForPod(t *testing.T, pod, what string, cond func(*corev1.Pod) bool) *corev1.Pod {
	t.Helper()
	var seen *corev1.Pod
	pods := clientset(t).CoreV1().Pods(harness.Namespace)
	eventually(t, "pod "+pod+": "+what, func(ctx context.Context) (bool, error) {
		p, err := pods.Get(ctx, pod, metav1.GetOptions{})
		if err != nil {
			return false, err
		}
		seen = p
		return cond(p), nil
	})
	return seen
}

// createReady creates a pod, which is deleted at the end of the test, waits
// until it is ready, and returns its name.
func createReady(t *testing.T, p *corev1.Pod) string {
	t.Helper()
	name := createPod(t, p)
	waitForPod(t, name, "ready", isReady)
	return name
}

func isReady(p *corev1.Pod) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue && p.DeletionTimestamp == nil
		}
	}
	return false
}

// stateOf returns the state of a container of any kind.
func stateOf(p *corev1.Pod, name string) corev1.ContainerState {
	for _, list := range [][]corev1.ContainerStatus{
		p.Status.ContainerStatuses, p.Status.InitContainerStatuses, p.Status.EphemeralContainerStatuses,
	} {
		for _, s := range list {
			if s.Name == name {
				return s.State
			}
		}
	}
	return corev1.ContainerState{}
}

func isRunning(name string) func(*corev1.Pod) bool {
	return func(p *corev1.Pod) bool { return stateOf(p, name).Running != nil }
}

// background is a program that runs in the background.
type background struct {
	cmd      *exec.Cmd
	out, err notifyingBuffer
	begun    time.Time
	took     time.Duration
	failed   error
	done     chan struct{}
}

// start starts p in the background. The program is killed at the end of the
// test.
func start(t *testing.T, p contract.Program, stdin io.Reader, args ...string) *background {
	t.Helper()
	l := &background{cmd: p.Command(context.Background(), t, args...), begun: time.Now(), done: make(chan struct{})}
	l.cmd.Stdin, l.cmd.Stdout, l.cmd.Stderr = stdin, &l.out, &l.err
	l.cmd.WaitDelay = time.Second
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(l.done)
		l.failed = l.cmd.Wait()
		l.took = time.Since(l.begun)
	}()
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill() // the program has exited already, unless the test failed
		<-l.done
	})
	return l
}

// waitForStdout waits until stdout contains words.
func (l *background) waitForStdout(t *testing.T, words string) {
	t.Helper()
	late := time.NewTimer(waitTimeout)
	defer late.Stop()
	for {
		has, grown := l.out.has(words)
		if has {
			return
		}
		select {
		case <-grown:
		case <-l.done:
			if has, _ := l.out.has(words); !has {
				t.Fatalf("it ended without %q on stdout: %v, stdout %.300q, stderr %s", words, l.failed, l.out.String(),
					l.err.String())
			}
		case <-late.C:
			t.Fatalf("no %q on stdout after %v: stdout ends %.300q, stderr %s", words, waitTimeout, l.out.last(300),
				l.err.String())
		}
	}
}

// hasExited reports whether the program has exited.
func (l *background) hasExited() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// waitExit waits for the exit of the program, at most for limit.
func (l *background) waitExit(t *testing.T, limit time.Duration) contract.Result {
	t.Helper()
	from := time.Now()
	select {
	case <-l.done:
	case <-time.After(limit):
		t.Fatalf("%q still runs %v later: stdout ends %.300q, stderr %s", l.cmd.Args[1:], limit, l.out.last(300),
			l.err.String())
	}
	t.Logf("ended %v later with %d, stderr %q", time.Since(from).Round(10*time.Millisecond),
		contract.ExitCode(l.cmd.ProcessState), l.err.String())
	state := l.cmd.ProcessState
	return contract.Result{
		Out: l.out.String(), Err: l.err.String(), Code: contract.ExitCode(state), Exited: state.Exited(), Took: l.took,
	}
}

// notifyingBuffer is a buffer that notifies readers when it grows. The zero
// value is ready to use.
type notifyingBuffer struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	grown chan struct{}
}

// Write implements io.Writer.
func (g *notifyingBuffer) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.grown != nil {
		close(g.grown)
		g.grown = nil
	}
	return g.buf.Write(p)
}

func (g *notifyingBuffer) has(words string) (bool, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.grown == nil {
		g.grown = make(chan struct{})
	}
	return bytes.Contains(g.buf.Bytes(), []byte(words)), g.grown
}

func (g *notifyingBuffer) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.String()
}

func (g *notifyingBuffer) size() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.Len()
}

func (g *notifyingBuffer) last(n int) string {
	s := g.String()
	return s[max(0, len(s)-n):]
}

// startOnBoth starts a command with each API server.
func startOnBoth(t *testing.T, args ...string) map[string]*background {
	t.Helper()
	both := map[string]*background{}
	for _, way := range apiPaths() {
		both[way.name] = start(t, program(way.kubeconfig), nil, args...)
	}
	return both
}

// checkEach waits for the exit of both programs, and checks the results.
func checkEach(t *testing.T, both map[string]*background, limit time.Duration,
	check func(t *testing.T, r contract.Result),
) {
	t.Helper()
	for _, way := range apiPaths() {
		t.Run(way.name, func(t *testing.T) { check(t, both[way.name].waitExit(t, limit)) })
	}
}

// shortTimeout is how long a program may take to react to an event that it is
// notified of.
const shortTimeout = 30 * time.Second

// lostMessage matches the whole of stderr after a lost connection: one message
// and a hint.
var lostMessage = regexp.MustCompile(
	`^kshell: the connection broke before the command ended, so its result is unknown; ` +
		`(it is stopped as soon as the node detects the loss \(connection lost: [^\n]+\)\n|` +
		"it may still be running \\(connection lost: [^\n]+\\)\nhint: `kshell exec [^\n`]+ -- ps` [^\n]+\n)$|" +
		`^kshell: the server reported success before the command reported its result, so the result is unknown; ` +
		"the command [^\n]+\n(hint: `kshell exec [^\n`]+ -- ps` [^\n]+\n)?$",
)

// jargon matches what messages must not contain.
var jargon = regexp.MustCompile(`EOF|websocket|goroutine|0x|\btcp\b|->|wsarecv|stream error|nil|%!`)

// slowLines matches the lines that kshell writes only while something is slow
// or does not answer.
var slowLines = regexp.MustCompile(
	`(?m)^kshell: (?:(?:still )?waiting(?: \(up to \S+, see --pod-running-timeout\)| after [0-9]+ s)?: .*|` +
		`the pod runs after [0-9]+ s|` +
		`waiting for (?:the API server at|node) .*|(?:network out: )?no reply for [0-9]+ s.*|the server answers again|` +
		`warning: the cluster has lost contact with node .*|warning: .*; trying again in [0-9]+ s)\n`,
)

// withoutSlowLines removes the lines that slowLines matches, for tests of other
// messages.
func withoutSlowLines(stderr string) string { return slowLines.ReplaceAllString(stderr, "") }

// checkLost checks that kshell reported that the connection was lost, and
// nothing else.
func checkLost(t *testing.T, r contract.Result) {
	t.Helper()
	if r.Code != 255 {
		t.Errorf("exit code %d, want 255", r.Code)
	}
	if !lostMessage.MatchString(withoutSlowLines(r.Err)) || jargon.MatchString(r.Err) {
		t.Errorf("stderr is not one plain message: %q", r.Err)
	}
}

// checkCounting checks that out contains the numbers 0, 1, 2 and so on, one per
// line, and returns the number of whole lines.
func checkCounting(t *testing.T, out string) int {
	t.Helper()
	n := 0
	for line := range strings.Lines(out) {
		want := strconv.Itoa(n) + "\n"
		if !strings.HasSuffix(line, "\n") {
			if !strings.HasPrefix(want, line) {
				t.Errorf("the last line begins %q, want a part of %q", line, want)
			}
			break
		}
		if line != want {
			t.Fatalf("line %d is %q", n, line)
		}
		n++
	}
	return n
}

// countScript returns a shell script that prints the numbers from 0 to limit-1,
// runs the command pause after each number, and then exits with 9.
func countScript(limit int, pause string) string {
	return fmt.Sprintf(`i=0; while [ $i -lt %d ]; do echo $i; i=$((i+1)); %s; done; exit 9`, limit, pause)
}

// must fails the test if err is not nil.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
