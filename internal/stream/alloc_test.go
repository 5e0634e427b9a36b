package stream

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/http"
	"testing"
)

// endlessOutput returns a connection on which the same stdout message arrives
// endlessly.
func endlessOutput(t testing.TB, protocol string, payload int) *Conn {
	t.Helper()
	message, _ := codecs[protocol].encode(chStdout, make([]byte, headroom+payload), nil)
	opcode := byte(0x82)
	if codecs[protocol].text {
		opcode = 0x81
	}
	frame := binary.BigEndian.AppendUint16([]byte{opcode, 126}, uint16(len(message)))
	frame = append(frame, message...)
	d := serve(t, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		sum := sha1.Sum([]byte(r.Header.Get("Sec-Websocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Protocol: "+protocol+"\r\n"+
			"Sec-WebSocket-Accept: "+base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n")
		for err == nil {
			_, err = conn.Write(frame)
		}
	})
	c, err := d.dialFunc(protocol)(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func TestReceive_DoesNotAllocate(t *testing.T) {
	for _, protocol := range Protocols() {
		c := endlessOutput(t, protocol, 32<<10)
		got := 0
		deliver := func(_ channel, p []byte) error { got += len(p); return nil }
		receive := func() {
			if err := c.receive(deliver); err != nil {
				t.Fatal(err)
			}
		}
		receive() // the first call may allocate: the buffers for text messages grow
		if n := testing.AllocsPerRun(500, receive); n != 0 {
			t.Errorf("%s: %v allocations per message", protocol, n)
		}
		if got != 502*32<<10 {
			t.Errorf("%s: %d bytes received", protocol, got)
		}
	}
}

func BenchmarkOutput(b *testing.B) {
	for _, protocol := range []string{V5, V4Base64} {
		b.Run(protocol, func(b *testing.B) {
			const size = 32 << 10
			c := endlessOutput(b, protocol, size)
			deliver := func(channel, []byte) error { return nil }
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				if err := c.receive(deliver); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
