package exact

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShell_MessagesRemoved(t *testing.T) {
	for _, chunk := range []int{1, 7, 1000} {
		s := NewShell(nil, "")
		var out bytes.Buffer
		w := s.Output(&out)
		for rest := "before" + markStart + s.mark + "running 42\r\n$ ls\x1e\r\n"; rest != ""; {
			n := min(chunk, len(rest))
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if got, want := out.String(), "before$ ls\x1e\r\n"; got != want {
			t.Errorf("pieces of %d: %q, want %q", chunk, got, want)
		}
		if s.State() != Running {
			t.Errorf("state %v", s.State())
		}
		if got := s.HangUpCommand(); len(got) == 0 || got[len(got)-1] != "42" {
			t.Errorf("HangUpCommand %q", got)
		}
		s.Reset()
		if s.State() != Unknown || s.HangUpCommand() != nil {
			t.Error("Reset keeps the old shell")
		}
	}
}

func TestShell_NotStarted(t *testing.T) {
	for message, want := range map[string]State{
		"ended missing": NoCommand, "ended nowhere": NoDirectory, "running x; rm": Running, "what": Unknown,
	} {
		s := NewShell(nil, "")
		_, _ = s.Output(&bytes.Buffer{}).Write([]byte(markStart + s.mark + message + "\r\n"))
		if s.State() != want || s.HangUpCommand() != nil {
			t.Errorf("%s: state %v, HangUpCommand %q", message, s.State(), s.HangUpCommand())
		}
	}
}

func TestShell_EnvironmentAndDirectory(t *testing.T) {
	s := NewShell([]string{"A=1", IfKnown + "LANG=x"}, "/d")
	got := s.Command([]string{"cmd", "-x"})
	if diff := cmp.Diff([]string{"/d", "2", "A=1", "?LANG=x", "cmd", "-x"}, got[6:]); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(strings.Join(got, " "), s.mark) {
		t.Error("the arguments contain the mark")
	}
}
