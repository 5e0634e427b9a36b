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

// aMinute bounds every wait for something that is certain to come: what takes longer is a failure with a name.
const aMinute = 60 * time.Second

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func(ctx context.Context) (bool, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), aMinute)
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
			t.Fatalf("%s: not so after %v (%v)", what, aMinute, err)
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

// sleeper is a pod of one container that sleeps, on a node ("": any). It ends within two seconds of being asked to. One on a node that is named stays
// there, however long the node is lost: others are evicted after 20 s or more, according to when the node was heard of last.
func sleeper(node string) *corev1.Pod {
	grace := int64(2)
	p := &corev1.Pod{Spec: corev1.PodSpec{
		NodeName: node, TerminationGracePeriodSeconds: &grace,
		Containers: []corev1.Container{box("main", "sleep", "infinity")},
	}}
	if node != "" {
		p.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}}
	}
	return p
}

// box is a container of the busybox image.
func box(name string, command ...string) corev1.Container {
	return corev1.Container{Name: name, Image: harness.BusyboxImage, Command: command}
}

// create makes a pod of the test's own and returns its name; the pod goes with the test.
func create(t *testing.T, p *corev1.Pod) string {
	t.Helper()
	p.GenerateName = "suite-"
	metav1.SetMetaDataLabel(&p.ObjectMeta, "kshell", "suite")
	pods := clientset(t).CoreV1().Pods(harness.Namespace)
	made, err := pods.Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), aMinute)
		defer cancel()
		now := int64(0)
		_ = pods.Delete(ctx, made.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}) // a test may have deleted it
	})
	return made.Name
}

// sees waits until the pod's status is as cond wants it.
func sees(t *testing.T, pod, what string, cond func(*corev1.Pod) bool) *corev1.Pod {
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

// ready makes a pod of the test's own and waits until it runs.
func ready(t *testing.T, p *corev1.Pod) string {
	t.Helper()
	name := create(t, p)
	sees(t, name, "ready", isReady)
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

// stateOf is the state of a container of whatever kind.
func stateOf(p *corev1.Pod, name string) corev1.ContainerState {
	for _, list := range [][]corev1.ContainerStatus{p.Status.ContainerStatuses, p.Status.InitContainerStatuses, p.Status.EphemeralContainerStatuses} {
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

// live is a program that runs while the test does other things.
type live struct {
	cmd      *exec.Cmd
	out, err growing
	begun    time.Time
	took     time.Duration
	failed   error
	done     chan struct{}
}

// start starts p; it is killed at the latest when the test ends.
func start(t *testing.T, p contract.Program, stdin io.Reader, args ...string) *live {
	t.Helper()
	l := &live{cmd: p.Command(context.Background(), t, args...), begun: time.Now(), done: make(chan struct{})}
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
		_ = l.cmd.Process.Kill() // it has ended in every test that passes
		<-l.done
	})
	return l
}

// prints waits until words have come out of its stdout.
func (l *live) prints(t *testing.T, words string) {
	t.Helper()
	late := time.NewTimer(aMinute)
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
				t.Fatalf("it ended without %q on stdout: %v, stdout %.300q, stderr %s", words, l.failed, l.out.String(), l.err.String())
			}
		case <-late.C:
			t.Fatalf("no %q on stdout after %v: stdout ends %.300q, stderr %s", words, aMinute, l.out.last(300), l.err.String())
		}
	}
}

// ended says whether it has.
func (l *live) ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// within waits for the end, which is to come within limit from now.
func (l *live) within(t *testing.T, limit time.Duration) contract.Result {
	t.Helper()
	from := time.Now()
	select {
	case <-l.done:
	case <-time.After(limit):
		t.Fatalf("%q still runs %v later: stdout ends %.300q, stderr %s", l.cmd.Args[1:], limit, l.out.last(300), l.err.String())
	}
	t.Logf("ended %v later with %d, stderr %q", time.Since(from).Round(10*time.Millisecond), l.cmd.ProcessState.ExitCode(), l.err.String())
	return contract.Result{Out: l.out.String(), Err: l.err.String(), Code: l.cmd.ProcessState.ExitCode(), Took: l.took}
}

