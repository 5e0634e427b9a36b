package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"
)

// handlers answer the requests to a server: the first handler answers the first
// request, and so on. The last handler answers all further requests.
type handlers []http.HandlerFunc

// objectsTest runs Objects against a server in memory. It records the requests,
// changes and events, each with the time in seconds since the start.
type objectsTest struct {
	t              *testing.T
	start          time.Time
	o              *Objects[Object]
	lists, watches handlers

	mu  sync.Mutex
	log []string
}

func newObjectsTest(t *testing.T, lists, watches handlers, configure ...func(*rest.Config)) *objectsTest {
	x := &objectsTest{t: t, start: time.Now(), lists: lists, watches: watches}
	cfg := serveConfig(t, x.serve)
	for _, change := range configure {
		change(cfg)
	}
	transport, err := NewTransport(cfg, false, t.Logf)
	if err != nil {
		t.Fatal(err)
	}
	x.o = &Objects[Object]{
		Transport: transport, Path: "/api/v1/pods", Meta: ObjectMeta,
		OnChange: func(c Change[Object]) error {
			x.record("%s%s", c.Type, describe(c))
			return nil
		},
		Observe: func(e Event) {
			switch e := e.(type) {
			case Waiting:
				x.record("waiting %v", e.Delay)
			case Failed:
				x.record("failed: %v", e.Err)
			}
		},
	}
	return x
}

// describe returns the name and the version of the object of a change, or "" if
// the change has no object.
func describe(c Change[Object]) string {
	if c.Object == nil {
		return ""
	}
	return " " + c.Object.Meta.Name + "@" + c.Object.Meta.Version
}

func (x *objectsTest) record(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	at := time.Since(x.start).Seconds()
	x.log = append(x.log, fmt.Sprintf("%g ", at)+fmt.Sprintf(format, args...))
}

func (x *objectsTest) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/version" { // a probe
		return
	}
	query, answers := r.URL.Query(), &x.lists
	if query.Get("watch") != "" {
		answers = &x.watches
		if query.Get("allowWatchBookmarks") != "true" {
			x.t.Error("the watch asks for no bookmarks")
		}
		x.record("GET watch %s", query.Get("resourceVersion"))
	} else {
		x.record("GET list%s", strings.TrimRight(" "+query.Get("continue"), " "))
	}
	x.mu.Lock()
	answer := (*answers)[0]
	if len(*answers) > 1 {
		*answers = (*answers)[1:]
	}
	x.mu.Unlock()
	answer(w, r)
}

// run calls Objects.Run and cancels it after the given time. It returns nil if
// Run had not returned before.
func (x *objectsTest) run(within time.Duration) error {
	x.t.Helper()
	stopped := errors.New("the test has ended")
	ctx, cancel := context.WithTimeoutCause(x.t.Context(), within, stopped)
	defer cancel()
	err := x.o.Run(ctx)
	switch {
	case errors.Is(err, stopped):
		return nil
	case err == nil:
		return errors.New("Run has returned nil")
	}
	return err
}

// lines returns the lines of the record that contain one of the words, or all
// lines if there are no words.
func (x *objectsTest) lines(words ...string) []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(x.log), func(line string) bool {
		return len(words) > 0 && !slices.ContainsFunc(words, func(word string) bool { return strings.Contains(line, word) })
	})
}

// want compares the record with the expected lines.
func (x *objectsTest) want(lines ...string) {
	x.t.Helper()
	wantLines(x.t, x.lines(), lines...)
}

func wantLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the record differs (-want +got):\n%s", diff)
	}
}

// podJSON returns the JSON of an object whose uid is its name.
func podJSON(name, version string) string {
	return fmt.Sprintf(`{"metadata":{"uid":"%s","name":"%s","resourceVersion":"%s"}}`, name, name, version)
}

// listOf answers with a list.
func listOf(version string, items ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		const format = `{"kind":"PodList","metadata":{"resourceVersion":"%s"},"items":[%s]}`
		fmt.Fprintf(w, format, version, strings.Join(items, ","))
	}
}

// refuseWith answers with a Status.
func refuseWith(code int, reason, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		fmt.Fprint(w, statusJSON(code, reason, message))
	}
}

