package pod

import corev1 "k8s.io/api/core/v1"

// Same says whether the container of updated is the very one of old: the same pod by
// uid, and the same start of the container by ID and restart count. A container
// of which neither tells a state is the same when the pod is; one of which only
// one of the two tells is not.
func Same(old, updated *corev1.Pod, container string) bool {
	if old == nil || updated == nil || old.UID != updated.UID {
		return false
	}
	before, known := statusOf(old, container)
	after, stillKnown := statusOf(updated, container)
	return known == stillKnown && before.ContainerID == after.ContainerID && before.RestartCount == after.RestartCount
}
