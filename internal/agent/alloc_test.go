package agent

import (
	"bytes"
	"testing"
	"time"
)

// Bulk output does not allocate in the agent: a small allocation would often start
// the garbage collector, because the buffers almost reach the agent's memory limit.
func TestSession_BulkOutputAllocatesNothing(t *testing.T) {
	s := NewSession(SessionConfig{ID: "s"})
	p := mustAttach(t, s, hello(1, 1), 0)
	data := bytes.Repeat([]byte("x"), OutputSize)
	var d Decoder
	var buf, acks []byte
	var now time.Duration
	var failed error
	round := func() {
		now += time.Millisecond
		s.Output(Stdout, data)
		buf = s.Next(p, buf[:0], now)
		d.Write(acks)
		for failed == nil {
			m, err := d.Next()
			if m == nil || err != nil {
				failed = err
				break
			}
			failed = s.Receive(p, m, now)
		}
	}
	for range DefaultBuffer * 4 / len(data) { // until all buffers have been allocated
		acks = Append(acks[:0], &OutputAck{Offset: p.sent, Stamp: stampOf(now)})
		round()
	}
	acks = Append(acks[:0], &OutputAck{Offset: p.sent, Stamp: stampOf(now)})
	if n := testing.AllocsPerRun(100, round); n > 0 || failed != nil {
		t.Errorf("%v allocations for each %d bytes, error %v", n, len(data), failed)
	}
}

// Bulk output does not allocate in the client.
func TestClient_BulkOutputAllocatesNothing(t *testing.T) {
	c := attached(t, ClientConfig{}, Welcome{Version: 1})
	frame := Output{Stamp: 1, Stream: Stdout, Data: bytes.Repeat([]byte("x"), chunkSize)}
	var wire []byte
	var failed error
	round := func() {
		wire = appendOutput(wire[:0], frame)
		if failed = c.Receive(wire, 0); failed != nil {
			return
		}
		frame.Offset += chunkSize
		for chunk, ok := c.Output(); ok; chunk, ok = c.Output() {
			c.Written(len(chunk.Data))
		}
	}
	if n := testing.AllocsPerRun(100, round); n > 0 || failed != nil {
		t.Errorf("%v allocations for each frame, error %v", n, failed)
	}
}