func statusJSON(code int, reason, message string) string {
	return fmt.Sprintf(`{"kind":"Status","code":%d,"reason":"%s","message":"%s"}`, code, reason, message)
}

// watchBy accepts a WebSocket, calls behave, and then closes the connection
// without a close frame.
func watchBy(behave func(ws *websocket.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer ws.CloseNow()
		behave(ws)
	}
}

// sendEvents sends events. It ignores errors: the client may have closed the
// connection.
func sendEvents(ws *websocket.Conn, events ...string) {
	for _, e := range events {
		_ = ws.Write(context.Background(), websocket.MessageText, []byte(e+"\n"))
	}
}

func eventJSON(kind, object string) string {
	return fmt.Sprintf(`{"type":"%s","object":%s}`, kind, object)
}

// watchEvents sends events, and closes the WebSocket normally after the given
// time.
func watchEvents(then time.Duration, events ...string) http.HandlerFunc {
	return watchBy(func(ws *websocket.Conn) {
		sendEvents(ws, events...)
		closed := ws.CloseRead(context.Background())
		select {
		case <-closed.Done():
		case <-time.After(then):
			_ = ws.Close(websocket.StatusNormalClosure, "")
		}
	})
}

// stayOpenWatch keeps a watch open until the client closes it.
var stayOpenWatch = watchBy(func(ws *websocket.Conn) { <-ws.CloseRead(context.Background()).Done() })

// The first watch begins at the version of the list, and the next one at the
// version of the last event or bookmark. A normal end of a watch is not a
// failure.
func TestObjects_ResumesAfterNormalEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newObjectsTest(t, handlers{listOf("10", podJSON("a", "7"), podJSON("b", "9"))}, handlers{
			watchEvents(2*time.Second, eventJSON("MODIFIED", podJSON("a", "11")), eventJSON("BOOKMARK", podJSON("", "15"))),
			watchEvents(3*time.Second, eventJSON("DELETED", podJSON("b", "21"))),
			stayOpenWatch,
		})
		if err := x.run(10 * time.Second); err != nil {
			t.Error(err)
		}
		x.want("0 GET list", "0 ADDED a@7", "0 ADDED b@9", "0 SYNCED", "0 GET watch 10", "0 MODIFIED a@11",
			"2 GET watch 15", "2 DELETED b@21", "5 GET watch 21")
	})
}

// A normal end in the first second of a watch is a failure. Otherwise, there
// would be no delay between the requests to a server that ends each watch at
// once.
func TestObjects_EndsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newObjectsTest(t, handlers{listOf("10")}, handlers{watchEvents(minLife - time.Millisecond), stayOpenWatch})
		if err := x.run(10 * time.Second); err != nil {
			t.Error(err)
		}
		x.want("0 GET list", "0 SYNCED", "0 GET watch 10", "0.999 STALE",
			"0.999 failed: connection lost: closed by the server (1000)", "0.999 waiting 500ms",
			"1.499 GET watch 10", "1.499 SYNCED")
	})
}

// After a lost connection, the watch continues at the same version. The delays
// between attempts grow. TryNow ends a delay.
func TestObjects_LostLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cut := watchBy(func(*websocket.Conn) {})
		down := refuseWith(http.StatusServiceUnavailable, "ServiceUnavailable", "down")
		watches := handlers{cut, down, down, down, down, down, down, down, stayOpenWatch}
		x := newObjectsTest(t, handlers{listOf("10")}, watches)
		observe := x.o.Observe
		waits := 0
		x.o.Observe = func(e Event) {
			observe(e)
			if _, ok := e.(Waiting); ok {
				if waits++; waits == 8 {
					time.AfterFunc(time.Second, x.o.TryNow)
				}
			}
		}
		if err := x.run(time.Minute); err != nil {
			t.Error(err)
		}
		wantLines(t, x.lines("waiting"), "0 waiting 500ms", "0.5 waiting 1s", "1.5 waiting 2s", "3.5 waiting 4s",
			"7.5 waiting 8s", "15.5 waiting 15s", "30.5 waiting 15s", "45.5 waiting 15s")
		wantLines(t, x.lines("list", "SYNCED", "STALE"), "0 GET list", "0 SYNCED", "0 STALE", "46.5 SYNCED")
	})
}

