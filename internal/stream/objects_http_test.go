package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"k8s.io/client-go/rest"
)

// isUpgrade reports whether r is a WebSocket handshake.
func isUpgrade(r *http.Request) bool { return r.Header.Get("Upgrade") != "" }

// withoutWebSockets answers WebSocket handshakes with refusal, and other
// requests with answer.
func withoutWebSockets(refusal, answer http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if isUpgrade(r) {
			refusal(w, r)
		} else {
			answer(w, r)
		}
	}
}

// watchHTTP sends events in an HTTP answer, and ends the answer after the given
// time.
func watchHTTP(then time.Duration, events ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		for _, e := range events {
			_, _ = io.WriteString(w, e+"\n")
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(then):
		case <-r.Context().Done():
		}
	}
}

// cutHTTP sends events in an HTTP answer, and closes the connection before the
// end of the answer.
func cutHTTP(events ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		watchHTTP(0, events...)(w, r)
		panic(http.ErrAbortHandler)
	}
}

func pageWith(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, "<!doctype html>")
	}
}

// hijacked sends text on the connection, and closes it.
func hijacked(t *testing.T, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
}

const otherUpgrade = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"

func refuseWithText(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "denied", http.StatusForbidden)
}

// If the server or a proxy refuses WebSockets, this watch and all later ones use
// plain HTTP.
func TestObjects_HTTP(t *testing.T) {
	for name, refusal := range map[string]http.HandlerFunc{
		"403 without a body":       refuse(http.StatusForbidden),
		"upgrade to another":       hijacked(t, otherUpgrade),
		"upgrade headers stripped": refuseWith(http.StatusBadRequest, "BadRequest", "Upgrade request required"),
		"upgrade ignored":          watchHTTP(time.Hour),
		"403 of a proxy":           refuseWithText,
		"405 of a proxy":           refuse(http.StatusMethodNotAllowed),
		"page of a proxy":          pageWith(http.StatusForbidden),
		"502 of a proxy":           refuse(http.StatusBadGateway),
		"cut by a proxy":           hijacked(t, ""),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				upgrades, bookmark := 0, eventJSON("BOOKMARK", podJSON("", "12"))
				counted := func(w http.ResponseWriter, r *http.Request) { upgrades++; refusal(w, r) }
				timed := func(answer http.HandlerFunc) http.HandlerFunc {
					return func(w http.ResponseWriter, r *http.Request) {
						if !isUpgrade(r) && r.URL.Query().Get("timeoutSeconds") != "30" {
							t.Errorf("the query is %q", r.URL.RawQuery)
						}
						answer(w, r)
					}
				}
				x := newObjectsTest(t, handlers{listOf("10", podJSON("a", "1"))}, handlers{
					withoutWebSockets(counted, nil),
					timed(watchHTTP(3*time.Second, eventJSON("MODIFIED", podJSON("a", "11")), bookmark)),
					timed(cutHTTP(eventJSON("DELETED", podJSON("a", "13")))),
					timed(watchHTTP(time.Hour)),
				})
				if err := x.run(10 * time.Second); err != nil {
					t.Error(err)
				}
				x.want("0 GET list", "0 ADDED a@1", "0 SYNCED", "0 GET watch 10", "0 GET watch 10", "0 MODIFIED a@11",
					"3 GET watch 12", "3 DELETED a@13", "3 STALE", "3 failed: connection lost: the connection was cut",
					"3 waiting 500ms", "3.5 GET watch 13", "3.5 SYNCED")
				if upgrades != 1 {
					t.Errorf("%d WebSocket handshakes", upgrades)
				}
			})
		})
	}
}

// If plain HTTP does not work either, the next attempt begins with a WebSocket.
func TestObjects_NeitherWebSocketNorHTTP(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := refuse(http.StatusBadGateway)
		x := newObjectsTest(t, handlers{listOf("10")}, handlers{
			withoutWebSockets(down, nil), down, withoutWebSockets(watchEvents(time.Hour), down),
		})
		if err := x.run(5 * time.Second); err != nil {
			t.Error(err)
		}
		x.want("0 GET list", "0 SYNCED", "0 GET watch 10", "0 GET watch 10", "0 STALE",
			"0 failed: the server refused (502 Bad Gateway) and gave no reason", "0 waiting 500ms",
			"0.5 GET watch 10", "0.5 SYNCED")
	})
}

