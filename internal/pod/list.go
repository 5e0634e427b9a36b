package pod

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Skipped is a pod that was asked for and in which nothing can be run now.
type Skipped struct {
	Pod *corev1.Pod
	// Err is a *NotRunningError or an *UnknownContainerError.
	Err error
}

// List finds the container of every pod behind req, sorted by the pods' names:
// those that run, and apart from them those that do not, with why. A request with
// neither target nor selector is every pod of its namespace. Nothing is waited
// for. The Notes of a Found are about its own pod; several may say the same.
//
// Without an error there is at least one pod in the two lists. The errors are those
// of Find, but for the two of a single pod, which Skipped.Err holds.
func (c *Client) List(ctx context.Context, req Request) (running []Found, skipped []Skipped, err error) {
	v, err := c.readView(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	if len(v.pods) == 0 {
		return nil, nil, v.noPods()
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
