package outcome

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kshell/internal/stream"
)

type closeBuffer struct {
	bytes.Buffer
	closed bool
}

func (c *closeBuffer) Close() error {
	c.closed = true
	return nil
}

func TestStatus(t *testing.T) {
	start := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	s := NewStatus(start, &stream.LostError{Err: errors.New("reset\x1b")})
	if s.End.Before(start) {
		t.Errorf("end %v before the start", s.End)
	}
	s.End = start.Add(time.Second)
	var out closeBuffer
	if err := s.Write(&out); err != nil || !out.closed {
		t.Errorf("error %v, closed %t", err, out.closed)
	}
	want := `{"exitCode":255,"cause":"lost","message":"connection lost: reset\\x1b",` +
		`"stdinBytes":0,"stdoutBytes":0,"stderrBytes":0,` +
		`"start":"2026-11-30T12:00:00Z","end":"2026-11-30T12:00:01Z"}` + "\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if err := s.Write(nil); err != nil {
		t.Error(err)
	}
}
