package pod

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	apiwatch "k8s.io/apimachinery/pkg/watch"

	"kshell/internal/apiclient"
)

func podsPath(namespace string) string {
	return "/api/v1/namespaces/" + escapeSegment(namespace) + "/pods"
}

func nameSelector(pod string) string {
	return fields.OneTermEqualSelector("metadata.name", pod).String()
}

// watchQuery returns the query of a watch on pods. by is "fieldSelector" or
// "labelSelector". The watch begins after the resourceVersion version. With
// version "0", the watch first sends a state of the pods that may be old. With
// version "", it first sends the current state, but up to 3 s late. Bookmarks
// are not requested, so the client learns no newer version while nothing
// changes, and version can become too old. Therefore the pods must be requested
// again after the end of a watch. Source:
// https://kubernetes.io/docs/reference/using-api/api-concepts/
func watchQuery(by, selector, version string) url.Values {
	query := url.Values{"watch": {"true"}}
	if selector != "" {
		query.Set(by, selector)
	}
	if version != "" {
		query.Set("resourceVersion", version)
	}
	return query
}

// decodeEvent decodes one event of a watch on pods (meta/v1 WatchEvent as
// JSON). It returns the pod and whether the pod was deleted, or a nil pod for a
// bookmark. For an ERROR event, the error is an *apierrors.StatusError; see
// apiclient.IsExpired.
func decodeEvent(message []byte) (pod *corev1.Pod, deleted bool, err error) {
	var event struct {
		Type   apiwatch.EventType `json:"type"`
		Object json.RawMessage    `json:"object"`
	}
	if err := json.Unmarshal(message, &event); err != nil {
		return nil, false, fmt.Errorf("cannot decode an event of a watch: %w", err)
	}
	switch event.Type {
	case apiwatch.Added, apiwatch.Modified, apiwatch.Deleted:
		pod := &corev1.Pod{}
		if err := json.Unmarshal(event.Object, pod); err != nil {
			return nil, false, fmt.Errorf("cannot decode the pod in an event of a watch: %w", err)
		}
		if pod.Name == "" {
			return nil, false, errors.New("an event of a watch contains no pod")
		}
		return pod, event.Type == apiwatch.Deleted, nil
	case apiwatch.Bookmark:
		return nil, false, nil
	case apiwatch.Error:
		status := metav1.Status{}
		if err := json.Unmarshal(event.Object, &status); err != nil {
			return nil, false, fmt.Errorf("cannot decode the error in an event of a watch: %w", err)
		}
		return nil, false, &apierrors.StatusError{ErrStatus: status}
	}
	return nil, false, fmt.Errorf("unknown type %q of an event of a watch", event.Type)
}

// watcher watches pods, if the server allows it. It is not safe for concurrent
// use.
type watcher struct {
	client    *Client
	namespace string
	maxAge    time.Duration // run ends a watch after this time

	unavailable bool // watching does not work; run returns at once
	expired     bool // the server no longer had the resourceVersion; the next watch begins at "0"
}

// matcher applies the selector of a watch to the events that the watch
// receives, because some servers ignore selectors.
type matcher struct {
	matches func(*corev1.Pod) bool
	// dropOthers means that events about pods that do not match are dropped. It
	// is false for a label selector: a pod that loses its labels no longer
	// matches, but the caller must learn of this change.
	dropOthers bool
}

// podNamed matches the pod of that name.
func podNamed(name string) matcher {
	return matcher{func(pod *corev1.Pod) bool { return pod.Name == name }, true}
}

// run watches pods and calls onPod for each event. It returns when onPod has
// returned true (stop), when the watch has ended, or after w.maxAge. It returns
// at once if watching does not work. match must correspond to the selector in
// query.
func (w *watcher) run(
	outer context.Context, query url.Values, match matcher, onPod func(pod *corev1.Pod, deleted bool) (stop bool),
) {
	if w.unavailable {
		return
	}
	ctx, cancel := context.WithTimeout(outer, w.maxAge)
	defer cancel()
	start := query.Get("resourceVersion")
	if w.expired {
		query.Set("resourceVersion", "0")
	}
	each := func(message []byte) error {
		pod, deleted, err := decodeEvent(message)
		w.expired = w.expired || apiclient.IsExpired(err)
		other := pod != nil && !match.matches(pod)
		if other && !deleted {
			w.client.selectorIgnored()
		}
		switch {
		case err != nil:
			return err
		case other && match.dropOthers:
		case pod == nil || older(pod.ResourceVersion, start): // a bookmark, or an old state
		case onPod(pod, deleted):
			return errStop
		}
		return nil
	}
	path := podsPath(w.namespace)
	if w.client.options.RunWatch != nil && w.client.options.RunWatch(ctx, path, query, each) {
		return
	}
	events, err := w.client.open(ctx, w.namespace, query)
	if err != nil {
		// If there is no answer within maxAge, a proxy probably holds the
		// response back until it is complete.
		silent := ctx.Err() != nil && outer.Err() == nil
		w.expired = w.expired || apiclient.IsExpired(err)
		w.unavailable = silent || !apiclient.IsTransient(err) && !apiclient.IsExpired(err)
		return
	}
	defer events.Close()
	for decoder := apiclient.NewDecoder(events, "an event of a watch"); ; {
		var message json.RawMessage
		if decoder.Decode(&message) != nil || each(message) != nil {
			return
		}
	}
}

// errStop ends a watch after onPod has returned true.
var errStop = errors.New("the watch was stopped")

// older reports whether resourceVersion a is older than b. It is false if one
// of them is not a number.
func older(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	return errX == nil && errY == nil && x < y
}

// open starts a watch on pods over plain HTTP.
func (c *Client) open(ctx context.Context, namespace string, query url.Values) (io.ReadCloser, error) {
	r := c.groups[""].Get().Namespace(namespace).Resource("pods").SetHeader("Accept", "application/json")
	for name := range query {
		r = r.Param(name, query.Get(name))
	}
	return r.Stream(apiclient.StreamContext(ctx))
}

// waitSince waits until interval has passed since start. It returns false if
// ctx has ended.
func waitSince(ctx context.Context, start time.Time, interval time.Duration) bool {
	timer := time.NewTimer(time.Until(start.Add(interval)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
