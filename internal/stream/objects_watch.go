package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/coder/websocket"
	"k8s.io/apimachinery/pkg/watch"

	"kshell/internal/apiclient"
)

const (
	// httpWatchAge is the timeoutSeconds of a watch by plain HTTP: the server
	// ends the answer after that time. A proxy may hold an answer back until it
	// is complete. The events then arrive with this delay, because httpWatchAge
	// is shorter than the time limit of a request.
	httpWatchAge = 30 * time.Second
	// httpWatchMargin is the time after httpWatchAge in which the answer must
	// end. After that, the connection counts as lost.
	httpWatchMargin = 15 * time.Second
)

// openWatch opens a watch that begins after o.version. It opens a WebSocket, or
// makes a plain HTTP request if WebSockets do not work.
func (o *Objects[T]) openWatch(ctx context.Context) (*Conn, error) {
	if ctx.Err() != nil { // the request would run an exec plugin before it fails
		return nil, context.Cause(ctx)
	}
	o.l.beginAttempt()
	query := o.query()
	query.Set("watch", "true")
	query.Set("allowWatchBookmarks", "true")
	if o.version != "" {
		query.Set("resourceVersion", o.version)
	}
	var webSocketErr error
	if !o.plainHTTP && !o.Transport.UsesSPDY() {
		conn, err := o.Transport.dialWatch(ctx, o.Path, query)
		o.webSocketWorks = o.webSocketWorks || err == nil
		if err == nil || ctx.Err() != nil || o.webSocketWorks || !httpMayWork(err) {
			return conn, err
		}
		o.Transport.logf("falling back to HTTP for the watch: %s", err)
		webSocketErr = err
	}
	query.Set("timeoutSeconds", strconv.Itoa(int(httpWatchAge.Seconds())))
	conn, err := o.Transport.follow(ctx, o.Path, query)
	switch {
	case err == nil:
		o.plainHTTP = true
	case webSocketErr != nil && ctx.Err() == nil && !isFromAPI(err):
		err = webSocketErr
	}
	return conn, err
}

// httpMayWork reports whether to try plain HTTP after a WebSocket for a watch
// failed with err. It returns false if the API server has refused the watch: it
// would refuse it over plain HTTP, too.
func httpMayWork(err error) bool {
	var unreachable *DialError
	var refused *HandshakeError
	return errors.As(err, &unreachable) || errors.As(err, &refused) && refused.class() == RefusalUpgradeStripped ||
		spdyMayWork(err, true) && RefusalOf(err) != RefusalNoRight && !apiclient.IsExpired(err)
}

// isFromAPI reports whether err is a refusal by the API server.
func isFromAPI(err error) bool {
	var refused *HandshakeError
	return errors.As(err, &refused) && refused.Status != nil
}

// onEvent processes one event of a watch, and sets o.version to the
// resourceVersion of the event, so that the next watch begins after the event.
func (o *Objects[T]) onEvent(ctx context.Context, conn *Conn, message []byte) error {
	var e event
	if err := json.Unmarshal(message, &e); err != nil {
		return &unreadableError{err}
	}
	if e.Type == watch.Error {
		failure := newEventError(e.Object)
		if failure.Expired() {
			return o.expired(failure)
		}
		return o.eventFailed(failure)
	}
	version, err := o.onChange(ctx, e)
	if err != nil {
		return err
	}
	if version != "" {
		o.version = version
	}
	o.failures, conn.delivered = 0, true
	return nil
}

// onChange delivers the change that an event causes in the view, if there is
// one. It returns the resourceVersion of the event.
func (o *Objects[T]) onChange(ctx context.Context, e event) (version string, err error) {
	switch e.Type {
	case watch.Added, watch.Modified, watch.Deleted:
	case watch.Bookmark:
		var bookmark struct {
			Metadata struct{ ResourceVersion string }
		}
		if err := json.Unmarshal(e.Object, &bookmark); err != nil {
			return "", &unreadableError{err}
		}
		return bookmark.Metadata.ResourceVersion, nil
	default:
		return "", &unreadableError{fmt.Errorf("its type is %q", e.Type)}
	}
	item, err := o.decode(e.Object)
	if err != nil {
		return "", &unreadableError{err}
	}
	if !o.selects(item.meta) {
		return item.meta.Version, nil
	}
	change, changed, err := o.view.apply(item, e.Type == watch.Deleted)
	if err == nil && changed {
		err = o.deliver(ctx, change)
	}
	return item.meta.Version, err
}

// unreadableError means that an event cannot be decoded.
type unreadableError struct{ err error }

func (e *unreadableError) Error() string { return e.err.Error() }
func (e *unreadableError) Unwrap() error { return e.err }

// isUnreadable reports whether err, the outcome of a connection, means that an
// event is too large or cannot be decoded.
func isUnreadable(err error) bool {
	var unreadable *unreadableError
	var large *apiclient.TooLargeError
	var syntax *json.SyntaxError
	var lost *LostError
	inMessage := errors.Is(err, errMessageSize) || errors.As(err, &large) || errors.As(err, &syntax)
	return errors.As(err, &unreadable) || errors.As(err, &lost) && inMessage
}

// reasonOf returns the Err of a *LostError, or err itself.
func reasonOf(err error) error {
	var lost *LostError
	if errors.As(err, &lost) {
		return lost.Err
	}
	return err
}

// isNormalEnd reports whether err, the outcome of a connection, means that the
// server has ended the watch normally. Servers end each watch after some time.
func isNormalEnd(err error) bool {
	return websocket.CloseStatus(err) == websocket.StatusNormalClosure || errors.Is(err, errStreamEnded)
}