// After a WebSocket was opened, the refusal of another one is a failure, and
// plain HTTP is not tried.
func TestObjects_NoHTTPAfterWebSocket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newObjectsTest(t, handlers{listOf("10")}, handlers{
			watchEvents(2 * time.Second), refuse(http.StatusBadGateway), watchEvents(time.Hour),
		})
		if err := x.run(10 * time.Second); err != nil {
			t.Error(err)
		}
		wantLines(t, x.lines("GET", "STALE", "SYNCED"), "0 GET list", "0 SYNCED", "0 GET watch 10",
			"2 GET watch 10", "2 STALE", "2.5 GET watch 10", "2.5 SYNCED")
	})
}

// An event in an HTTP answer that cannot be decoded, or is too large, is a
// failure.
func TestObjects_HTTPUnreadable(t *testing.T) {
	large := `{"type":"` + strings.Repeat("x", maxMessage) + `"}`
	for event, want := range map[string]string{
		large:    "the server's message is larger than 4 MiB",
		"<html>": "invalid character '<' looking for beginning of value",
	} {
		synctest.Test(t, func(t *testing.T) {
			x := newObjectsTest(t, handlers{listOf("10")}, handlers{
				withoutWebSockets(refuse(http.StatusForbidden), nil), watchHTTP(time.Hour, event), watchHTTP(time.Hour),
			})
			if err := x.run(5 * time.Second); err != nil {
				t.Error(err)
			}
			wantLines(t, x.lines("failed", "SYNCED", "STALE"),
				"0 SYNCED", "0 STALE", "0 failed: cannot read an event of the watch: "+want, "0.5 SYNCED")
		})
	}
}

// A watch by plain HTTP whose answer does not end in time is a lost connection.
func TestObjects_HTTPSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newObjectsTest(t, handlers{listOf("10")}, handlers{
			withoutWebSockets(refuse(http.StatusForbidden), nil), watchHTTP(time.Hour),
		})
		if err := x.run(time.Minute); err != nil {
			t.Error(err)
		}
		wantLines(t, x.lines("failed", "SYNCED", "STALE"),
			"0 SYNCED", "45 STALE", "45 failed: connection lost: the server does not answer any more", "45.5 SYNCED")
	})
}

// These refusals of the list, of a WebSocket or of a watch by plain HTTP end Run
// without another attempt.
func TestObjects_FinalRefusals(t *testing.T) {
	for name, refusal := range map[string]http.HandlerFunc{
		"400": refuseWith(http.StatusBadRequest, "BadRequest", "no"),
		"401": refuseWith(http.StatusUnauthorized, "Unauthorized", "no"),
		"403": refuseWith(http.StatusForbidden, "Forbidden", `User \"dev\" cannot watch resource \"pods\"`),
		"404": refuseWith(http.StatusNotFound, "NotFound", "no"),
		"405": refuseWith(http.StatusMethodNotAllowed, "MethodNotAllowed", "no"),
	} {
		t.Run(name, func(t *testing.T) {
			for _, x := range []struct {
				lists, watches handlers
				requests       int
			}{
				{handlers{refusal}, nil, 1},
				{handlers{listOf("1")}, handlers{refusal}, 2},
				{handlers{listOf("1")}, handlers{withoutWebSockets(refuse(http.StatusForbidden), nil), refusal}, 3},
			} {
				synctest.Test(t, func(t *testing.T) {
					o := newObjectsTest(t, x.lists, x.watches)
					o.o.Link.ConnectTimeout = time.Minute
					err := o.run(time.Hour)
					var refused *HandshakeError
					if !errors.As(err, &refused) || fmt.Sprint(refused.StatusCode) != name || time.Since(o.start) != 0 {
						t.Errorf("got %v after %v", err, time.Since(o.start))
					}
					if n := len(o.lines("GET")); n != x.requests || len(o.lines("STALE")) != 0 {
						t.Errorf("%q", o.lines())
					}
				})
			}
		})
	}
}

