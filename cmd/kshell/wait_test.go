package main

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

// growingUp is a server that knows one pod, web, and shows the next of its statuses each time that it is asked; nobody may watch it.
func growingUp(t *testing.T, answerAfter time.Duration, statuses ...corev1.PodStatus) (*pod.Client, pod.Request) {
	t.Helper()
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path != "/api/v1/namespaces/default/pods/web" {
			w.WriteHeader(http.StatusForbidden)
			_ = json.NewEncoder(w).Encode(metav1.Status{Status: "Failure", Code: 403, Reason: metav1.StatusReasonForbidden})
			return
		}
		n := min(int(asked.Add(1)), len(statuses)) - 1
		if n == 0 {
			time.Sleep(answerAfter) // a slow server is what is tested
		}
		_ = json.NewEncoder(w).Encode(corev1.Pod{
			TypeMeta:   metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"},
			ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "1"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "app"}}}, Status: statuses[n],
		})
	}))
	t.Cleanup(s.Close)
	client, err := pod.NewClient(&rest.Config{Host: s.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client, pod.Request{Namespace: "default", Target: web}
}

var (
	unscheduled = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
		{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "no node"},
	}}
	pullingIt = corev1.PodStatus{Phase: corev1.PodPending, ContainerStatuses: []corev1.ContainerStatus{
		{Name: "app", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no image"}}},
	}}
	runningNow = corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{
		{Name: "app", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
	}}
)

// hearing is an app, and what it says.
func hearing() (*app, *bytes.Buffer) {
	a, said := newApp(), &bytes.Buffer{}
	a.notice = notice.New(said)
	return a, said
}

func TestAWaitSaysWhatForAndEndsWhenTheContainerRuns(t *testing.T) {
	client, request := growingUp(t, 0, unscheduled, pullingIt, runningNow)
	a, said := hearing()
	found, err := a.await(t.Context(), client, request, time.Minute)
	if err != nil || found.Container != "app" {
		t.Fatalf("%+v, %v", found, err)
	}
	want := `kshell: waiting (up to 1m0s, see --pod-running-timeout): pod "web" is not scheduled (Unschedulable): no node
kshell: waiting: container "app" of pod "web" is waiting (ImagePullBackOff): no image
`
	if diff := cmp.Diff(want, said.String()); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}

// Logging in, say, takes what it takes.
func TestTheWayToTheServerIsNoWaitForThePod(t *testing.T) {
	client, request := growingUp(t, 200*time.Millisecond, runningNow)
	a, said := hearing()
	if _, err := a.await(t.Context(), client, request, time.Millisecond); err != nil || said.Len() > 0 {
		t.Errorf("%v, said %q", err, said)
	}
}

func TestAWaitThatRanOutSaysForWhatAndEndsWith255(t *testing.T) {
	client, request := growingUp(t, 0, pullingIt)
	a, _ := hearing()
	_, err := a.await(t.Context(), client, request, 10*time.Millisecond)
	var ranOut *pod.WaitError
	if !errors.As(err, &ranOut) || outcome.Classify(err).ExitCode != outcome.ExitFailed || outcome.Classify(err).Silent {
		t.Errorf("%v, exit code %d", err, outcome.Classify(err).ExitCode)
	}
	want := errorText{
		`gave up after 10ms: container "app" of pod "web" is waiting (ImagePullBackOff): no image`,
		"type `kubectl describe pod web -n default` to see its events",
	}
	if diff := cmp.Diff(want, errorTextOf(err)); diff != "" {
		t.Errorf("words and hint (-want +got):\n%s", diff)
	}
}

func TestWithoutPatienceNothingIsWaitedFor(t *testing.T) {
	client, request := growingUp(t, 0, unscheduled, runningNow)
	a, said := hearing()
	_, err := a.await(t.Context(), client, request, 0)
	var stopped *pod.NotRunningError
	if !errors.As(err, &stopped) || said.Len() > 0 {
		t.Errorf("%v, said %q", err, said)
	}
}

func TestCtrlCEndsTheWaitWithoutAnotherWord(t *testing.T) {
	client, request := growingUp(t, 0, unscheduled)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	a, said := hearing()
	a.notice = notice.New(writerFunc(func(p []byte) (int, error) {
		cancel(cleanup.SignalError{Signal: syscall.SIGINT})
		return said.Write(p)
	}))
	_, err := a.await(ctx, client, request, time.Minute)
	if err = outcome.ContextCause(ctx, err); outcome.Classify(err).ExitCode != 130 || !outcome.Classify(err).Silent {
		t.Errorf("%v, exit code %d", err, outcome.Classify(err).ExitCode)
	}
	if n := strings.Count(said.String(), "\n"); n != 1 {
		t.Errorf("said %q", said)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
