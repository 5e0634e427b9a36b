package stream

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/coder/websocket"
)

// A Status may arrive in pieces of any size, so the work must be linear in the
// length of the Status. If json.Valid were called on the whole text for each
// piece, this test would take 20 minutes.
func TestStatus_ArrivesByteByByte(t *testing.T) {
	const limit = 20 * time.Second
	status := []byte(`{"status":"Failure","message":"` + strings.Repeat("{", 1<<20) + `","details":{}}`)
	c := &Conn{codec: codecs[V5]}
	start := time.Now()
	for i := range status {
		whole, err := c.addStatus(status[i : i+1])
		if last := i == len(status)-1; whole != last || err != nil {
			t.Fatalf("after byte %d of %d: whole %v, error %v", i+1, len(status), whole, err)
		}
		if time.Since(start) > limit {
			t.Fatalf("%d of %d bytes took %v", i+1, len(status), limit)
		}
	}
}

// FuzzStatusIsWhole checks that a status counts as complete as soon as the
// pieces so far are a JSON object, and not otherwise.
func FuzzStatusIsWhole(f *testing.F) {
	for _, seed := range []string{
		success, failure("7"), " \n" + success + "\n ", success + "x", success + success,
		`{"a":"}\"{\\"}`, `{"a":[}`, `{"a":[}]}`, "", "  ", "boom", "}", `"x"`,
		`{"a":"\u007b"}`, "{\"a\":\"\x00\"}", `{}`, `{`, `x{}`,
	} {
		f.Add([]byte(seed), uint8(1))
		f.Add([]byte(seed), uint8(7))
	}
	f.Fuzz(func(t *testing.T, raw []byte, size uint8) {
		c := &Conn{codec: codecs[V4]}
		for rest := raw; len(rest) > 0; {
			n := min(len(rest), max(1, int(size)))
			whole, err := c.addStatus(rest[:n])
			rest = rest[n:]
			before := raw[:len(raw)-len(rest)]
			object := bytes.HasPrefix(bytes.TrimLeft(before, " \t\r\n"), []byte("{"))
			if want := object && json.Valid(before); whole != want || err != nil {
				t.Fatalf("%q: whole %v, want %v; error %v", before, whole, want, err)
			}
			if whole {
				return
			}
		}
	})
}

func TestStatus_NeverWholeWithoutStatus(t *testing.T) {
	c := &Conn{codec: codecs[Channel]}
	if whole, err := c.addStatus([]byte(success)); whole || err != nil {
		t.Errorf("whole %v, error %v", whole, err)
	}
}

const tooLarge = "the server reported a failure: its status is larger than 4 MiB"

func TestBounds_Status(t *testing.T) {
	piece := strings.Repeat("x", 32<<10)
	for name, c := range map[string]struct {
		payload string
		pieces  int
		want    string
	}{
		"largest":   {piece, maxMessage / len(piece), "the server reported a failure: unreadable status: " + piece[:maxText]},
		"too large": {piece, maxMessage/len(piece) + 1, tooLarge},
		"endless":   {piece, 1 << 20, tooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			forEachProtocol(t, func(t *testing.T, protocol string) {
				var sent atomic.Int64
				d := serveExec(t, func(r serverConn) {
					for i := 0; i < c.pieces && r.Write(context.Background(), kind(r), r.encode(chError, c.payload)) == nil; i++ {
						sent.Add(int64(len(c.payload)))
					}
					_ = r.Close(websocket.StatusNormalClosure, "")
				})
				s := newTestSession(d.dialFunc(protocol), Settings{})
				err := s.Run(t.Context())
				want := c.want
				if !codecs[protocol].status && c.want != tooLarge {
					want = "the server reported a failure: " + strings.Repeat(piece, c.pieces)
				}
				if err == nil || err.Error() != want {
					t.Errorf("got %.200v, want %.200s", err, want)
				}
				if n := sent.Load(); n > 2*maxMessage {
					t.Errorf("%d bytes were read", n)
				}
			})
		})
	}
}

func kind(r serverConn) websocket.MessageType {
	if r.text() {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}

func (r serverConn) encode(ch channel, payload string) []byte {
	message, _ := codecs[r.Subprotocol()].encode(ch, append(make([]byte, headroom), payload...), nil)
	return message
}

func TestBounds_StatusIsOneEndlessMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := rawServer(t, func(conn net.Conn) { endlessMessage(conn, chError) })
		s := newTestSession(d.dialFunc(V5), Settings{LinkSettings: noReconnect})
		if err := s.Run(t.Context()); err == nil || err.Error() != tooLarge {
			t.Errorf("got %v", err)
		}
	})
}

// endlessMessage writes the header of a message of 1 GiB, and then data until
// the client has disconnected.
func endlessMessage(conn net.Conn, ch channel) {
	_, err := conn.Write(append(frameHeader(1<<30), byte(ch)))
	for piece := bytes.Repeat([]byte("x"), 32<<10); err == nil; {
		_, err = conn.Write(piece)
	}
}

