package sandbox

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// graceCap is the maximum time between TERM and KILL when a pod is deleted.
const graceCap = time.Second

// errClosed is returned after Close.
var errClosed = errors.New("the sandbox is closed")

// podRun is a pod with its running containers.
type podRun struct {
	pod        *corev1.Pod // the pod as it was added
	containers map[string]*container
	stop       context.CancelFunc // starts the termination of the pod
	ended      chan struct{}      // closed when the pod was stopped and all its processes have ended

	mu    sync.Mutex
	grace time.Duration
}

func (r *podRun) gracePeriod() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.grace
}

// addPod sets the defaults of the pod, runs it, and only then adds it to the
// API, so that a pod that is shown as running accepts execs.
func (s *Server) addPod(pod *corev1.Pod) error {
	if !s.enter() {
		return errClosed
	}
	defer s.wg.Done()
	setDefaults(pod)
	ctx, cancel := context.WithCancel(s.ctx)
	run := &podRun{pod: pod.DeepCopy(), containers: map[string]*container{}, stop: cancel, ended: make(chan struct{})}
	var mains []func()
	s.refusePropagation(pod)
	for _, spec := range containersToRun(pod) {
		c, err := s.newContainer(pod, spec.Container, spec.restart)
		if err == nil {
			var p *process
			if p, err = c.spawn(c.mainCommand(), true); err == nil {
				mains = append(mains, func() { c.run(ctx, p, run.gracePeriod) })
			}
		}
		if err != nil {
			setState(pod, spec.Name, waiting("RunContainerError", err.Error()))
			updateReadiness(pod)
			continue
		}
		run.containers[spec.Name] = c
	}
	s.mu.Lock()
	s.pods[keyOf(pod)] = run
	s.mu.Unlock()
	s.store.put("pods", pod)
	var running sync.WaitGroup
	for _, f := range mains {
		running.Go(f)
	}
	s.wg.Go(func() {
		running.Wait()
		<-ctx.Done()
		close(run.ended)
	})
	s.enforceDeadline(run)
	return nil
}

// container returns a container that runs or has run, or nil.
func (s *Server) container(key types.NamespacedName, name string) *container {
	s.mu.Lock()
	defer s.mu.Unlock()
	run := s.pods[key]
	if run == nil {
		return nil
	}
	return run.containers[name]
}

// containers returns the containers of a pod that are running or have run.
func (s *Server) containers(key types.NamespacedName) []*container {
	s.mu.Lock()
	defer s.mu.Unlock()
	if run := s.pods[key]; run != nil {
		return slices.Collect(maps.Values(run.containers))
	}
	return nil
}

func (s *Server) deletePod(key types.NamespacedName, grace time.Duration) error {
	s.mu.Lock()
	run := s.pods[key]
	s.mu.Unlock()
	if run == nil {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "pods"}, key.Name)
	}
	run.mu.Lock()
	run.grace = min(grace, graceCap)
	run.mu.Unlock()
	first := false
	s.store.updatePod(key, run.pod.UID, func(o object) {
		first = o.GetDeletionTimestamp() == nil
		seconds := int64(grace.Seconds())
		now := metav1.NewTime(time.Now().Add(grace))
		o.SetDeletionTimestamp(&now)
		o.SetDeletionGracePeriodSeconds(&seconds)
	})
	if !first {
		return nil
	}
	replacement := replacementOf(run.pod)
	if replacement != nil && replacement.Name != key.Name {
		s.start(func() { _ = s.addPod(replacement) })
	}
	run.stop()
	s.start(func() {
		<-run.ended
		s.mu.Lock()
		if s.pods[key] == run {
			delete(s.pods, key)
		}
		closing := s.closing
		s.mu.Unlock()
		s.store.remove("pods", key, run.pod.UID)
		if replacement != nil && replacement.Name == key.Name && !closing {
			_ = s.addPod(replacement)
		}
	})
	return nil
}

// replacementOf returns the pod with which a workload replaces a deleted pod.
// It returns nil if no workload owns the deleted pod.
func replacementOf(old *corev1.Pod) *corev1.Pod {
	if len(old.OwnerReferences) == 0 {
		return nil
	}
	pod := &corev1.Pod{Spec: *old.Spec.DeepCopy()}
	pod.Namespace = old.Namespace
	pod.Labels = old.Labels
	pod.Annotations = old.Annotations
	pod.OwnerReferences = old.OwnerReferences
	pod.GenerateName = old.GenerateName
	if old.OwnerReferences[0].Kind == "StatefulSet" {
		pod.Name = old.Name
	}
	return pod
}

// setDefaults sets the fields that every pod has.
func setDefaults(pod *corev1.Pod) {
	pod.TypeMeta = metav1.TypeMeta{Kind: "Pod", APIVersion: "v1"}
	if pod.Namespace == "" {
		pod.Namespace = "default"
	}
	if pod.Name == "" {
		pod.Name = pod.GenerateName + randomName(5)
	}
	if pod.UID == "" {
		pod.UID = newUID()
	}
	if pod.CreationTimestamp.IsZero() {
		pod.CreationTimestamp = thisSecond()
	}
	if pod.Spec.RestartPolicy == "" {
		pod.Spec.RestartPolicy = corev1.RestartPolicyAlways
	}
	if pod.Status.Phase != "" {
		return
	}
	if pod.Spec.NodeName == "" {
		pod.Spec.NodeName = nodeNames[0]
	}
	pod.Status = runningStatus(pod)
}

func newUID() types.UID {
	r := randomName(32)
	return types.UID(fmt.Sprintf("%s-%s-%s-%s-%s", r[:8], r[8:12], r[12:16], r[16:20], r[20:]))
}

type containerToRun struct {
	corev1.Container
	restart bool
}

// containersToRun returns the containers that are running according to the
// status.
func containersToRun(pod *corev1.Pod) []containerToRun {
	var list []containerToRun
	restart := pod.Spec.RestartPolicy == corev1.RestartPolicyAlways
	for _, c := range pod.Spec.InitContainers {
		if isRunning(pod.Status.InitContainerStatuses, c.Name) {
			list = append(list, containerToRun{c, restart})
		}
	}
	for _, c := range pod.Spec.Containers {
		if isRunning(pod.Status.ContainerStatuses, c.Name) {
			list = append(list, containerToRun{c, restart})
		}
	}
	for _, c := range pod.Spec.EphemeralContainers {
		if isRunning(pod.Status.EphemeralContainerStatuses, c.Name) {
			list = append(list, containerToRun{corev1.Container(c.EphemeralContainerCommon), false})
		}
	}
	return list
}
