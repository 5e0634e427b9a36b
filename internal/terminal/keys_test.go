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

// never is the stop of a source that ends by itself.
func never() bool { return true }

func TestWhatIsTypedArrivesButForWhatIsTypedForUs(t *testing.T) {
	tests := []struct{ name, typed, want, ours string }{
		{"nothing of ours", "ls -l\r", "ls -l\r", ""},
		{"at the very beginning", "~.", "", "."},
		{"behind a line", "ls\r~.", "ls\r", "."},
		{"within a line", "ls ~.\r", "ls ~.\r", ""},
		{"an escape twice is one", "~~.\r", "~.\r", ""},
		{"a path", "~/bin\r", "~/bin\r", ""},
		{"an empty line and an escape", "\r\n~?", "\r\n", "?"},
		{"another escape right behind", "~?~.", "", "?."},
		{"an escape and a new line", "~\r~.", "~\r", "."},
		{"a control key", "a\r~\x1a", "a\r", "\x1a"},
		{"what is not known", "~x~.\r", "~x~.\r", ""},
		{"an escape that nothing follows", "~", "", ""},
		{"bytes of all kinds", "\x00\xff\x1b[A", "\x00\xff\x1b[A", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var ours []byte
			typed := iotest.OneByteReader(strings.NewReader(tt.typed))
			k := NewKeys(typed, never, '~', ".?\x1a", func(key byte) { ours = append(ours, key) })
			got, err := io.ReadAll(k)
			k.Cancel()
			if err != nil || string(got) != tt.want || string(ours) != tt.ours {
				t.Errorf("%q arrived and %q was ours, error %v; want %q and %q", got, ours, err, tt.want, tt.ours)
			}
		})
	}
}

func TestWithoutAnEscapeCharacterEverythingArrives(t *testing.T) {
	const typed = "~.\r~.\x00~."
	k := NewKeys(strings.NewReader(typed), never, NoEscape, ".", func(byte) { t.Error("something was ours") })
	got, err := io.ReadAll(k)
	if err != nil || string(got) != typed {
		t.Errorf("%q, error %v", got, err)
	}
}

func TestAnEscapeWorksWhileNobodyTakesWhatWasTyped(t *testing.T) {
	source, user := io.Pipe()
	ours := make(chan byte, 1)
	k := NewKeys(source, func() bool { return source.Close() == nil }, '~', ".", func(key byte) { ours <- key })
	first := make([]byte, 1)
	go func() {
		_, _ = user.Write([]byte("stuck\r"))
		_, _ = user.Write([]byte("~."))
	}()
	if _, err := k.Read(first); err != nil { // and no more
		t.Fatal(err)
	}
	if got := <-ours; got != '.' {
		t.Errorf("%q was ours", got)
	}
	if !k.Cancel() {
		t.Error("it cannot be ended")
	}
	if _, err := k.Read(first); !errors.Is(err, errCanceled) {
		t.Errorf("error %v after Cancel", err)
	}
}

func TestALargePasteArrivesWhole(t *testing.T) {
	paste := bytes.Repeat([]byte("0123456789abcde\r"), 1<<16)
	k := NewKeys(bytes.NewReader(paste), never, '~', ".", func(byte) {})
	got, err := io.ReadAll(k)
	if err != nil || !bytes.Equal(got, paste) {
		t.Errorf("%d of %d bytes, error %v", len(got), len(paste), err)
	}
}

func TestCancelEndsAReaderWithAFullPasteBehindIt(t *testing.T) {
	k := NewKeys(bytes.NewReader(make([]byte, 1<<20)), never, '~', ".", func(byte) {})
	if _, err := k.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if !k.Cancel() {
		t.Error("it cannot be ended")
	}
}

func TestKeysFailAsTheirSourceDoes(t *testing.T) {
	broken := errors.New("broken")
	k := NewKeys(io.MultiReader(strings.NewReader("ab"), failing{broken}), never, '~', ".", func(byte) {})
	got, err := io.ReadAll(k)
	if diff := cmp.Diff("ab", string(got)); diff != "" || !errors.Is(err, broken) {
		t.Errorf("error %v, %s", err, diff)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestAPanicOfTheReaderIsTheCallers(t *testing.T) {
	k := NewKeys(bursting{}, never, '~', ".", func(byte) {})
	defer k.Cancel()
	defer func() {
		if v := recover(); v == nil || !strings.Contains(v.(string), "burst") {
			t.Errorf("recovered %v", v)
		}
	}()
	_, _ = k.Read(make([]byte, 1))
	t.Error("no panic")
}

type bursting struct{}

func (bursting) Read([]byte) (int, error) { panic("burst") }
