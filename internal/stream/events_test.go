package stream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
)

func TestEvents(t *testing.T) {
	type event struct{ Type string }
	d := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Origin") == "" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		options := &websocket.AcceptOptions{Subprotocols: []string{"base64.binary.k8s.io"}, OriginPatterns: []string{"*"}}
		ws, err := websocket.Accept(w, r, options)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.CloseNow()
		for _, m := range []string{`{"type":"ADDED"}` + "\n", "", `{"type":"DELETED"}` + "\n"} {
			_ = ws.Write(context.Background(), websocket.MessageText, []byte(m))
		}
		_ = ws.Close(websocket.StatusNormalClosure, "")
	})
	dial := func(ctx context.Context) (*Conn, error) {
		// Messages of other subprotocols are not decoded.
		return d.Dial(ctx, Request{Path: "/watch", Origin: true, Protocols: []string{"base64.binary.k8s.io"}})
	}
	var raw, decoded []string
	for _, deliver := range []func([]byte) error{
		func(m []byte) error { raw = append(raw, string(m)); return nil },
		JSON(func(e event) error { decoded = append(decoded, e.Type); return nil }),
	} {
		e := NewEvents(&testDriver{dial: dial}, nil, noReconnect, deliver)
		err := e.Run(t.Context())
		var lost *LostError
		if !errors.As(err, &lost) || websocket.CloseStatus(err) != websocket.StatusNormalClosure {
			t.Errorf("ended with %v, want a LostError with the close code", err)
		}
	}
	if got, want := fmt.Sprintf("%q", raw), `["{\"type\":\"ADDED\"}\n" "{\"type\":\"DELETED\"}\n"]`; got != want {
		t.Errorf("raw: %s", got)
	}
	if got, want := fmt.Sprint(decoded), "[ADDED DELETED]"; got != want {
		t.Errorf("JSON: %s", got)
	}
}

func TestEvents_CancelOrError(t *testing.T) {
	flood := func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.CloseNow()
		for ws.Write(context.Background(), websocket.MessageText, []byte("{}")) == nil {
		}
	}
	stop := errors.New("stop")
	for name, end := range map[string]func(cancel context.CancelCauseFunc) error{
		"cancel": func(cancel context.CancelCauseFunc) error { cancel(stop); return nil },
		"error":  func(context.CancelCauseFunc) error { return stop },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := serve(t, flood)
				ctx, cancel := context.WithCancelCause(t.Context())
				delivered := 0
				dial := func(ctx context.Context) (*Conn, error) { return d.Dial(ctx, Request{Path: "/"}) }
				deliver := func([]byte) error { delivered++; return end(cancel) }
				e := NewEvents(&testDriver{dial: dial}, nil, LinkSettings{}, deliver)
				if err := e.Run(ctx); !errors.Is(err, stop) || delivered != 1 {
					t.Errorf("%v after %d messages", err, delivered)
				}
				synctest.Wait()
			})
		})
	}
}

func TestJSON_Unreadable(t *testing.T) {
	err := JSON(func(map[string]any) error { return nil })([]byte("<html>"))
	if err == nil {
		t.Error("no error")
	}
}

// After the server has reported that the requested version is too old, a new
// connection would ask for the same version.
func TestEvents_VersionTooOld(t *testing.T) {
	expired := eventJSON("ERROR", tooOld)
	synctest.Test(t, func(t *testing.T) {
		connections := 0
		d := serve(t, func(w http.ResponseWriter, r *http.Request) {
			connections++
			ws, err := websocket.Accept(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer ws.CloseNow()
			_ = ws.Write(context.Background(), websocket.MessageText, []byte(expired))
			_ = ws.Close(websocket.StatusNormalClosure, "")
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		delivered := 0
		dial := func(ctx context.Context) (*Conn, error) { return d.Dial(ctx, Request{Path: "/"}) }
		deliver := func([]byte) error { delivered++; return nil }
		err := NewEvents(&testDriver{dial: dial}, nil, alwaysReconnect, deliver).Run(ctx)
		const want = "the server ended the watch (410): too old resource version"
		if err == nil || err.Error() != want || connections != 1 || delivered != 1 {
			t.Errorf("%v after %d connections and %d messages", err, connections, delivered)
		}
	})
}