// With Proof, the first output message after a reconnect is held in memory
// until it is complete, so its size is limited.
func TestBounds_FirstOutput(t *testing.T) {
	for name, c := range map[string]struct {
		size  int
		fails bool
	}{"largest": {maxMessage, false}, "too large": {maxMessage + 1, true}, "endless": {1 << 30, true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var connections atomic.Int32
				d := rawServer(t, func(conn net.Conn) {
					if connections.Add(1) == 1 {
						return
					}
					_, err := conn.Write(append(frameHeader(headroom+c.size), byte(chStdout)))
					piece := bytes.Repeat([]byte("x"), 32<<10)
					for n := 0; n < c.size && err == nil; n += len(piece) {
						_, err = conn.Write(piece[:min(len(piece), c.size-n)])
					}
					_, _ = conn.Write(message(chError, success))
				})
				n := 0
				stdout := writerFunc(func(p []byte) (int, error) { n += len(p); return len(p), nil })
				var last error
				observe := on(func(e Failed) { last = e.Err })
				set := Settings{LinkSettings: alwaysReconnect, Proof: time.Hour, Stdout: stdout}
				s := NewSession(&testDriver{dial: d.dialFunc(V5)}, observe, set)
				// The context ends during the delay after the second
				// connection.
				ctx, cancel := context.WithTimeout(t.Context(), RetryDelay+time.Second)
				defer cancel()
				err := s.Run(ctx)
				switch {
				case c.fails && (!errors.Is(last, errMessageSize) || err == nil || n > maxMessage):
					t.Errorf("%d bytes delivered, the last failure is %v", n, last)
				case !c.fails && (err != nil || n != c.size):
					t.Errorf("%d bytes delivered, error %v", n, err)
				}
			})
		})
	}
}

func TestBounds_TextMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := serveExec(t, func(r serverConn) {
			_ = r.Write(context.Background(), websocket.MessageText, bytes.Repeat([]byte("1"), maxMessage+1))
		})
		s := newTestSession(d.dialFunc(V4Base64), Settings{LinkSettings: noReconnect})
		err := s.Run(t.Context())
		if fmt.Sprint(err) != "connection lost: the server's message is larger than 4 MiB" {
			t.Errorf("got %v", err)
		}
	})
}

func TestBounds_Event(t *testing.T) {
	for _, size := range []int{maxMessage, maxMessage + 1} {
		synctest.Test(t, func(t *testing.T) {
			d := serve(t, func(w http.ResponseWriter, r *http.Request) {
				ws, err := websocket.Accept(w, r, nil)
				if err != nil {
					t.Error(err)
					return
				}
				defer ws.CloseNow()
				_ = ws.Write(context.Background(), websocket.MessageText, bytes.Repeat([]byte("x"), size))
				_ = ws.Close(websocket.StatusNormalClosure, "")
			})
			got := 0
			dial := func(ctx context.Context) (*Conn, error) { return d.Dial(ctx, Request{Path: "/"}) }
			deliver := func(m []byte) error { got = len(m); return nil }
			e := NewEvents(&testDriver{dial: dial}, nil, noReconnect, deliver)
			err := e.Run(t.Context())
			var lost *LostError
			if !errors.As(err, &lost) {
				t.Errorf("got %v", err)
			}
			refused := err.Error() == "connection lost: the server's message is larger than 4 MiB"
			if fits := size == maxMessage; fits != (got == size) || fits == refused {
				t.Errorf("of %d bytes %d were delivered; error %v", size, got, err)
			}
		})
	}
}

func TestBounds_SPDYErrorStream(t *testing.T) {
	testInBubble(t, func(t *testing.T) {
		var sent atomic.Int64
		d := serveSPDYExec(t, func(far *spdyServerConn) {
			piece := strings.Repeat("x", 32<<10)
			for sent.Load() < 64<<20 {
				n, err := io.WriteString(far.streams["error"], piece)
				if sent.Add(int64(n)); err != nil {
					return
				}
			}
			<-far.CloseChan()
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := newTestSession(d.spdyDialFunc("stdout", "stderr"), Settings{LinkSettings: noReconnect})
		if err := s.Run(ctx); err == nil || err.Error() != tooLarge {
			t.Errorf("got %v", err)
		}
		if n := sent.Load(); n > 2*maxMessage {
			t.Errorf("%d bytes were read", n)
		}
	})
}

// TestFrameChecker in package spdy tests the exact size limit of a frame.
func TestBounds_SPDYFrame(t *testing.T) {
	const maxFrame = 4 << 20
	testInBubble(t, func(t *testing.T) {
		d := serveSPDYExec(t, func(far *spdyServerConn) { far.send("stdout", strings.Repeat("x", 2*maxFrame)) })
		s := newTestSession(d.spdyDialFunc("stdout"), Settings{LinkSettings: noReconnect})
		err := s.Run(t.Context())
		if fmt.Sprint(err) != "connection lost: the server's SPDY frame is larger than 4 MiB" {
			t.Errorf("got %v", err)
		}
	})
}

// At most 64 KiB of a refusal are read, even if net/http decompresses the
// refusal.
func TestBounds_Refusal(t *testing.T) {
	for name, by := range map[string]func(*Dialer) func(context.Context) (*Conn, error){
		"WebSocket": func(d *Dialer) func(context.Context) (*Conn, error) { return d.dialFunc(V5) },
		"SPDY":      func(d *Dialer) func(context.Context) (*Conn, error) { return d.spdyDialFunc("stdout") },
	} {
		t.Run(name, func(t *testing.T) {
			testInBubble(t, func(t *testing.T) {
				d := serveSPDY(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Header.Get("Sec-WebSocket-Extensions") != "" {
						t.Error("compression is offered")
					}
					if r.Header.Get("Accept-Encoding") != "gzip" {
						w.WriteHeader(http.StatusForbidden)
						return // without this header, net/http does not decompress the answer
					}
					w.Header().Set("Content-Encoding", "gzip")
					w.WriteHeader(http.StatusForbidden)
					packed := gzip.NewWriter(w)
					piece := bytes.Repeat([]byte("x"), 1<<20)
					for range 1 << 10 {
						if _, err := packed.Write(piece); err != nil {
							return
						}
					}
				})
				_, err := by(d)(t.Context())
				var refused *HandshakeError
				if !errors.As(err, &refused) || len(refused.Text) > maxText ||
					strings.ContainsFunc(refused.Text, unicode.IsControl) {
					t.Errorf("got %.200v", err)
				}
			})
		})
	}
}