// refuseAsGone answers with the status 410: the requested version is too old.
func refuseAsGone(w http.ResponseWriter, _ *http.Request) {
	w.WriteHeader(http.StatusGone)
	fmt.Fprint(w, tooOld)
}

const tooOld = `{"kind":"Status","status":"Failure","code":410,"reason":"Expired","message":"too old resource version"}`

// If the version is too old, the list is read at once, and the differences are
// delivered. If that happens again within 10 s, there is a delay.
func TestObjects_VersionTooOld(t *testing.T) {
	sendStatus := func(status string) http.HandlerFunc {
		return watchEvents(time.Second, eventJSON("ERROR", status))
	}
	for name, refuse := range map[string]http.HandlerFunc{
		"ERROR event":  sendStatus(tooOld),
		"reason only":  sendStatus(`{"kind":"Status","reason":"Gone"}`),
		"other reason": sendStatus(`{"kind":"Status","reason":"Expired"}`),
		"HTTP":         refuseAsGone,
		"HTTP, no API": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newObjectsTest(t,
					handlers{
						listOf("10", podJSON("a", "1"), podJSON("b", "2"), podJSON("c", "3")),
						listOf("50", podJSON("b", "2"), podJSON("c", "40"), podJSON("d", "45")),
						listOf("60", podJSON("b", "2"), podJSON("c", "40"), podJSON("d", "45")),
					},
					handlers{refuse, refuse, stayOpenWatch})
				if err := x.run(10 * time.Second); err != nil {
					t.Error(err)
				}
				wantLines(t, x.lines("GET", "@", "SYNCED", "STALE", "waiting"),
					"0 GET list", "0 ADDED a@1", "0 ADDED b@2", "0 ADDED c@3", "0 SYNCED", "0 GET watch 10",
					"0 GET list", "0 DELETED a@1", "0 MODIFIED c@40", "0 ADDED d@45", "0 GET watch 50",
					"0 STALE", "0 waiting 500ms", "0.5 GET list", "0.5 SYNCED", "0.5 GET watch 60")
			})
		})
	}
}

// If 10 s have passed since the last version that was too old, another one is
// not a failure.
func TestObjects_VersionTooOldLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expires := watchBy(func(ws *websocket.Conn) {
			time.Sleep(relistInterval)
			sendEvents(ws, eventJSON("ERROR", tooOld))
		})
		x := newObjectsTest(t, handlers{listOf("10"), listOf("20"), listOf("30")}, handlers{expires, expires, stayOpenWatch})
		if err := x.run(time.Minute); err != nil {
			t.Error(err)
		}
		x.want("0 GET list", "0 SYNCED", "0 GET watch 10", "10 GET list", "10 GET watch 20", "20 GET list", "20 GET watch 30")
	})
}

// Other ERROR events, and events that cannot be decoded or are too large, are
// failures. After three in a row, the list is read again.
func TestObjects_EventErrors(t *testing.T) {
	const unreadable = "cannot read an event of the watch: "
	tooNew := `{"kind":"Status","code":504,"reason":"Timeout","message":"Too large resource version"}`
	for name, c := range map[string]struct{ event, message string }{
		"ERROR":       {eventJSON("ERROR", tooNew), "the server ended the watch (504): Too large resource version"},
		"no JSON":     {"<html>", unreadable + "invalid character '<' looking for beginning of value"},
		"no object":   {`{"type":"ADDED"}`, unreadable + "unexpected end of JSON input"},
		"other type":  {eventJSON("OTHER", "{}"), unreadable + `its type is "OTHER"`},
		"too large":   {strings.Repeat("x", maxMessage+1), unreadable + "the server's message is larger than 4 MiB"},
		"no Status":   {eventJSON("ERROR", "[]"), unreadable + "an ERROR event without a Status: "},
		"no metadata": {eventJSON("BOOKMARK", "[]"), unreadable + "json: "},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := watchEvents(time.Second, c.event)
				x := newObjectsTest(t, handlers{listOf("10"), listOf("20")}, handlers{bad, bad, bad, stayOpenWatch})
				if err := x.run(10 * time.Second); err != nil {
					t.Error(err)
				}
				for _, line := range x.lines("failed") {
					if _, failure, _ := strings.Cut(line, ": "); !strings.HasPrefix(failure, c.message) {
						t.Errorf("the failure is %q", failure)
					}
				}
				wantLines(t, x.lines("GET", "SYNCED", "STALE", "waiting"),
					"0 GET list", "0 SYNCED", "0 GET watch 10", "0 STALE", "0 waiting 500ms",
					"0.5 GET watch 10", "0.5 SYNCED", "0.5 STALE", "0.5 waiting 1s",
					"1.5 GET watch 10", "1.5 SYNCED", "1.5 STALE", "1.5 waiting 2s",
					"3.5 GET list", "3.5 SYNCED", "3.5 GET watch 20")
			})
		})
	}
}

