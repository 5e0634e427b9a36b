package stream

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"kshell/internal/apiclient"
	"kshell/internal/group"
)

// ChangeType is the type of a Change.
type ChangeType string

// The types of changes. Added, Modified and Deleted are about one object. Their
// type depends on what was delivered before, not on the type of the server's
// event: an object is Added only if it is new, was Deleted, or was forgotten (see
// Objects.Limit).
const (
	Added    ChangeType = "ADDED"
	Modified ChangeType = "MODIFIED"
	Deleted  ChangeType = "DELETED"
	// Synced means that all objects of the list were delivered, or that a watch
	// was opened after a Stale. In the second case, the changes since the Stale
	// follow.
	Synced ChangeType = "SYNCED"
	// Stale means that the watch has failed, so changes may be missing. A Synced
	// follows when the server answers again.
	Stale ChangeType = "STALE"
)

// Change is what Objects delivers.
type Change[T any] struct {
	Type ChangeType
	// Object is the new state of the object, or, for Deleted, its last known
	// state. It is nil for Synced and Stale. It must not be changed.
	Object *T
	Err    error // the reason for Stale; nil for other types
}

// Objects delivers the objects of a list, and then each change of the list,
// until the context ends. It reads the list and watches it. If a watch ends,
// Objects opens another one, and reads the list again only if the server no
// longer has the changes since then. T is decoded from the JSON of an object.
//
// The exported fields must not be changed after the first call of a method. Run
// may be called once. OnChange is called only by the goroutine that has called
// Run. TryNow may be called from any goroutine.
//
// The rules of lists and watches are those of
// https://kubernetes.io/docs/reference/using-api/api-concepts/.
type Objects[T any] struct {
	// Transport makes the requests. The watch is a WebSocket, or a plain HTTP
	// request if WebSockets do not work.
	Transport *Transport
	// Path is the escaped path of the list. It is appended to the server's
	// address.
	Path string
	// Query contains the labelSelector and the fieldSelector, or neither. It may
	// be nil.
	Query url.Values
	// Name selects the objects with this name; empty means all objects. There
	// may be none, or, if Path is the list of all namespaces, several.
	Name string
	// Limit is the maximum number of objects that are kept: the newest, by
	// Meta.When; 0 means no limit. An object that becomes too old is forgotten:
	// no Deleted is delivered, and its changes are not delivered while newer
	// objects reach the limit.
	Limit int
	// Meta returns the metadata of an object.
	Meta func(*T) Meta
	// OnChange is called for each change. If it returns an error, Run returns
	// that error.
	OnChange func(Change[T]) error
	// Observe, if not nil, is called for each Event. It may be called from any
	// goroutine, but not from two at the same time.
	Observe func(Event)
	// Link configures the connections. ReconnectDefault means ReconnectAlways.
	// If Backoff is zero, the delays grow from 0.5 s to 15 s. ConnectTimeout
	// applies until the first list is complete, and GiveUpAfter after that.
	Link LinkSettings
	// Keepalive is the interval after which a WebSocket is checked, as described
	// at Settings.Keepalive. A watch by plain HTTP is not checked: the server
	// ends it after 30 s, and it counts as lost after 45 s.
	Keepalive time.Duration

	once sync.Once
	l    *link

	// Used by the goroutine of Run.
	view           view[T]
	listed         bool      // if false, the list must be read before the next watch
	version        string    // the resourceVersion after which the next watch begins
	synced         bool      // a Synced was delivered, and no Stale since then
	expiredAt      time.Time // when the server last reported that version is too old
	failures       int       // the number of consecutive EventErrors
	webSocketWorks bool      // a WebSocket was opened
	plainHTTP      bool      // a WebSocket has failed, and a watch by plain HTTP was opened
}

const (
	// minLife is how long a watch must have been open so that its normal end is
	// not a failure.
	minLife = time.Second
	// relistInterval is the minimum time between two expired versions (410). If
	// it is shorter, the second one is a failure.
	relistInterval = 10 * time.Second
	// maxFailures is the number of consecutive EventErrors after which the list
	// is read again.
	maxFailures = 3
)

// objectsBackoff contains the delays between attempts if Objects.Link has none.
var objectsBackoff = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Steps: 7, Cap: 15 * time.Second}

// Run delivers changes until OnChange returns an error, the context ends, a
// failure is permanent, or Link allows no other attempt. After the context has
// ended, nothing is delivered and no request is made. Run returns:
//
//   - *HandshakeError: the server refused the list or the watch
//   - *DialError, *LostError, *ProtocolError, *EventError: the last failure, if
//     Link allows no other attempt
//   - *apiclient.NotListError: the server's answer is not a list
//   - *apiclient.TooLargeError: the list, or one of its pages, is too large
//   - the context's cause
//   - the error of OnChange
func (o *Objects[T]) Run(ctx context.Context) error {
	o.view.limit = o.Limit
	err := o.link().run(ctx, o.dial, o.use)
	var stop *stopError
	if errors.As(err, &stop) {
		return stop.err
	}
	return err
}

// TryNow ends the wait before the next attempt. If there is no wait, it does
// nothing.
func (o *Objects[T]) TryNow() { o.link().tryNow() }

