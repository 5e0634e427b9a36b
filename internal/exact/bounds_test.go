package exact

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

func TestFilter_LongestMessage(t *testing.T) {
	f := newScriptedRun()
	message := markStart + f.mark + strings.Repeat("x", maxMessage)
	if err := writePieces(f.Stdout(), message); err != nil {
		t.Errorf("message of %d bytes: %v", maxMessage, err)
	}
	if err := writePieces(f.Stdout(), "x"); !errors.Is(err, errBadMessage) {
		t.Errorf("message of %d bytes: %v, want errBadMessage", maxMessage+1, err)
	}
}

func TestInput_BufferHoldsOneBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInput(t, &endlessReader{})
		in.start()
		synctest.Wait()
		if in.buffered.len != maxBlock {
			t.Errorf("%d bytes are buffered, want %d", in.buffered.len, maxBlock)
		}
	})
}

// If the input fits in a pipe, the script reads the end of its stdin and ends
// the command, so TerminateCommand returns nil.
func TestTerminateCommand_PipeCapacity(t *testing.T) {
	for _, size := range []int64{pipeCapacity, pipeCapacity + 1} {
		r := New(Options{})
		_ = writePieces(r.Stderr(), markStart+r.mark+runningMessage+"\n")
		r.stdin.sentBytes = size
		if got := r.TerminateCommand(); (got != nil) != (size > pipeCapacity) {
			t.Errorf("after %d bytes of input: %q", size, got)
		}
	}
}

func TestCommand_Dir(t *testing.T) {
	for dir, want := range map[string]string{"": "", "/tmp": "/tmp", "tmp": "./tmp", "-": "./-", "-P": "./-P"} {
		r := New(Options{Dir: dir})
		args := r.Command([]string{"ls"})
		if got := args[len(args)-3:]; !slices.Equal(got, []string{want, "0", "ls"}) {
			t.Errorf("directory %q: the arguments end with %q, want %q", dir, got, want)
		}
	}
}

func TestShell_AliveCommand(t *testing.T) {
	for message, want := range map[string][]string{
		"":                              nil,
		messageRunning + "4321":         {"sh", "-c", "[ -d /proc/4321 ]"},
		messageRunning + "1; rm -r /":   nil,
		messageEnded + outcomeNoCommand: nil,
		messageRunning + "99999999999":  nil,
	} {
		s := NewShell(nil, "")
		_, _ = s.Output(io.Discard).Write([]byte(markStart + s.mark + message + "\n"))
		if got := s.AliveCommand(); !slices.Equal(got, want) {
			t.Errorf("after the message %q: %q, want %q", message, got, want)
		}
	}
}
