package pod

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Skipped is a pod that List found, but in which the container does not run or
// does not exist.
type Skipped struct {
	Pod *corev1.Pod
	// Err is a *NotRunningError or an *UnknownContainerError.
	Err error
}

// List finds the container in every pod that req matches. It returns the
// running containers, and the pods in which the container does not run; both
// lists are sorted by pod name. A request with neither target nor selector
// means every pod of its namespace. List does not wait. The Notes of each Found
// are about one pod, so several pods can have the same note.
//
// If err is nil, at least one of the two lists is not empty. Errors are those
// of Find, except those about one pod, which are in Skipped.Err.
func (c *Client) List(ctx context.Context, req Request) (running []Found, skipped []Skipped, err error) {
	v, err := c.readView(ctx, req)
	if err == nil && len(v.pods) == 0 {
		err = v.noPods()
	}
	if err != nil {
		return nil, nil, c.explainMissing(ctx, req.Namespace, err)
	}
	slices.SortFunc(v.pods, byName)
	for i := range v.pods {
		found, err := chooseRunning(&v.pods[i], req.Container)
		if err != nil {
			skipped = append(skipped, Skipped{&v.pods[i], err})
			continue
		}
		running = append(running, *found)
	}
	return running, skipped, nil
}
