package pod

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
)

// news is what a pod's events add to a status that gives no message: volumes
// that cannot be mounted, sandboxes that cannot be created. It stays empty for
// users who may not list events.
type eventReader struct {
	requested   time.Time
	unavailable bool
	explains    string // the message that the event explains
	reason      string // of the event
	text        string // of the event
}

// look requests the events if they may explain why the container does not run.
func (n *eventReader) refresh(ctx context.Context, c *Client, v *view) {
	var stopped *NotRunningError
	if _, err := v.choose(); n.unavailable || time.Since(n.requested) < waitWatchAge || !errors.As(err, &stopped) || !stopped.eventsMayExplain {
		return
	}
	n.requested = time.Now()
	i := slices.IndexFunc(v.pods, func(pod corev1.Pod) bool { return pod.Name == stopped.Pod })
	event, err := c.lastWarning(ctx, &v.pods[i])
	switch {
	case err != nil:
		n.unavailable = !apiclient.IsTransient(err)
	case event == nil:
	case n.explains == stopped.text && n.reason == event.Reason && withoutIdentifiers(n.text) == withoutIdentifiers(event.Message):
	default:
		n.explains, n.reason, n.text = stopped.text, event.Reason, event.Message
	}
}

// add returns err with the event that explains it, if there is one.
func (n *eventReader) explain(err error) error {
	var stopped *NotRunningError
	if n.text == "" || !errors.As(err, &stopped) || stopped.text != n.explains {
		return err
	}
	more := *stopped
	more.Message = n.text
	more.text += "; " + n.reason + reasonSuffix("", n.text)
	return &more
}

// identifiers match the parts that differ in each of a series of equal
// failures.
var identifiers = regexp.MustCompile(`[0-9a-f]{8,}|\d+`)

func withoutIdentifiers(text string) string { return identifiers.ReplaceAllString(text, "#") }

// warning returns the last event of type Warning about a pod, or nil.
func (c *Client) lastWarning(ctx context.Context, pod *corev1.Pod) (*corev1.Event, error) {
	var last *corev1.Event
	ignored := false
	about := fields.Set{"involvedObject.uid": string(pod.UID), "type": corev1.EventTypeWarning}
	_, _, err := apiclient.Lister[corev1.Event]{
		Noun: "events",
		Request: func() *rest.Request {
			return c.groups[""].Get().Namespace(pod.Namespace).Resource("events").Param("fieldSelector", about.AsSelector().String())
		},
		Keep: func(e *corev1.Event) bool {
			switch {
			case e.InvolvedObject.UID != pod.UID || e.Type != corev1.EventTypeWarning:
				ignored = true
			case last == nil || cmp.Or(lastSeen(e).Compare(lastSeen(last)), strings.Compare(e.Name, last.Name)) > 0:
				last = e
			}
			return false
		},
	}.List(ctx)
	if ignored {
		c.selectorIgnored()
	}
	return last, err
}

// seen is when an event was last so, in either of the API's two forms.
func lastSeen(e *corev1.Event) time.Time {
	at := e.LastTimestamp.Time
	for _, other := range []time.Time{e.EventTime.Time, e.CreationTimestamp.Time} {
		if other.After(at) {
			at = other
		}
	}
	return at
}
