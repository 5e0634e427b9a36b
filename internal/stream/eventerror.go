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

// EventError means that the server has ended a watch with an ERROR event, that
// it has sent an event that cannot be decoded, or that it no longer has the
// resourceVersion after which a watch was to begin.
type EventError struct {
	Status *metav1.Status // the object of an ERROR event, or nil
	Err    error          // a *HandshakeError, or what is wrong with the event, or nil

	final bool
}

// Error returns the server's message, or what is wrong with the event.
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
	if bytes.Contains(message, []byte(watch.Error)) && json.Unmarshal(message, &e) == nil && e.Type == watch.Error {
		return newEventError(e.Object)
	}
	return nil
}

// newEventError returns the error of an ERROR event with this object.
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