func (o *Objects[T]) link() *link {
	o.once.Do(func() {
		s := o.Link
		if s.Reconnect == ReconnectDefault {
			s.Reconnect = ReconnectAlways
		}
		if s.Backoff.Duration == 0 {
			s.Backoff = objectsBackoff
		}
		o.l = newLink(objectsDriver[T]{o}, o.Observe, s)
		o.l.temporary = func(err error) bool { return !permanent(err) }
		o.l.retryAfter = retryAfter
	})
	return o.l
}

// objectsDriver is the Driver of Objects.
type objectsDriver[T any] struct{ *Objects[T] }

// Dial implements Driver.
func (d objectsDriver[T]) Dial(ctx context.Context) (*Conn, error) { return d.dial(ctx) }

// Opened implements Driver.
func (d objectsDriver[T]) Opened(ctx context.Context, _ *Conn) error { return d.sync(ctx) }

// Ended implements Driver.
func (objectsDriver[T]) Ended(_ context.Context, err error) error { return err }

// dial reads the list, if that is needed, and opens the next watch.
func (o *Objects[T]) dial(ctx context.Context) (*Conn, error) {
	if !o.listed {
		if err := o.list(ctx); err != nil {
			return nil, o.reportFailure(ctx, err)
		}
	}
	conn, err := o.openWatch(ctx)
	if apiclient.IsExpired(err) {
		err = o.expired(err)
	}
	if err != nil {
		return nil, o.reportFailure(ctx, err)
	}
	return conn, nil
}

// use delivers the changes that arrive on one connection.
func (o *Objects[T]) use(ctx context.Context, conn *Conn) error {
	if err := o.l.opened(ctx, conn); err != nil {
		return err
	}
	err := o.receive(ctx, conn)
	conn.endedAt = time.Now()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case isNormalEnd(err) && conn.lived() >= minLife:
		return errResume
	case isUnreadable(err):
		err = o.eventFailed(&EventError{Err: reasonOf(err)})
	}
	return o.reportFailure(ctx, err)
}

// receive passes the events of conn to onEvent, and detects a dead connection.
func (o *Objects[T]) receive(ctx context.Context, conn *Conn) error {
	watching, cancel := context.WithCancel(ctx)
	requests := group.New(conn.close)
	defer requests.Wait()
	defer conn.close()
	defer cancel()
	defer context.AfterFunc(ctx, conn.close)()
	switch _, plainHTTP := conn.ws.(*httpSocket); {
	case plainHTTP:
		defer time.AfterFunc(httpWatchAge+httpWatchMargin, func() { conn.Drop(errDead) }).Stop()
	case o.Keepalive > 0:
		requests.Go(func() {
			newLiveness(o.Keepalive, time.Now()).run(watching, conn, requests, func(e Overdue) { o.l.notify(e) })
		})
	}
	return conn.messages(ctx, func(message []byte) error { return o.onEvent(ctx, conn, message) })
}

// sync delivers Synced, unless it was delivered and no Stale since then.
func (o *Objects[T]) sync(ctx context.Context) error {
	if o.synced {
		return nil
	}
	o.synced = true
	return o.deliver(ctx, Change[T]{Type: Synced})
}

// reportFailure delivers Stale if err is a failure that is not permanent, unless
// Stale was delivered and no Synced since then. It returns err, or the error of
// deliver.
func (o *Objects[T]) reportFailure(ctx context.Context, err error) error {
	if !o.synced || !IsFailure(err) || permanent(err) || ctx.Err() != nil {
		return err
	}
	o.synced = false
	if stop := o.deliver(ctx, Change[T]{Type: Stale, Err: err}); stop != nil {
		return stop
	}
	return err
}

// deliver calls OnChange, unless ctx has ended. An error of OnChange becomes a
// *stopError.
func (o *Objects[T]) deliver(ctx context.Context, c Change[T]) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := o.OnChange(c); err != nil {
		return &stopError{err}
	}
	return nil
}

// stopError contains an error of OnChange. It has no method Unwrap, so that
// link.run never takes the error for a failure of the link, even if it wraps such
// a failure. Objects.Run returns err itself.
type stopError struct{ err error }

func (e *stopError) Error() string { return e.err.Error() }

// expired handles an error which means that the server no longer has the changes
// after version. It makes dial read the list again. It returns errResume, or, if
// it was last called less than relistInterval ago, an error that is a failure,
// so that the next attempt is delayed.
func (o *Objects[T]) expired(err error) error {
	again := !o.expiredAt.IsZero() && time.Since(o.expiredAt) < relistInterval
	o.listed, o.expiredAt = false, time.Now()
	if !again {
		return errResume
	}
	var refused *HandshakeError
	if errors.As(err, &refused) { // a HandshakeError with the code 410 would be permanent
		return &EventError{Err: refused}
	}
	return err
}

// eventFailed counts an EventError, and returns it. After maxFailures, it makes
// dial read the list again.
func (o *Objects[T]) eventFailed(err *EventError) error {
	if o.failures++; o.failures >= maxFailures {
		o.failures, o.listed = 0, false
	}
	return err
}
