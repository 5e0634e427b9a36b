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

// The types of changes. Added, Modified and Deleted are about one object. They
// result from comparing what the server sends with what was delivered before,
// so an object that is already known is never Added.
const (
	Added    ChangeType = "ADDED"
	Modified ChangeType = "MODIFIED"
	Deleted  ChangeType = "DELETED"
	// Synced means that what was delivered so far is what the server has: the
	// list is complete, or the watch goes on after a Stale.
	Synced ChangeType = "SYNCED"
	// Stale means that changes may be missing, because the server cannot be
	// reached, or has failed. A Synced follows when it answers again.
	Stale ChangeType = "STALE"
)

// Change is what Objects delivers.
type Change[T any] struct {
	Type ChangeType
	// Object is the new state, or the last state of an object that was Deleted.
	// It is nil for Synced and Stale. It must not be changed.
	Object *T
	Err    error // the reason for Stale
}

// Objects delivers the objects of a list, and then each change of them, until
// its context ends: it lists them, watches them, and does both again when that
// is needed. T is decoded from the JSON of an object. The exported fields must
// not be changed after the first call of a method.
//
// Run may be called once. OnChange is called by the goroutine of Run, one
// change at a time. TryNow may be called from any goroutine.
//
// The rules of lists and watches are those of
// https://kubernetes.io/docs/reference/using-api/api-concepts/.
type Objects[T any] struct {
	// Transport makes the requests. If WebSockets do not work, the changes
	// arrive by HTTP.
	Transport *Transport
	// Path is the path of the list, below the server's address, escaped.
	Path string
	// Query selects objects: labelSelector and fieldSelector. It may be nil.
	Query url.Values
	// Name selects the object of this name; empty means all objects. If there
	// is no such object, it is waited for. If Path is the list of all
	// namespaces, there may be several.
	Name string
	// Limit keeps the newest objects, as many as that, by Meta.When; 0 means
	// all. An older one is forgotten, and its changes are not delivered.
	Limit int
	// Meta describes an object.
	Meta func(*T) Meta
	// OnChange is called for each change. Its error ends Run.
	OnChange func(Change[T]) error
	// Observe, if not nil, is called with each event: from any goroutine, but
	// not from two at the same time.
	Observe func(Event)
	// Link configures the connections. ReconnectDefault means ReconnectAlways.
	// If Backoff is zero, the delays grow from 0.5 s to 15 s. ConnectTimeout
	// applies before the first list is complete, GiveUpAfter afterwards.
	Link LinkSettings
	// Keepalive detects dead connections, as described at Settings.Keepalive.
	Keepalive time.Duration

	once sync.Once
	l    *link

	// Used by the goroutine of Run.
	view           view[T]
	listed         bool      // view is a whole list; if false, the objects must be listed
	version        string    // the resourceVersion after which the next watch begins
	synced         bool      // the last of Synced and Stale that was delivered was Synced
	expiredAt      time.Time // when the server last reported that version is too old
	failures       int       // consecutive EventErrors
	webSocketWorks bool      // a WebSocket was opened
	plainHTTP      bool      // WebSockets do not work, and HTTP does
}

const (
	// minLife is the shortest life of a connection whose normal end is not a
	// failure.
	minLife = time.Second
	// relistInterval is the time after an expired version in which another one
	// counts as a failure.
	relistInterval = 10 * time.Second
	// maxFailures is the number of consecutive EventErrors after which the
	// objects are listed again.
	maxFailures = 3
)

// objectsBackoff are the delays between attempts if Objects.Link has none.
var objectsBackoff = wait.Backoff{Duration: 500 * time.Millisecond, Factor: 2, Steps: 7, Cap: 15 * time.Second}

// Run delivers changes until OnChange returns an error, the context ends, or
// the server refuses for good. Nothing is delivered after the context has
// ended. Its errors are:
//
//   - *HandshakeError: the server refused the list or the watch
//   - *DialError, *LostError, *EventError: the last failure, if Link allows no
//     other attempt
//   - *apiclient.NotListError: the server's answer is not a list
//   - *apiclient.TooLargeError: there are too many objects
//   - the context's cause
//   - the error of OnChange
func (o *Objects[T]) Run(ctx context.Context) error {
	o.view.limit = o.Limit
	return o.link().run(ctx, o.dial, o.use)
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

// dial lists the objects, if that is needed, and opens the next watch.
func (o *Objects[T]) dial(ctx context.Context) (*Conn, error) {
	if !o.listed {
		if err := o.list(ctx); err != nil {
			return nil, o.failed(ctx, err)
		}
	}
	conn, err := o.openWatch(ctx)
	if apiclient.IsExpired(err) {
		err = o.expired(err)
	}
	if err != nil {
		return nil, o.failed(ctx, err)
	}
	return conn, nil
}

// use delivers the events of one connection.
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
	return o.failed(ctx, err)
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

// sync delivers Synced, if the last one was followed by a Stale.
func (o *Objects[T]) sync(ctx context.Context) error {
	if o.synced {
		return nil
	}
	o.synced = true
	return o.deliver(ctx, Change[T]{Type: Synced})
}

// failed delivers Stale if err is a failure that is followed by another
// attempt. It returns err, or the error of OnChange.
func (o *Objects[T]) failed(ctx context.Context, err error) error {
	if !o.synced || !failed(err) || permanent(err) || ctx.Err() != nil {
		return err
	}
	o.synced = false
	if stop := o.deliver(ctx, Change[T]{Type: Stale, Err: err}); stop != nil {
		return stop
	}
	return err
}

// deliver calls OnChange, unless ctx has ended.
func (o *Objects[T]) deliver(ctx context.Context, c Change[T]) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return o.OnChange(c)
}

// expired is called with an error that means that the server no longer has the
// changes after version. It returns the outcome of the connection: the objects
// are listed again, at once unless that has happened less than relistInterval
// ago.
func (o *Objects[T]) expired(err error) error {
	again := !o.expiredAt.IsZero() && time.Since(o.expiredAt) < relistInterval
	o.listed, o.expiredAt = false, time.Now()
	if !again {
		return errResume
	}
	var refused *HandshakeError
	if errors.As(err, &refused) { // which would be permanent
		return &EventError{Err: refused}
	}
	return err
}

// eventFailed counts an EventError, and returns it.
func (o *Objects[T]) eventFailed(err *EventError) error {
	if o.failures++; o.failures >= maxFailures {
		o.failures, o.listed = 0, false
	}
	return err
}