// After a 401, the list and the watch are requested once more with new
// credentials.
func TestObjects_RenewsCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	synctest.Test(t, func(t *testing.T) {
		tokens := 0
		renew := func() {
			tokens++
			if err := os.WriteFile(file, fmt.Appendf(nil, "token-%d", tokens), 0o600); err != nil {
				t.Error(err)
			}
		}
		renew()
		expires := func(answer http.HandlerFunc) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") == fmt.Sprint("Bearer token-", tokens) {
					answer(w, r)
					return
				}
				t.Errorf("the credentials are %q", r.Header.Get("Authorization"))
			}
		}
		reject := func(w http.ResponseWriter, r *http.Request) {
			renew()
			refuseWith(http.StatusUnauthorized, "Unauthorized", "no")(w, r)
		}
		x := newObjectsTest(t,
			handlers{reject, expires(listOf("10"))},
			handlers{reject, expires(watchEvents(time.Second)), reject, expires(watchEvents(time.Hour))},
			func(cfg *rest.Config) { cfg.BearerTokenFile = file })
		if err := x.run(5 * time.Second); err != nil {
			t.Error(err)
		}
		x.want("0 GET list", "0 GET list", "0 SYNCED", "0 GET watch 10", "0 GET watch 10", "1 GET watch 10", "1 GET watch 10")
	})
}

// Only objects with the selected name are delivered, even if the server ignores
// selectors. If there is none, Run waits for one.
func TestObjects_Name(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		selected := func(answer http.HandlerFunc) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				if got, want := r.URL.Query().Get("fieldSelector"), "metadata.name=a,status.phase=Running"; got != want {
					t.Errorf("%s: the selector is %q, want %q", r.URL.Path, got, want)
				}
				answer(w, r)
			}
		}
		x := newObjectsTest(t, handlers{selected(listOf("10", podJSON("b", "1")))}, handlers{
			selected(watchEvents(2*time.Second, eventJSON("ADDED", podJSON("c", "11")), eventJSON("ADDED", podJSON("a", "12")),
				eventJSON("DELETED", podJSON("b", "13")))),
			selected(watchEvents(time.Hour, eventJSON("DELETED", podJSON("a", "14")))),
		})
		x.o.Name, x.o.Query = "a", map[string][]string{"fieldSelector": {"status.phase=Running"}}
		if err := x.run(5 * time.Second); err != nil {
			t.Error(err)
		}
		x.want("0 GET list", "0 SYNCED", "0 GET watch 10", "0 ADDED a@12", "2 GET watch 13", "2 DELETED a@14")
	})
}

// A watch whose server does not answer pings is a lost connection.
func TestObjects_DeadConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// A server that does not read does not answer pings.
		silent := watchBy(func(*websocket.Conn) { time.Sleep(50 * time.Second) })
		x := newObjectsTest(t, handlers{listOf("10")}, handlers{silent, stayOpenWatch})
		x.o.Keepalive = 10 * time.Second
		if err := x.run(time.Minute); err != nil {
			t.Error(err)
		}
		wantLines(t, x.lines("failed", "SYNCED", "STALE"),
			"0 SYNCED", "20 STALE", "20 failed: connection lost: the server does not answer any more", "20.5 SYNCED")
	})
}

// Get returns the body of an answer, and refusals as *HandshakeError.
func TestGet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/version":
				fmt.Fprintf(w, `{"query":"%s"}`, r.URL.RawQuery)
			case "/page":
				pageWith(http.StatusOK)(w, r)
			case "/redirect":
				http.Redirect(w, r, "https://login.example.com/?secret", http.StatusFound)
			case "/hang":
				<-r.Context().Done()
			default:
				refuseWith(http.StatusNotFound, "NotFound", "no such path")(w, r)
			}
		})
		body, err := d.Get(t.Context(), "/version", map[string][]string{"a": {"b c"}})
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(body); string(text) != `{"query":"a=b+c"}` || err != nil {
			t.Errorf("%q, %v", text, err)
		}
		_ = body.Close()
		for path, want := range map[string]Refusal{
			"/page": RefusalWebPage, "/redirect": RefusalRedirect, "/other": RefusalNotFound,
		} {
			_, err := d.Get(t.Context(), path, nil)
			if RefusalOf(err) != want {
				t.Errorf("%s: %v", path, err)
			}
		}
		start := time.Now()
		var unreachable *DialError
		_, err = d.Get(t.Context(), "/hang", nil)
		if took := time.Since(start); !errors.As(err, &unreachable) || took != handshakeTimeout {
			t.Errorf("%v after %v", err, took)
		}
		stop := errors.New("stop")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(stop) })
		if _, err := d.Get(ctx, "/hang", nil); !errors.Is(err, stop) {
			t.Error(err)
		}
	})
}
