package terminal

import (
	"errors"
	"fmt"
	"math"
	"sync"

	"golang.org/x/term"
)

// Size is the size of a terminal in character cells: columns and rows, both at
// least 1.
type Size struct {
	Width, Height uint16
}

// errNoSize is for a terminal that was never told its size (0x0), such as a
// serial line.
var errNoSize = errors.New("the terminal reports no size")

// Size asks the terminal for its size at this moment: the output first, as that
// is what the user sees, then the input. It is an error if neither knows.
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
		return Size{}, fmt.Errorf("ask the terminal for its size: %w", err)
	}
	if width <= 0 || height <= 0 {
		return Size{}, errNoSize
	}
	return Size{Width: cells(width), Height: cells(height)}, nil
}

func cells(n int) uint16 { return uint16(min(n, math.MaxUint16)) }

// Resized returns a channel that has a value when the size may have changed
// since the last receive; ask [Terminal.Size] then. However many changes there
// were, one value is waiting. Call Resized before the first Size, or a change
// between the two is missed.
//
// Stop ends the notices and waits for the goroutine behind them; it may be
// called more than once. The channel is never closed.
func (t *Terminal) Resized() (changed <-chan struct{}, stop func()) {
	notices := make(chan struct{}, 1)
	quit, done := make(chan struct{}), make(chan struct{})
	wait, release := watchSize(t)
	go func() {
		defer t.RestoreOnPanic()
		defer close(done)
		defer release()
		for wait(quit) {
			select {
			case notices <- struct{}{}:
			default: // one is waiting already, and says the same
			}
		}
	}()
	return notices, sync.OnceFunc(func() {
		close(quit)
		<-done
	})
}
