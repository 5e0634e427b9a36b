package terminal

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"golang.org/x/term"
)

// Size is the size of a terminal in columns and rows, both at least 1.
type Size struct {
	Width, Height uint16
}

// errNoSize is the error for a terminal whose size was never set (0x0), such as
// a serial line.
var errNoSize = errors.New("the size of the terminal is not set")

// Size returns the current size of the output's terminal, because that is the
// one that the user sees. If the output is not a terminal or has no size, it
// returns the size of the input's terminal. It returns an error if neither has
// a size.
func (t *Terminal) Size() (Size, error) {
	if t.out != noTerminal {
		if size, err := sizeOf(t.out); err == nil {
			return size, nil
		}
	}
	return sizeOf(t.in)
}

func sizeOf(fd int) (Size, error) {
	width, height, err := term.GetSize(fd)
	if err != nil {
		return Size{}, fmt.Errorf("get the size of the terminal: %w", err)
	}
	if width <= 0 || height <= 0 {
		return Size{}, errNoSize
	}
	return Size{Width: cells(width), Height: cells(height)}, nil
}

func cells(n int) uint16 { return uint16(min(n, math.MaxUint16)) }

// Resized returns a channel that receives a value when the size may have
// changed since the last receive; the receiver then calls [Terminal.Size]. At
// most one value is buffered, however many changes there were. Call Resized
// before the first Size; otherwise a change between the two calls is missed.
//
// stop ends the notifications, and waits until the goroutine that sends them
// has ended. stop may be called more than once. The channel is never closed.
func (t *Terminal) Resized() (changed <-chan struct{}, stop func()) {
	notifications := make(chan struct{}, 1)
	quit, done := make(chan struct{}), make(chan struct{})
	wait, release := watchSize(t)
	go func() {
		defer t.RestoreOnPanic()
		defer close(done)
		defer release()
		for wait(quit) {
			select {
			case notifications <- struct{}{}:
			default: // one is buffered
			}
		}
	}()
	return notifications, sync.OnceFunc(func() {
		close(quit)
		<-done
	})
}

// Columns returns the width of the terminal stream in columns, or 0 if stream
// is not a terminal or its size is not known.
func Columns(stream any) int {
	size, err := sizeOf(terminalFd(stream))
	if err != nil {
		return 0
	}
	return int(size.Width)
}
