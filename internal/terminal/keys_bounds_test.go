package terminal

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
)

// endless is a source of keys that never ends. It counts the bytes that were
// read from it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return len(p), nil
}

func TestKeys_BufferIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &endless{}
		k := NewKeys(source, never, NoEscape, "", nil)
		defer k.Cancel()
		if n, err := k.Read(nil); n != 0 || err != nil {
			t.Fatalf("Read = %d, %v", n, err)
		}
		synctest.Wait()
		if len(k.buffer) != maxKeys {
			t.Errorf("%d bytes are buffered, want %d", len(k.buffer), maxKeys)
		}
		if read := source.read; read > maxKeys+4<<10 {
			t.Errorf("%d bytes were read from the source, want at most one read more than %d", read, maxKeys)
		}
	})
}

func TestKeys_CancelWaitsForTheSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, user := io.Pipe()
		k := NewKeys(source, never, NoEscape, "", nil)
		read, canceled := make(chan error, 1), make(chan bool, 1)
		go func() {
			_, err := k.Read(make([]byte, 1))
			read <- err
		}()
		synctest.Wait()
		go func() { canceled <- k.Cancel() }()
		synctest.Wait()
		if len(canceled) > 0 {
			t.Error("Cancel returned while the source was being read")
		}
		_ = user.Close()
		if !<-canceled {
			t.Error("Cancel = false, want true")
		}
		<-read
	})
}

func TestKeys_CancelBeforeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := NewKeys(strings.NewReader("a"), never, NoEscape, "", nil)
		if !k.Cancel() {
			t.Error("Cancel = false, want true")
		}
		if n, err := k.Read(make([]byte, 1)); n != 0 || !errors.Is(err, errCanceled) {
			t.Errorf("Read = %d, %v; want errCanceled", n, err)
		}
	})
}

// After the escape character, at most maxPending bytes of a sequence are held
// back.
func TestKeys_PendingSequenceIsBounded(t *testing.T) {
	var passed []byte
	e := escapeFilter{escape: '~', known: ".", lineStart: true, pass: func(p []byte) { passed = append(passed, p...) }}
	sequence := "\x1b]" + strings.Repeat("x", maxPending-2)
	e.process([]byte("~"))
	e.process([]byte(sequence))
	if len(passed) > 0 {
		t.Errorf("%d bytes were passed on, want none", len(passed))
	}
	e.process([]byte("y"))
	if got, want := string(passed), "~"+sequence+"y"; got != want {
		t.Errorf("%d bytes were passed on, want all %d", len(got), len(want))
	}
}
