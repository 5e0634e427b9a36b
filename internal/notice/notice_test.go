package notice

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// remoteOutput is a Screen that writes to a buffer.
type remoteOutput struct {
	*bytes.Buffer
	midLine bool
}

func (r *remoteOutput) write(text string) {
	r.WriteString(text)
	if text != "" {
		r.midLine = !strings.HasSuffix(text, "\n")
	}
}

func (r *remoteOutput) BetweenLines(write func(midLine bool)) {
	write(r.midLine)
	r.midLine = false
}

func TestPrinter_QuietVerboseRaw(t *testing.T) {
	const (
		note    = "kshell: note 1\nkshell: warning: warning 1\n"
		always  = "kshell: note 2\nkshell: warning: warning 2\nhint: hint 2\n"
		details = "kshell: detail 3\nkshell: log line\n"
		failure = "kshell: broken: worse still\nhint: type this\nhint: or that\n"
	)
	tests := []struct {
		name      string
		quiet     bool
		verbosity int
		raw       bool
		want      string
	}{
		{"no flags", false, 0, false, note + always + failure},
		{"-q", true, 0, false, always + failure},
		{"-q and -v", true, 1, false, always + failure},
		{"-v", false, 1, false, note + always + details + failure},
		{"-vv", false, 2, false, note + always + details + failure},
		{"raw", false, 1, true, strings.ReplaceAll(note+always+details+failure, "\n", "\r\n")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			p := New(&out)
			p.Quiet, p.Verbosity = tt.quiet, tt.verbosity
			if tt.raw {
				p.SetRaw(&remoteOutput{Buffer: &out})
			}
			p.Note("note %d", 1)
			p.Warn("warning %d", 1)
			p.NoteAlways("note %d", 2)
			p.WarnAlways("warning %d", 2)
			p.Hint("hint %d", 2)
			p.Detail("detail %d", 3)
			_, _ = fmt.Fprintln(p.DetailWriter(), "log line")
			p.Error(WithHint(fmt.Errorf("broken: %w", errors.New("worse\nstill")), "type this\nor that\n"))
			p.Error(nil)
			if diff := cmp.Diff(tt.want, out.String()); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPrinter_SetCooked(t *testing.T) {
	var out bytes.Buffer
	p := New(&out)
	p.SetRaw(&remoteOutput{Buffer: &out})
	p.Note("a")
	p.SetCooked()
	p.Note("b")
	if got, want := out.String(), "kshell: a\r\nkshell: b\n"; got != want {
		t.Errorf("messages %q, want %q", got, want)
	}
}

func TestPrinter_RemoteLineNotEnded(t *testing.T) {
	var out bytes.Buffer
	p, r := New(&out), &remoteOutput{Buffer: &out}
	p.SetRaw(r)
	for _, remote := range []string{"line\r\n", "$ ", ""} {
		r.write(remote)
		p.Note("a")
	}
	r.write("$ ")
	p.SetCooked()
	p.Note("b")
	want := "line\r\nkshell: a\r\n" + "$ \r\nkshell: a\r\n" + "kshell: a\r\n" + "$ \nkshell: b\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

func TestPrinter_WithPrefix(t *testing.T) {
	var out, redirected bytes.Buffer
	p := New(&out)
	p.Verbosity = 1
	a := p.WithPrefix("web-0")
	a.Detail("detail")
	undo := p.Redirect(&redirected)
	a.Warn("warning")
	a.Error(WithHint(errors.New("broken"), "type this"))
	undo()
	a.NoteAlways("note")
	if got, want := out.String(), "kshell: web-0: detail\nkshell: web-0: note\n"; got != want {
		t.Errorf("messages %q, want %q", got, want)
	}
	want := "kshell: warning: web-0: warning\nkshell: web-0: broken\nhint: type this\n"
	if got := redirected.String(); got != want {
		t.Errorf("redirected messages %q, want %q", got, want)
	}
}

func TestWithMessage(t *testing.T) {
	inner := WithHint(errors.New("a"), "hint")
	err := WithMessage(inner, "b")
	if err.Error() != "b" || HintOf(err) != "hint" || !errors.Is(err, inner) {
		t.Errorf("message %q, hint %q", err, HintOf(err))
	}
	if got := HintOf(errors.New("a")); got != "" {
		t.Errorf("hint %q of an error without one", got)
	}
}