// An event that can be processed resets the number of consecutive failures.
func TestObjects_EventErrorsNotInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := watchEvents(time.Second, "{")
		good := watchEvents(time.Second, eventJSON("BOOKMARK", podJSON("", "11")), "{")
		x := newObjectsTest(t, handlers{listOf("10")}, handlers{bad, bad, good, bad, stayOpenWatch})
		if err := x.run(time.Minute); err != nil {
			t.Error(err)
		}
		wantLines(t, x.lines("GET"),
			"0 GET list", "0 GET watch 10", "0.5 GET watch 10", "1.5 GET watch 10", "2 GET watch 11", "3 GET watch 11")
	})
}

// The delay is at least the one that the server requests, up to one minute.
func TestObjects_RetryAfter(t *testing.T) {
	busy := func(seconds int) string {
		return fmt.Sprintf(`{"kind":"Status","code":429,"details":{"retryAfterSeconds":%d}}`, seconds)
	}
	refuse := func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusTooManyRequests)
		fmt.Fprint(w, busy(9))
	}
	synctest.Test(t, func(t *testing.T) {
		x := newObjectsTest(t, handlers{listOf("10")}, handlers{
			watchEvents(time.Second, eventJSON("ERROR", busy(7))), refuse,
			watchEvents(time.Second, eventJSON("ERROR", busy(1e6))), stayOpenWatch,
		})
		if err := x.run(5 * time.Minute); err != nil {
			t.Error(err)
		}
		wantLines(t, x.lines("waiting"), "0 waiting 7s", "7 waiting 9s", "16 waiting 1m0s")
	})
}

// A list is read in pages of 500 objects. If the server no longer has the rest
// of a list (410), the whole list is read in one page.
func TestObjects_Pages(t *testing.T) {
	page := func(next string, items ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if limit := r.URL.Query().Get("limit"); limit != "500" {
				t.Errorf("the limit is %q", limit)
			}
			fmt.Fprintf(w, `{"kind":"PodList","metadata":{"resourceVersion":"10","continue":"%s"},"items":[%s]}`,
				next, strings.Join(items, ","))
		}
	}
	whole := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("limit") {
			t.Error("the whole list has a limit")
		}
		listOf("20", podJSON("b", "2"), podJSON("c", "3"))(w, r)
	}
	synctest.Test(t, func(t *testing.T) {
		x := newObjectsTest(t, handlers{page("p2", podJSON("a", "1")), page("", podJSON("b", "2"))}, handlers{stayOpenWatch})
		if err := x.run(time.Second); err != nil {
			t.Error(err)
		}
		x.want("0 GET list", "0 GET list p2", "0 ADDED a@1", "0 ADDED b@2", "0 SYNCED", "0 GET watch 10")
	})
	synctest.Test(t, func(t *testing.T) {
		x := newObjectsTest(t, handlers{page("p2", podJSON("a", "1")), refuseAsGone, whole}, handlers{stayOpenWatch})
		if err := x.run(time.Second); err != nil {
			t.Error(err)
		}
		x.want("0 GET list", "0 GET list p2", "0 GET list", "0 ADDED b@2", "0 ADDED c@3", "0 SYNCED", "0 GET watch 20")
	})
}

