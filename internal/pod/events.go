package pod

import (
	"cmp"
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/client-go/rest"

	"kshell/internal/apiclient"
)

// eventReader explains why a container does not run if the pod's status
// contains no message, for example while a volume cannot be mounted or a
// sandbox cannot be created. It adds the last warning among the pod's events to
// the reason. It adds nothing if the user is not allowed to list events. It is
// not safe for concurrent use.
type eventReader struct {
	requested   time.Time // when the events were last requested
	unavailable bool      // the user is not allowed to list events

	explains string // the text of the *NotRunningError that the stored event explains
	reason   string // the reason of the stored event
	message  string // the message of the stored event; "" if no event is stored
}

// refresh requests the events, at most once per waitWatchAge, if they may
// explain why the container does not run.
func (r *eventReader) refresh(ctx context.Context, c *Client, v *view) {
	var notRunning *NotRunningError
	_, err := v.choose()
	if !errors.As(err, &notRunning) || !notRunning.eventsMayExplain {
		return
	}
	if r.unavailable || time.Since(r.requested) < waitWatchAge {
		return
	}
	r.requested = time.Now()
	i := slices.IndexFunc(v.pods, func(pod corev1.Pod) bool { return pod.Name == notRunning.Pod })
	event, err := c.lastWarning(ctx, &v.pods[i])
	switch {
	case err != nil:
		r.unavailable = !apiclient.IsTransient(err)
	case event == nil, r.has(notRunning, event):
	default:
		r.explains, r.reason, r.message = notRunning.text, event.Reason, event.Message
	}
}

// has reports whether the stored event already explains notRunning and is the
// same as event, apart from identifiers in the message.
func (r *eventReader) has(notRunning *NotRunningError, event *corev1.Event) bool {
	return r.explains == notRunning.text && r.reason == event.Reason &&
		withoutIdentifiers(r.message) == withoutIdentifiers(event.Message)
}

// explain returns err with the event that explains it, or err itself.
func (r *eventReader) explain(err error) error {
	var notRunning *NotRunningError
	if r.message == "" || !errors.As(err, &notRunning) || notRunning.text != r.explains {
		return err
	}
	explained := *notRunning
	explained.Message = r.message
	explained.text += "; " + r.reason + reasonSuffix("", r.message)
	return &explained
}

// identifiers matches the parts of a message that differ each time the same
// failure repeats: durations (of Go), UIDs, IDs of containers, and counts.
var identifiers = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(
		`\b(\d+h)?(\d+m)?\d+(\.\d+)?m?s\b|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{8,}|\d+`)
})

func withoutIdentifiers(text string) string { return identifiers().ReplaceAllString(text, "#") }

// explainByEvents requests the events if err is a *NotRunningError, and returns
// err extended by the event that explains it. Without such an event, it returns
// err itself.
func (c *Client) explainByEvents(ctx context.Context, v *view, err error) error {
	var notRunning *NotRunningError
	if !errors.As(err, &notRunning) {
		return err
	}
	r := eventReader{}
	r.refresh(ctx, c, v)
	return r.explain(err)
}

// lastWarning returns the last event of type Warning about a pod, or nil.
func (c *Client) lastWarning(ctx context.Context, pod *corev1.Pod) (*corev1.Event, error) {
	var last *corev1.Event
	ignored := false
	selector := fields.Set{"involvedObject.uid": string(pod.UID), "type": corev1.EventTypeWarning}.AsSelector().String()
	_, _, err := apiclient.Lister[corev1.Event]{
		Noun: "events",
		Request: func() *rest.Request {
			return c.groups[""].Get().Namespace(pod.Namespace).Resource("events").Param("fieldSelector", selector)
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

// lastSeen returns the time of an event's last occurrence. Which field contains
// this time depends on the version of the events API that recorded the event.
func lastSeen(e *corev1.Event) time.Time {
	last := e.LastTimestamp.Time
	for _, other := range []time.Time{e.EventTime.Time, e.CreationTimestamp.Time} {
		if other.After(last) {
			last = other
		}
	}
	return last
}
