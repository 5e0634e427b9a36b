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

// decodeEvent reads one event of a watch on pods (meta/v1 WatchEvent, as JSON):
// the pod as the event shows it, and whether it has been deleted; no pod for a
// bookmark. An ERROR event gives the *apierrors.StatusError in it: for one that
// apierrors.IsResourceExpired or IsGone (410) knows, the pod has to be got again and
// watched from "0". Anything else that is no event is an error too.
func decodeEvent(message []byte) (pod *corev1.Pod, deleted bool, err error) {
	var event struct {
		Type   apiwatch.EventType `json:"type"`
		Object json.RawMessage    `json:"object"`
	}
	if err := json.Unmarshal(message, &event); err != nil {
		return nil, false, fmt.Errorf("unreadable event of a watch: %w", err)
	}
	switch event.Type {
	case apiwatch.Added, apiwatch.Modified, apiwatch.Deleted:
		pod := &corev1.Pod{}
		if err := json.Unmarshal(event.Object, pod); err != nil {
			return nil, false, fmt.Errorf("unreadable pod in an event of a watch: %w", err)
		}
		if pod.Name == "" {
			return nil, false, errors.New("an event of a watch holds no pod")
		}
		return pod, event.Type == apiwatch.Deleted, nil
	case apiwatch.Bookmark:
		return nil, false, nil
	case apiwatch.Error:
		status := metav1.Status{}
		if err := json.Unmarshal(event.Object, &status); err != nil {
			return nil, false, fmt.Errorf("unreadable error in an event of a watch: %w", err)
		}
		return nil, false, &apierrors.StatusError{ErrStatus: status}
	}
	return nil, false, fmt.Errorf("unknown event %q of a watch", event.Type)
}

// watcher follows changes of pods by watches, where the server allows them.
type watcher struct {
	client      *Client
	namespace   string
	maxAge      time.Duration // how long one watch is used
	unavailable bool          // watching does not work here
	expired     bool          // the server no longer has the resourceVersion of the pods
}

// matcher is the selector of a watch. It is applied to the events again, for
// servers that ignore selectors.
type matcher struct {
	matches    func(*corev1.Pod) bool
	dropOthers bool // drop events about other pods; else see gets them, for pods that lose their labels
}

// podNamed selects the pod with that name.
func podNamed(name string) matcher {
	return matcher{func(pod *corev1.Pod) bool { return pod.Name == name }, true}
}

// follow passes each event to see, until see returns true or the watch is too
// old to rely on; the caller then requests the pods again. It returns at once
// where watching does not work. match is the selector of query: where the
// server ignores it, Client.Ignored is called, and events about other pods are
// dropped if match.only is set.
func (w *watcher) run(outer context.Context, query url.Values, match matcher, see func(pod *corev1.Pod, deleted bool) (enough bool)) {
	if w.unavailable {
		return
	}
	ctx, cancel := context.WithTimeout(outer, w.maxAge)
	defer cancel()
	known := query.Get("resourceVersion")
	if w.expired {
		query.Set("resourceVersion", "0")
	}
	each := func(message []byte) error {
		pod, deleted, err := decodeEvent(message)
		w.expired = w.expired || expired(err)
		other := pod != nil && !match.matches(pod)
		if other && !deleted {
			w.client.selectorIgnored()
		}
		switch {
		case err != nil:
			return err
		case other && match.dropOthers:
		case pod == nil || older(pod.ResourceVersion, known): // nothing new
		case see(pod, deleted):
			return errStop
		}
		return nil
	}
	path := podsPath(w.namespace)
	if w.client.RunWatch != nil && w.client.RunWatch(ctx, path, query, each) {
		return
	}
	events, err := w.client.open(ctx, w.namespace, query)
	if err != nil {
		silent := ctx.Err() != nil && outer.Err() == nil // a proxy that waits for the end of the answer
		w.expired = w.expired || expired(err)
		w.unavailable = silent || !apiclient.IsTransient(err) && !expired(err)
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

// errEnough ends a watch after see has returned true.
var errStop = errors.New("enough was seen")

// older reports whether a version is older than another. It is false if one of
// them is not a number.
func older(version, than string) bool {
	a, err := strconv.ParseUint(version, 10, 64)
	b, other := strconv.ParseUint(than, 10, 64)
	return err == nil && other == nil && a < b
}

func (c *Client) open(ctx context.Context, namespace string, query url.Values) (io.ReadCloser, error) {
	r := c.groups[""].Get().Namespace(namespace).Resource("pods").SetHeader("Accept", "application/json")
	for name := range query {
		r = r.Param(name, query.Get(name))
	}
	return r.Stream(apiclient.StreamContext(ctx))
}

// pace waits until every has passed since looked, and reports whether ctx has
// not ended.
func waitSince(ctx context.Context, looked time.Time, every time.Duration) bool {
	timer := time.NewTimer(time.Until(looked.Add(every)))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
