package terminal

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// never is the stop function for a source whose Read never blocks: it has
// nothing to stop, and succeeds.
func never() bool { return true }

func TestKeys_EscapeCharacter(t *testing.T) {
	tests := []struct{ name, typed, want, own string }{
		{"no key of kshell", "ls -l\r", "ls -l\r", ""},
		{"at the beginning", "~.", "", "."},
		{"after a line", "ls\r~.", "ls\r", "."},
		{"within a line", "ls ~.\r", "ls ~.\r", ""},
		{"the escape character twice", "~~.\r", "~.\r", ""},
		{"a path", "~/bin\r", "~/bin\r", ""},
		{"an empty line and a key", "\r\n~?", "\r\n", "?"},
		{"two keys", "~?~.", "", "?."},
		{"the escape character and Enter", "~\r~.", "~\r", "."},
		{"a control key", "a\r~\x1a", "a\r", "\x1a"},
		{"an unknown key", "~x~.\r", "~x~.\r", ""},
		{"only the escape character", "~", "", ""},
		{"other bytes", "\x00\xff\x1b[A", "\x00\xff\x1b[A", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var own []byte
			typed := iotest.OneByteReader(strings.NewReader(tt.typed))
			k := NewKeys(typed, never, '~', ".?\x1a", func(key byte) { own = append(own, key) })
			got, err := io.ReadAll(k)
			k.Cancel()
			if err != nil || string(got) != tt.want || string(own) != tt.own {
				t.Errorf("passed %q, own keys %q, error %v; want %q and %q", got, own, err, tt.want, tt.own)
			}
		})
	}
}

func TestKeys_NoEscape(t *testing.T) {
	const typed = "~.\r~.\x00~."
	k := NewKeys(strings.NewReader(typed), never, NoEscape, ".", func(byte) { t.Error("a key of kshell was recognized") })
	got, err := io.ReadAll(k)
	if err != nil || string(got) != typed {
		t.Errorf("passed %q, error %v; want all of %q", got, err, typed)
	}
}

func TestKeys_EscapeCharacterWhileNothingIsRead(t *testing.T) {
	source, user := io.Pipe()
	own := make(chan byte, 1)
	k := NewKeys(source, func() bool { return source.Close() == nil }, '~', ".", func(key byte) { own <- key })
	first := make([]byte, 1)
	go func() {
		_, _ = user.Write([]byte("stuck\r"))
		_, _ = user.Write([]byte("~."))
	}()
	if _, err := k.Read(first); err != nil { // nothing more is read after this
		t.Fatal(err)
	}
	if got := <-own; got != '.' {
		t.Errorf("key %q, want .", got)
	}
	if !k.Cancel() {
		t.Error("Cancel = false, want true")
	}
	if _, err := k.Read(first); !errors.Is(err, errCanceled) {
		t.Errorf("Read = %v after Cancel, want errCanceled", err)
	}
}

func TestKeys_LargePaste(t *testing.T) {
	paste := bytes.Repeat([]byte("0123456789abcde\r"), 1<<16)
	k := NewKeys(bytes.NewReader(paste), never, '~', ".", func(byte) {})
	got, err := io.ReadAll(k)
	if err != nil || !bytes.Equal(got, paste) {
		t.Errorf("passed %d of %d bytes, error %v", len(got), len(paste), err)
	}
}

func TestKeys_CancelWithFullBuffer(t *testing.T) {
	k := NewKeys(bytes.NewReader(make([]byte, 1<<20)), never, '~', ".", func(byte) {})
	if _, err := k.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if !k.Cancel() {
		t.Error("Cancel = false, want true")
	}
}

func TestKeys_SourceError(t *testing.T) {
	broken := errors.New("broken")
	k := NewKeys(io.MultiReader(strings.NewReader("ab"), iotest.ErrReader(broken)), never, '~', ".", func(byte) {})
	got, err := io.ReadAll(k)
	if diff := cmp.Diff("ab", string(got)); diff != "" || !errors.Is(err, broken) {
		t.Errorf("error %v, want %v; input (-want +got):\n%s", err, broken, diff)
	}
}

// A panic of the reading goroutine becomes a panic of Read.
func TestKeys_SourcePanic(t *testing.T) {
	k := NewKeys(panicReader{}, never, '~', ".", func(byte) {})
	defer k.Cancel()
	defer func() {
		if v := recover(); v == nil || !strings.Contains(v.(string), "burst") {
			t.Errorf("recovered %v, want the panic of the source", v)
		}
	}()
	_, _ = k.Read(make([]byte, 1))
	t.Error("no panic")
}

type panicReader struct{}

func (panicReader) Read([]byte) (int, error) { panic("burst") }
