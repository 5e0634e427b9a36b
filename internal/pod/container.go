package pod

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"kshell/internal/similar"
)

// defaultAnnotation names the container to use if the user names none.
// Source: https://kubernetes.io/docs/reference/labels-annotations-taints/
const defaultAnnotation = "kubectl.kubernetes.io/default-container"

// class is the kind of a container, as users see it.
type class string

const (
	mainClass      class = "container"
	initClass      class = "init container"
	sidecarClass   class = "sidecar container" // an init container with restartPolicy Always
	ephemeralClass class = "ephemeral container"
)

type container struct {
	name  string
	class class
}

// containers returns all containers of a pod: main containers first, then init
// and ephemeral containers, each class in the order of the spec.
func containers(pod *corev1.Pod) []container {
	var list []container
	for _, c := range pod.Spec.Containers {
		list = append(list, container{c.Name, mainClass})
	}
	for _, c := range pod.Spec.InitContainers {
		list = append(list, container{c.Name, initClassOf(c)})
	}
	for _, c := range pod.Spec.EphemeralContainers {
		list = append(list, container{c.Name, ephemeralClass})
	}
	return list
}

func initClassOf(c corev1.Container) class {
	if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
		return sidecarClass
	}
	return initClass
}

func findContainer(pod *corev1.Pod, name string) (container, bool) {
	for _, c := range containers(pod) {
		if c.name == name {
			return c, true
		}
	}
	return container{}, false
}

// ChooseContainer returns the name of the container to use: wanted if it is not
// "", else the container that the annotation
// kubectl.kubernetes.io/default-container names, else the first of the spec. It
// does not check that the container runs. notes tell the user that the
// annotation names a container that does not exist, or that the first of
// several containers was chosen. The error is an *UnknownContainerError: the
// pod lacks the container wanted, or has no containers.
func ChooseContainer(pod *corev1.Pod, wanted string) (name string, notes []string, err error) {
	if wanted != "" {
		if _, ok := findContainer(pod, wanted); !ok {
			return "", nil, unknownContainer(pod, wanted)
		}
		return wanted, nil, nil
	}
	if name, ok := pod.Annotations[defaultAnnotation]; ok {
		if _, ok := findContainer(pod, name); ok {
			return name, nil, nil
		}
		notes = append(notes, fmt.Sprintf("pod %q has no container %q, the one in its annotation %s",
			pod.Name, name, defaultAnnotation))
	}
	if len(pod.Spec.Containers) == 0 {
		return "", nil, unknownContainer(pod, "")
	}
	name = pod.Spec.Containers[0].Name
	if others := alternatives(pod); len(others) > 0 {
		notes = append(notes, fmt.Sprintf("chose the first container, %q; -c selects another: %s",
			name, strings.Join(others, ", ")))
	}
	return name, notes, nil
}

// alternatives returns the containers that -c can select instead of the first.
// Init containers are left out, because they have ended before the main
// containers run.
func alternatives(pod *corev1.Pod) []string {
	var list []string
	for _, c := range containers(pod)[1:] {
		switch c.class {
		case mainClass:
			list = append(list, fmt.Sprintf("%q", c.name))
		case sidecarClass, ephemeralClass:
			list = append(list, fmt.Sprintf("%q (%s)", c.name, c.class))
		case initClass:
		}
	}
	return list
}

// UnknownContainerError means that the pod does not have the wanted container.
type UnknownContainerError struct {
	Namespace, Pod string
	Container      string // "" if the pod has no containers
	// Main, Init and Ephemeral are the names of the pod's containers in the
	// order of the spec. Init includes sidecar containers.
	Main, Init, Ephemeral []string
}

func unknownContainer(pod *corev1.Pod, wanted string) error {
	e := &UnknownContainerError{Namespace: pod.Namespace, Pod: pod.Name, Container: wanted}
	for _, c := range containers(pod) {
		switch c.class {
		case mainClass:
			e.Main = append(e.Main, c.name)
		case initClass, sidecarClass:
			e.Init = append(e.Init, c.name)
		case ephemeralClass:
			e.Ephemeral = append(e.Ephemeral, c.name)
		}
	}
	return e
}

// Error returns the names of the pod and of the container.
func (e *UnknownContainerError) Error() string {
	if e.Container == "" {
		return fmt.Sprintf("pod %q has no containers", e.Pod)
	}
	return fmt.Sprintf("pod %q has no container %q", e.Pod, e.Container)
}

// Hint lists the containers of the pod, after those that the user may have meant.
func (e *UnknownContainerError) Hint() string {
	var classes []string
	for _, group := range []struct {
		title string
		names []string
	}{{"", e.Main}, {"init: ", e.Init}, {"ephemeral: ", e.Ephemeral}} {
		if len(group.names) > 0 {
			classes = append(classes, group.title+strings.Join(group.names, ", "))
		}
	}
	if len(classes) == 0 {
		return "name another pod"
	}
	hint := "type -c with one of: " + strings.Join(classes, "; ")
	if question := similar.DidYouMean(e.Container, slices.Concat(e.Main, e.Init, e.Ephemeral), "-c "); question != "" {
		return question + "\n" + hint
	}
	return hint
}
