package stream

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// event is one message of a watch (meta/v1 WatchEvent as JSON).
type event struct {
	Type   watch.EventType `json:"type"`
	Object json.RawMessage `json:"object"`
}

// EventError means one of these:
//
//   - The server has ended a watch with an ERROR event.
//   - The server has sent an event that cannot be decoded, or is too large.
//   - The server has refused a watch, because it no longer has the requested
//     resourceVersion.
type EventError struct {
	Status *metav1.Status // the object of an ERROR event, or nil
	// Err is the refusal (a *HandshakeError), or the error of decoding the
	// event. It is nil if Status is set.
	Err error

	final bool
}

// Error returns the server's message, or the error of decoding the event.
func (e *EventError) Error() string {
	var refused *HandshakeError
	switch {
	case errors.As(e.Err, &refused):
		return refused.Error()
	case e.Status == nil:
		return "cannot read an event of the watch: " + e.Err.Error()
	}
	reason := cmp.Or(e.Status.Message, string(e.Status.Reason), "no reason was given")
	return fmt.Sprintf("the server ended the watch (%d): %s", e.Status.Code, reason)
}

// Unwrap returns Err.
func (e *EventError) Unwrap() error { return e.Err }

// Permanent reports whether the same watch would fail again. For Objects, it is
// always false.
func (e *EventError) Permanent() bool { return e.final }

// Expired reports whether the server no longer has the requested
// resourceVersion (410). It is false for nil.
func (e *EventError) Expired() bool {
	if e == nil || e.Status == nil {
		return false
	}
	reason := e.Status.Reason
	return e.Status.Code == http.StatusGone || reason == metav1.StatusReasonExpired || reason == metav1.StatusReasonGone
}

// eventError returns the error of an ERROR event, or nil if message is not one.
func eventError(message []byte) *EventError {
	var e event
	if !bytes.Contains(message, []byte(watch.Error)) {
		return nil
	}
	_ = json.Unmarshal(message, &e) // after an error, e has no type
	if e.Type != watch.Error {
		return nil
	}
	return newEventError(e.Object)
}

// newEventError returns the error of an ERROR event. object is the event's
// object, in JSON.
func newEventError(object []byte) *EventError {
	status := new(metav1.Status)
	if err := json.Unmarshal(object, status); err != nil {
		return &EventError{Err: fmt.Errorf("an ERROR event without a Status: %w", err)}
	}
	return &EventError{Status: status}
}

// maxRetryAfter limits the delay that a server can ask for.
const maxRetryAfter = time.Minute

// retryAfter returns the delay that the server has asked for in the Status of
// an ERROR event or of a refusal, at most maxRetryAfter.
func retryAfter(err error) time.Duration {
	var event *EventError
	var refused *HandshakeError
	var status *metav1.Status
	switch {
	case errors.As(err, &event):
		status = event.Status
	case errors.As(err, &refused):
		status = refused.Status
	}
	if status == nil || status.Details == nil {
		return 0
	}
	return min(time.Duration(max(status.Details.RetryAfterSeconds, 0))*time.Second, maxRetryAfter)
}
