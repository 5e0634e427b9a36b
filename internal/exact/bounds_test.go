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
	f := newFar()
	message := lead + f.mark + strings.Repeat("x", maxWords)
	if err := deliver(f.Stdout(), message); err != nil {
		t.Errorf("message of %d bytes: %v", maxWords, err)
	}
	if err := deliver(f.Stdout(), "x"); !errors.Is(err, errGarbled) {
		t.Errorf("message of %d bytes: %v, want errGarbled", maxWords+1, err)
	}
}

func TestInput_BufferHoldsOneBlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := newInput(t, &endless{})
		in.begin()
		synctest.Wait()
		if len(in.next) != maxBlock {
			t.Errorf("%d bytes are buffered, want %d", len(in.next), maxBlock)
		}
	})
}

// Up to the capacity of a pipe, the script sees the end of its stdin.
func TestLeftover_PipeCapacity(t *testing.T) {
	for _, size := range []int64{pipe, pipe + 1} {
		r := New(Options{})
		_ = deliver(r.Stderr(), lead+r.mark+running+"\n")
		r.in.bytes = size
		if got := r.TerminateCommand(); (got != nil) != (size > pipe) {
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

func TestShell_Alive(t *testing.T) {
	for message, want := range map[string][]string{
		"":                          nil,
		wordRunning + "4321":        {"sh", "-c", "[ -d /proc/4321 ]"},
		wordRunning + "1; rm -r /":  nil,
		wordEnded + wordMissing:     nil,
		wordRunning + "99999999999": nil,
	} {
		s := NewShell(nil, "")
		_, _ = s.Output(io.Discard).Write([]byte(lead + s.mark + message + "\n"))
		if got := s.AliveCommand(); !slices.Equal(got, want) {
			t.Errorf("after the message %q: %q, want %q", message, got, want)
		}
	}
}
