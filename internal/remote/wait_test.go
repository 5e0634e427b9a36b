package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"kshell/internal/cleanup"
	"kshell/internal/notice"
	"kshell/internal/outcome"
	"kshell/internal/pod"
)

// statusServer starts a server with one pod, web. Each request for the pod
// returns the next of the statuses; other requests, such as watches, are
// forbidden. The server delays its first answer by the duration answerAfter.
func statusServer(t *testing.T, answerAfter time.Duration, statuses ...corev1.PodStatus) (*pod.Client, pod.Request) {
	t.Helper()
	var requests atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/api/v1/namespaces/default/pods/web" {
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(metav1.Status{Status: "Failure", Code: 403, Reason: metav1.StatusReasonForbidden})
			return
		}
		n := min(int(requests.Add(1)), len(statuses)) - 1
		if n == 0 {
			time.Sleep(answerAfter) // the test is about a slow server
		}
		_ = json.NewEncoder(w).Encode(corev1.Pod{
			TypeMeta:   metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
			ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "1"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}, Status: statuses[n],
		})
	}))
	t.Cleanup(s.Close)
	client, err := pod.NewClient(&rest.Config{Host: s.URL}, pod.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return client, pod.Request{Namespace: "default", Target: pod.Target{Kind: "pod", Name: "web"}}
}

var (
	unscheduled = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "no node"},
	}}
	pulling = corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{
		{Name: "app", State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no image"},
		}},
	}}
	running = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{
		{Name: "app", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
	}}
)

// recordedEnv returns an Env and the messages that are printed with it.
func recordedEnv() (Env, *bytes.Buffer) {
	var printed bytes.Buffer
	return Env{Notice: notice.New(&printed), Cleanup: &cleanup.Registry{}, Server: &ServerState{}}, &printed
}

func TestWait_ContainerStarts(t *testing.T) {
	client, request := statusServer(t, 0, unscheduled, pulling, running)
	env, printed := recordedEnv()
	found, err := waitForContainer(t.Context(), env, client, request, time.Minute)
	if err != nil || found.Container != "app" {
		t.Fatalf("%+v, %v", found, err)
	}
	want := `kshell: waiting (up to 1m0s, see --pod-running-timeout): pod "web" is not scheduled (Unschedulable): no node
kshell: waiting: container "app" of pod "web" is waiting (ImagePullBackOff): no image
`
	if diff := cmp.Diff(want, printed.String()); diff != "" {
		t.Errorf("printed (-want +got):\n%s", diff)
	}
}

// The time until the server's first answer does not count, because the user may
// have to log in first.
func TestWait_SlowServer(t *testing.T) {
	client, request := statusServer(t, 200*time.Millisecond, running)
	env, printed := recordedEnv()
	if _, err := waitForContainer(t.Context(), env, client, request, time.Millisecond); err != nil || printed.Len() > 0 {
		t.Errorf("%v, printed %q", err, printed)
	}
}

func TestWait_TimesOut(t *testing.T) {
	client, request := statusServer(t, 0, pulling)
	env, _ := recordedEnv()
	_, err := waitForContainer(t.Context(), env, client, request, 10*time.Millisecond)
	var timedOut *pod.WaitError
	if !errors.As(err, &timedOut) || outcome.Classify(err).ExitCode != outcome.ExitFailed || outcome.Classify(err).Silent {
		t.Errorf("%v, exit code %d", err, outcome.Classify(err).ExitCode)
	}
	want := errorText{
		`gave up after 10ms: container "app" of pod "web" is waiting (ImagePullBackOff): no image`,
		"type `kubectl describe pod web -n default` to see its events",
	}
	if diff := cmp.Diff(want, errorTextOf(err)); diff != "" {
		t.Errorf("message and hint (-want +got):\n%s", diff)
	}
}

func TestWait_NoLimit(t *testing.T) {
	client, request := statusServer(t, 0, unscheduled, running)
	env, printed := recordedEnv()
	_, err := waitForContainer(t.Context(), env, client, request, 0)
	var stopped *pod.NotRunningError
	if !errors.As(err, &stopped) || printed.Len() > 0 {
		t.Errorf("%v, printed %q", err, printed)
	}
}

func TestWait_CtrlC(t *testing.T) {
	client, request := statusServer(t, 0, unscheduled)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	env, printed := recordedEnv()
	env.Notice = notice.New(writerFunc(func(p []byte) (int, error) {
		cancel(cleanup.SignalError{Signal: syscall.SIGINT})
		return printed.Write(p)
	}))
	_, err := waitForContainer(ctx, env, client, request, time.Minute)
	if err = outcome.ContextCause(ctx, err); outcome.Classify(err).ExitCode != 130 || !outcome.Classify(err).Silent {
		t.Errorf("%v, exit code %d", err, outcome.Classify(err).ExitCode)
	}
	if n := strings.Count(printed.String(), "\n"); n != 1 {
		t.Errorf("printed %q", printed)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
