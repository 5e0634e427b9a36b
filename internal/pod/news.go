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
	asked   time.Time
	refused bool
	about   string // the message that the event explains
	reason  string // of the event
	text    string // of the event
}

// look requests the events if they may explain why the container does not run.
func (n *eventReader) look(ctx context.Context, c *Client, v *view) {
	var stopped *NotRunningError
	if _, err := v.settle(); n.refused || time.Since(n.asked) < awaitFresh || !errors.As(err, &stopped) || !stopped.unexplained {
		return
	}
	n.asked = time.Now()
	i := slices.IndexFunc(v.pods, func(pod corev1.Pod) bool { return pod.Name == stopped.Pod })
	event, err := c.warning(ctx, &v.pods[i])
	switch {
	case err != nil:
		n.refused = !apiclient.IsTransient(err)
	case event == nil:
	case n.about == stopped.text && n.reason == event.Reason && steady(n.text) == steady(event.Message):
	default:
		n.about, n.reason, n.text = stopped.text, event.Reason, event.Message
	}
}

// add returns err with the event that explains it, if there is one.
func (n *eventReader) add(err error) error {
	var stopped *NotRunningError
	if n.text == "" || !errors.As(err, &stopped) || stopped.text != n.about {
		return err
	}
	more := *stopped
	more.Message = n.text
	more.text += "; " + n.reason + because("", n.text)
	return &more
}

// identifiers match the parts that differ in each of a series of equal
// failures.
var identifiers = regexp.MustCompile(`[0-9a-f]{8,}|\d+`)

func steady(text string) string { return identifiers.ReplaceAllString(text, "#") }

// warning returns the last event of type Warning about a pod, or nil.
func (c *Client) warning(ctx context.Context, pod *corev1.Pod) (*corev1.Event, error) {
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
			case last == nil || cmp.Or(seen(e).Compare(seen(last)), strings.Compare(e.Name, last.Name)) > 0:
				last = e
			}
			return false
		},
	}.List(ctx)
	if ignored {
		c.ignored()
	}
	return last, err
}

// seen is when an event was last so, in either of the API's two forms.
func seen(e *corev1.Event) time.Time {
	at := e.LastTimestamp.Time
	for _, other := range []time.Time{e.EventTime.Time, e.CreationTimestamp.Time} {
		if other.After(at) {
			at = other
		}
	}
	return at
}
