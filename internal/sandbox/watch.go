package sandbox

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/websocket"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// tooNewWait is how long the server waits before it refuses a watch from a
// version that is newer than the current one.
const tooNewWait = 3 * time.Second

// watcher sends the events of one watch.
type watcher struct {
	store     *store
	resource  metav1.APIResource
	version   string // of the API: apps/v1
	match     func(object) bool
	from      int64 // send changes after this version; 0: send the current objects first
	bookmarks bool
	opened    func()
	send      func([]byte) error
}

func (s *Server) serveWatch(w http.ResponseWriter, r *http.Request, c call, res metav1.APIResource) error {
	match, err := c.matcher()
	if err != nil {
		return err
	}
	wa := watcher{
		store: s.store, resource: res, version: groupVersion(c.group), match: match,
		bookmarks: c.isTrue("allowWatchBookmarks"), opened: sync.OnceFunc(s.records.watch),
	}
	if v := c.query.Get("resourceVersion"); v != "" {
		if wa.from, err = strconv.ParseInt(v, 10, 64); err != nil {
			return apierrors.NewBadRequest("invalid resource version: " + err.Error())
		}
	}
	ctx := r.Context()
	if v := c.query.Get("timeoutSeconds"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil {
			return apierrors.NewBadRequest("invalid timeoutSeconds: " + err.Error())
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(n)*time.Second)
		defer cancel()
	}
	if wsstream.IsWebSocketRequest(r) {
		wa.overWebSocket(ctx, s, w, r, c.fault)
		return nil
	}
	wa.overHTTP(ctx, w, r, c.fault)
	return nil
}

// overHTTP sends each event as a JSON document and a newline, and flushes it.
func (wa watcher) overHTTP(ctx context.Context, w http.ResponseWriter, r *http.Request, f *active) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	_ = rc.Flush()
	wa.send = func(line []byte) error {
		if err := f.beforeLine(r, len(line)); err != nil {
			return err
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
		return rc.Flush()
	}
	wa.run(ctx)
}

// overWebSocket sends each event as a text message. As on a real server, the
// client must send a valid Origin, and can offer at most one subprotocol, of
// any name.
func (wa watcher) overWebSocket(ctx context.Context, s *Server, w http.ResponseWriter, r *http.Request, f *active) {
	hw := newHijacker(s, w, r, f)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	websocket.Handler(func(ws *websocket.Conn) {
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer cancel()
			var ignored []byte
			for websocket.Message.Receive(ws, &ignored) == nil {
			}
			_ = ws.Close() // the first Close may have ended only the direction to the client
		}()
		wa.send = func(line []byte) error { return websocket.Message.Send(ws, string(line)) }
		wa.run(ctx)
		_ = ws.Close()
		hw.conn.finish()
		<-done
	}).ServeHTTP(hw, r)
}

// run sends events until the context ends, endWatches is called, sending fails,
// or the version is refused.
func (wa watcher) run(ctx context.Context) {
	ended := wa.store.watchesEnd()
	version := wa.from
	if version == 0 {
		items, now := wa.store.list(wa.resource.Name, wa.match)
		for _, o := range items {
			if wa.line(watch.Added, o) != nil {
				return
			}
		}
		version = now
	}
	for {
		events, now, changed, err := wa.store.since(version, wa.resource.Name)
		if err != nil {
			wa.refuse(ctx, err)
			return
		}
		wa.opened()
		for _, e := range events {
			if wa.event(e) != nil {
				return
			}
		}
		version = now
		select {
		case <-changed:
		case <-ended:
			return
		case <-ctx.Done():
			return
		}
	}
}

// event sends one change if it matches the request of the client.
func (wa watcher) event(e event) error {
	switch {
	case e.kind == watch.Bookmark && wa.bookmarks:
		return wa.line(watch.Bookmark, metav1.PartialObjectMetadata{
			TypeMeta:   metav1.TypeMeta{Kind: wa.resource.Kind, APIVersion: wa.version},
			ObjectMeta: metav1.ObjectMeta{ResourceVersion: strconv.FormatInt(e.version, 10)},
		})
	case e.kind == watch.Bookmark || !wa.match(e.obj):
		return nil
	}
	return wa.line(e.kind, e.obj)
}

func (wa watcher) refuse(ctx context.Context, err error) {
	if apierrors.IsTimeout(err) {
		select {
		case <-time.After(tooNewWait):
		case <-ctx.Done():
			return
		}
	}
	_ = wa.line(watch.Error, statusOf(err))
}

func (wa watcher) line(kind watch.EventType, o any) error {
	data, err := json.Marshal(struct {
		Type   watch.EventType `json:"type"`
		Object any             `json:"object"`
	}{kind, o})
	if err != nil {
		return err
	}
	return wa.send(append(data, '\n'))
}
