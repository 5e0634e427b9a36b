// Package pod finds the running containers that were asked for, waits until they
// run, and says what became of one that was lost.
//
// It does not know sockets, terminals or how a session is retried. It prints
// nothing: what the user should hear comes back as Found.Notes, in an error, or
// through a function that the caller gave.
//
// Invariants:
//   - The kinds are a fixed table; there is no discovery. A pod costs one request
//     (get), anything else two (get, then list of pods, in chunks of 500).
//   - Rank, Best, ChooseContainer, checkRunning, Same, Fate, ParseTarget,
//     ParseManifest, WatchPath and decodeEvent are pure.
//   - Rank is a total order: the same pods give the same choice.
//   - No goroutine is started: functions of the caller are called from the one in
//     which it called, and not after the return.
//   - What a watch shows is believed for seconds (Await) or a minute (Watch): then
//     the server is asked again, because proxies hold events back and links die in
//     silence. Where watching is not allowed, asking again is all that is done.
//   - An error of the API stays findable by errors.As and apierrors.IsNotFound.
//   - Notes hold no control characters: what the server named is quoted. Errors and
//     sentences about pods hold the server's own raw; whoever prints them has to
//     clean them.
package pod

import (
	"context"

	corev1 "k8s.io/api/core/v1"
)

// Request is what was asked for.
type Request struct {
	Namespace string // needed
	Target    Target
	// Selector is that of -l, in kubectl's syntax. It is read only where Target is
	// the zero one.
	Selector  string
	Container string // -c; "" leaves the choice to ChooseContainer
}

// Found is a container that was running when the server answered.
type Found struct {
	Pod       *corev1.Pod
	Container string
	// Notes are sentences for stderr: which of several pods or containers was
	// chosen and why. Without a final period, in the order to be said.
	Notes []string
}

// Find resolves req to one running container, as things are now: Await waits.
// Of several pods it takes the best (see Rank) in which the container runs. Its
// errors are
//
//   - *TargetError: nothing was named, or the selector cannot be read
//   - *GetForbiddenError: the pod was named and may not be looked at; the caller
//     can go on with the bare name
//   - *RequestError: any other refusal or failure of the API
//   - *NoPodsError: the workload, service or selector has no pods
//   - *UnknownContainerError: the pod has no such container
//   - *NotRunningError: the container or its pod does not run
func (c *Client) Find(ctx context.Context, req Request) (*Found, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	v, err := c.readView(ctx, req)
	if err != nil {
		return nil, err
	}
	return v.choose()
}

// check refuses what would choose from all pods of a namespace.
func (r Request) check() error {
	if r.Target == (Target{}) && r.Selector == "" {
		return &TargetError{text: "no pod was named", hint: "type POD, TYPE/NAME or -l LABEL=VALUE"}
	}
	return nil
}
