package terminal

import (
	"fmt"
	"io"
	"os"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/term"
)

// console is a source that reads the text of a console as UTF-8. Before it
// reads the console, it waits for a key or for an interruption. Outside raw
// mode, the console returns whole lines: a read of the console that has begun
// lasts until Enter and cannot be interrupted.
//
// It does not use os.File.Read, because that treats Ctrl-Z as the end of the
// input.
type console struct {
	handle windows.Handle
	wake   windows.Handle // an event, set by interrupt

	units   [4096]uint16 // ReadConsole fails for very large buffers
	half    uint16       // a high surrogate whose low surrogate was not read yet
	text    [3*4096 + 3]byte
	pending []byte // the part of text that was not returned yet
}

func fileSource(f *os.File) (source, error) {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return direct{f}, nil
	}
	wake, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return nil, fmt.Errorf("prepare to read %s: %w", f.Name(), err)
	}
	return &console{handle: windows.Handle(fd), wake: wake}, nil
}

func (c *console) read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(c.pending) == 0 {
		if err := c.wait(); err != nil {
			return 0, err
		}
		if err := c.fill(len(p)); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.pending)
	c.pending = c.pending[n:]
	return n, nil
}

// fill reads text into pending: at least one UTF-16 unit, but no more units
// than fit into size bytes, at 3 bytes of UTF-8 each. The limit keeps pending
// short, because what is in pending when reading stops is lost. fill returns
// io.EOF if the console returns no unit: after Ctrl-Break or, outside raw mode,
// Ctrl-C.
func (c *console) fill(size int) error {
	units := uint32(max(1, min(size/3, len(c.units))))
	var n uint32
	if err := windows.ReadConsole(c.handle, &c.units[0], units, &n, nil); err != nil {
		return fmt.Errorf("read the console: %w", err)
	}
	if n == 0 {
		return io.EOF
	}
	c.pending, c.half = appendUTF8(c.text[:0], c.half, c.units[:n])
	return nil
}

// appendUTF8 appends units to dst as UTF-8. half, if not 0, is the high
// surrogate before units. If the last unit is a high surrogate, it is returned
// as rest, which the caller passes as half to the next call.
func appendUTF8(dst []byte, half uint16, units []uint16) (text []byte, rest uint16) {
	for _, unit := range units {
		r := rune(unit)
		if half != 0 {
			pair := utf16.DecodeRune(rune(half), r)
			half = 0
			dst = utf8.AppendRune(dst, pair)
			if pair != utf8.RuneError {
				continue
			}
		}
		if 0xd800 <= r && r < 0xdc00 {
			half = unit
			continue
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, half
}

// wait waits until there is text to read. It returns errInterrupted after
// interrupt.
func (c *console) wait() error {
	for {
		event, err := windows.WaitForMultipleObjects([]windows.Handle{c.wake, c.handle}, false, windows.INFINITE)
		if err != nil {
			return fmt.Errorf("wait for the console: %w", err)
		}
		if event == windows.WAIT_OBJECT_0 {
			return errInterrupted
		}
		ready, err := c.skipToText()
		if ready || err != nil {
			return err
		}
	}
}

// skipToText removes events that produce no text (released keys, mouse, focus,
// window) from the front of the queue, because a read blocks if the queue
// contains only such events. It reports whether the next event produces text.
func (c *console) skipToText() (bool, error) {
	for {
		var event inputRecord
		n, err := c.next(peekConsoleInput, &event)
		if n == 0 || err != nil {
			return false, err
		}
		if event.isText() {
			return true, nil
		}
		if _, err := c.next(readConsoleInput, &event); err != nil {
			return false, err
		}
	}
}

// next calls proc, which is peekConsoleInput or readConsoleInput, for one
// event. n is 0 if the queue contains no event.
func (c *console) next(proc *windows.LazyProc, event *inputRecord) (n uint32, err error) {
	ok, _, err := proc.Call(uintptr(c.handle), uintptr(unsafe.Pointer(event)), 1, uintptr(unsafe.Pointer(&n)))
	if ok == 0 {
		return 0, fmt.Errorf("read the events of the console: %w", err)
	}
	return n, nil
}

func (c *console) interrupt() bool { return windows.SetEvent(c.wake) == nil }

func (c *console) close() { _ = windows.CloseHandle(c.wake) }

var (
	kernel32         = windows.NewLazySystemDLL("kernel32.dll")
	peekConsoleInput = kernel32.NewProc("PeekConsoleInputW")
	readConsoleInput = kernel32.NewProc("ReadConsoleInputW")
)

// inputRecord is INPUT_RECORD of the Windows API. Of the union in INPUT_RECORD,
// it has only KEY_EVENT_RECORD; no member of the union is larger.
type inputRecord struct {
	eventType uint16
	_         uint16
	keyDown   int32
	_         uint16 // repeat count
	keyCode   uint16
	_         uint16 // scan code
	char      uint16
	_         uint32 // control keys
}

// isText reports whether the event produces text in a read. A character that is
// typed with Alt and the digits of its code arrives with the release of Alt.
func (e *inputRecord) isText() bool {
	const keyEvent, vkMenu = 1, 0x12
	return e.eventType == keyEvent && e.char != 0 && (e.keyDown != 0 || e.keyCode == vkMenu)
}