// Before the first list is complete, failed attempts are repeated until
// ConnectTimeout has passed.
func TestObjects_ConnectTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := refuseWith(http.StatusInternalServerError, "InternalError", "etcd")
		x := newObjectsTest(t, handlers{down, down, listOf("10")}, handlers{stayOpenWatch})
		x.o.Link.ConnectTimeout = 10 * time.Second
		if err := x.run(10 * time.Second); err != nil {
			t.Error(err)
		}
		x.want("0 GET list", "0 failed: the server refused (500): etcd", "0 waiting 500ms",
			"0.5 GET list", "0.5 failed: the server refused (500): etcd", "0.5 waiting 1s",
			"1.5 GET list", "1.5 SYNCED", "1.5 GET watch 10")
	})
	synctest.Test(t, func(t *testing.T) {
		cut := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"kind":"PodList","items":[`)
		}
		x := newObjectsTest(t, handlers{cut}, nil)
		var lost *LostError
		if err := x.run(10 * time.Second); !errors.As(err, &lost) {
			t.Error(err)
		}
	})
}

// GiveUpAfter limits the attempts after a failure. A watch that the server ends
// normally is not a failure.
func TestObjects_NormalEndsAndGiveUpAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newObjectsTest(t, handlers{listOf("10")}, handlers{watchEvents(2 * time.Second)})
		x.o.Link.GiveUpAfter = 5 * time.Second
		if err := x.run(time.Minute); err != nil {
			t.Errorf("%v after %v", err, time.Since(x.start))
		}
	})
}

// After the first list, GiveUpAfter limits the attempts.
func TestObjects_GiveUpAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := refuseWith(http.StatusServiceUnavailable, "ServiceUnavailable", "down")
		x := newObjectsTest(t, handlers{listOf("10")}, handlers{down})
		x.o.Link.GiveUpAfter = 20 * time.Second
		err := x.run(time.Minute)
		took := time.Since(x.start)
		if RefusalOf(err) != RefusalUnavailable || took > x.o.Link.GiveUpAfter || took < 5*time.Second {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// After the context has ended, nothing is delivered, no request is made, and Run
// returns at once. The cases are the phases in which the context ends.
func TestObjects_Cancel(t *testing.T) {
	hang := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	headerOnly := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, `{"kind":"PodList","items":[`+podJSON("a", "1"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	list := listOf("10", podJSON("a", "1"), podJSON("b", "2"))
	down := refuseWith(http.StatusServiceUnavailable, "ServiceUnavailable", "down")
	for name, c := range map[string]struct {
		list, watch http.HandlerFunc
		during      ChangeType // cancel in the delivery of this change, if set
		want        int        // the number of changes
	}{
		"list, no answer":  {hang, nil, "", 0},
		"list, in a page":  {headerOnly, nil, "", 0},
		"delivery of list": {list, stayOpenWatch, Added, 1},
		"synced":           {list, stayOpenWatch, Synced, 3},
		"handshake":        {list, hang, "", 3},
		"idle":             {list, stayOpenWatch, "", 3},
		"pause":            {list, down, "", 4},
		"stale":            {list, down, Stale, 4},
		"delivery of event": {
			list,
			watchEvents(time.Hour, eventJSON("DELETED", podJSON("a", "11")), eventJSON("DELETED", podJSON("b", "12"))),
			Deleted, 4,
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newObjectsTest(t, handlers{c.list}, handlers{c.watch}, func(cfg *rest.Config) {
					cfg.Wrap(func(next http.RoundTripper) http.RoundTripper { return checkedRequests{t, next} })
				})
				ctx, cancel := context.WithCancelCause(t.Context())
				stop := errors.New("stop")
				changes := 0
				var canceled time.Time
				cancelNow := func() { canceled = time.Now(); cancel(stop) }
				x.o.OnChange = func(change Change[Object]) error {
					if changes++; change.Type == c.during {
						cancelNow()
					}
					return nil
				}
				if c.during == "" {
					time.AfterFunc(400*time.Millisecond, cancelNow)
				}
				err := x.o.Run(ctx)
				if late := time.Since(canceled); !errors.Is(err, stop) || late > 100*time.Millisecond {
					t.Errorf("%v, %v after the cancellation", err, late)
				}
				requests := len(x.lines())
				time.Sleep(time.Minute)
				synctest.Wait()
				if changes != c.want || len(x.lines()) != requests {
					t.Errorf("%d changes, want %d; record %q", changes, c.want, x.lines())
				}
			})
		})
	}
}

// checkedRequests is a transport that fails the test if a request begins after
// its context has ended. Such a request would run an exec plugin.
type checkedRequests struct {
	t    *testing.T
	next http.RoundTripper
}

func (c checkedRequests) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Context().Err() != nil {
		c.t.Errorf("a request for %s after the cancellation", r.URL.Path)
	}
	return c.next.RoundTrip(r)
}

// An error of OnChange ends Run, for each type of change and of error. It is not
// treated as a failure of the link, even if it wraps such a failure.
func TestObjects_OnChangeError(t *testing.T) {
	cut := watchBy(func(ws *websocket.Conn) { sendEvents(ws, eventJSON("ADDED", podJSON("b", "11"))) })
	for name, stop := range map[string]error{
		"plain":          errors.New("stop"),
		"lost":           fmt.Errorf("stop: %w", &LostError{io.EOF}),
		"handshake":      fmt.Errorf("stop: %w", &HandshakeError{StatusCode: http.StatusServiceUnavailable}),
		"dial":           &DialError{Err: errors.New("stop")},
		"event":          &EventError{Err: errors.New("stop")},
		"normal closure": websocket.CloseError{Code: websocket.StatusNormalClosure},
		"resume":         errResume,
		"quit":           errQuit,
		"expired":        errExpired,
	} {
		for _, typ := range []ChangeType{Added, Synced, Stale, Deleted} {
			t.Run(fmt.Sprintf("%s, %s", name, typ), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					x := newObjectsTest(t, handlers{listOf("10", podJSON("a", "1"))}, handlers{
						cut, watchEvents(time.Second, eventJSON("DELETED", podJSON("a", "12"))), stayOpenWatch,
					})
					ended := false
					x.o.OnChange = func(c Change[Object]) error {
						if ended {
							t.Errorf("%s after the end", c.Type)
						}
						if ended = ended || c.Type == typ; ended {
							return stop
						}
						return nil
					}
					if err := x.run(time.Minute); err != stop { //nolint:errorlint // the same error, not wrapped
						t.Error(err)
					}
					if !ended {
						t.Error("the change was not delivered")
					}
				})
			})
		}
	}
}

func TestObject(t *testing.T) {
	for _, c := range []struct{ want, data string }{
		{"2026-01-02T03:04:05Z", `{"metadata":{"creationTimestamp":"2026-01-02T03:04:05Z"}}`},
		{"0001-01-01T00:00:00Z", `{"metadata":{"creationTimestamp":"yesterday"},"lastTimestamp":3}`},
		{"2026-01-03T00:00:00Z", `{"metadata":{"creationTimestamp":"2026-01-01T00:00:00Z"},` +
			`"lastTimestamp":"2026-01-03T00:00:00Z"}`},
		{"2026-01-09T00:00:00Z", `{"metadata":{"creationTimestamp":"2026-01-09T00:00:00Z"},` +
			`"lastTimestamp":"2026-01-03T00:00:00Z"}`},
		{"2026-01-04T00:00:00.123456Z", `{"metadata":{},"lastTimestamp":null,"eventTime":"2026-01-04T00:00:00.123456Z"}`},
		{"2026-01-05T00:00:00.5Z", `{"metadata":{"creationTimestamp":null},` +
			`"series":{"lastObservedTime":"2026-01-05T00:00:00.5Z"}}`},
	} {
		var o Object
		if err := json.Unmarshal([]byte(c.data), &o); err != nil || string(o.JSON) != c.data {
			t.Errorf("%s: %v, JSON %s", c.data, err, o.JSON)
		}
		if got := o.Meta.When.Format(time.RFC3339Nano); got != c.want {
			t.Errorf("%s: the time is %s, want %s", c.data, got, c.want)
		}
	}
}