// growing is a buffer that tells when it grows. The zero value is ready.
type growing struct {
	mu    sync.Mutex
	buf   bytes.Buffer
	grown chan struct{}
}

// Write implements io.Writer.
func (g *growing) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.grown != nil {
		close(g.grown)
		g.grown = nil
	}
	return g.buf.Write(p)
}

func (g *growing) has(words string) (bool, <-chan struct{}) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.grown == nil {
		g.grown = make(chan struct{})
	}
	return bytes.Contains(g.buf.Bytes(), []byte(words)), g.grown
}

func (g *growing) String() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.String()
}

func (g *growing) size() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.buf.Len()
}

func (g *growing) last(n int) string {
	s := g.String()
	return s[max(0, len(s)-n):]
}

// onBoth starts the same command through both API servers.
func onBoth(t *testing.T, args ...string) map[string]*live {
	t.Helper()
	both := map[string]*live{}
	for _, way := range paths() {
		both[way.name] = start(t, program(way.kubeconfig), nil, args...)
	}
	return both
}

// eachEnd waits for the end of both and checks each.
func eachEnd(t *testing.T, both map[string]*live, limit time.Duration, check func(t *testing.T, r contract.Result)) {
	t.Helper()
	for _, way := range paths() {
		t.Run(way.name, func(t *testing.T) { check(t, both[way.name].within(t, limit)) })
	}
}

// soon bounds what comes as soon as somebody is told of something: seconds, on a machine that has time for it.
const soon = 30 * time.Second

// lostWords is all that kshell says of a lost connection: one plain sentence, and what to type.
var lostWords = regexp.MustCompile(`^kshell: connection lost: [^\n]+ before the command reported a result; (it is ended as soon as its node detects the loss\n|` +
	`it may still be running\nhint: kshell exec -n \S+ \S+ -- ps\n)$|` +
	`^kshell: connection lost: the server reports success, but the command has not reported its result; [^\n]+\n$`)

// jargon is what no user should have to read.
var jargon = regexp.MustCompile(`EOF|websocket|goroutine|0x|\btcp\b|->|wsarecv|stream error|nil|%!`)

// slowly matches the lines that kshell writes only while something is slow or does
// not answer.
var slowly = regexp.MustCompile(`(?m)^kshell: (?:(?:still )?waiting(?: \(up to \S+, see --pod-running-timeout\)| after [0-9]+ s)?: .*|the pod runs after [0-9]+ s|` +
	`waiting for (?:the API server at|node) .*|no reply for [0-9]+ s|the server answers again|warning: the cluster has lost contact with node .*|warning: .*; trying again in [0-9]+ s)\n`)

// unhurried returns stderr without these lines, for tests of other messages.
func unhurried(stderr string) string { return slowly.ReplaceAllString(stderr, "") }

// isLost checks that kshell said that the connection was lost, in one sentence, and nothing else.
func isLost(t *testing.T, r contract.Result) {
	t.Helper()
	if r.Code != 255 {
		t.Errorf("exit code %d, want 255", r.Code)
	}
	if !lostWords.MatchString(unhurried(r.Err)) || jargon.MatchString(r.Err) {
		t.Errorf("stderr is not one plain sentence: %q", r.Err)
	}
}

// counts checks that out is 0, 1, 2 and so on, a line each, none missing and none doubled, and returns how many lines are whole.
func counts(t *testing.T, out string) int {
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

// counting is a shell script that counts from 0, forever or to a limit, with a pause between two numbers, and then exits 9.
func counting(limit int, pause string) string {
	return fmt.Sprintf(`i=0; while [ $i -lt %d ]; do echo $i; i=$((i+1)); %s; done; exit 9`, limit, pause)
}

// check fails the test if something that it needs did not work.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
