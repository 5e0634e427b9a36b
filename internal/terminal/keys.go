package terminal

import (
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// NoEscape switches the escape character off.
const NoEscape = 0

// maxKeys bounds what is typed ahead while the far side takes nothing, in bytes. More waits in the terminal, and an escape behind it.
const maxKeys = 64 << 10

// Keys are what is typed, without what is typed for us: at the beginning of a line the escape character and one of the keys that are known.
// Twice the escape character is one for the far side, as ssh has it. They are read in a goroutine of their own, so that an escape works
// while the far side takes nothing.
type Keys struct {
	source io.Reader
	stop   func() bool
	filter escapes
	do     func(key byte)
	anew   atomic.Bool // what is typed next begins a line

	mu      sync.Mutex
	changed sync.Cond
	reading chan struct{} // closed when the goroutine has ended; nil before it began
	typed   []byte
	err     error
	fault   string // a panic, on its way to who calls Read
	over    bool
}

// NewKeys reads source from the first Read on. Cancel calls stop, which ends a Read of source as Input.Cancel does. Do is called, from the
// goroutine that reads, with each key of known that was typed behind the escape character; it may call Cancel in another goroutine only.
func NewKeys(source io.Reader, stop func() bool, escape byte, known string, do func(key byte)) *Keys {
	k := &Keys{source: source, stop: stop, filter: escapes{char: escape, known: known, fresh: true}, do: do}
	k.changed.L = &k.mu
	return k
}

// Read implements io.Reader.
func (k *Keys) Read(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reading == nil && !k.over {
		k.reading = make(chan struct{})
		go k.read()
	}
	for len(k.typed) == 0 && k.err == nil && !k.over && k.fault == "" {
		k.changed.Wait()
	}
	switch {
	case k.fault != "":
		panic(k.fault)
	case k.over:
		return 0, ErrCanceled
	case len(k.typed) == 0:
		return 0, k.err
	}
	n := copy(p, k.typed)
	k.typed = k.typed[:copy(k.typed, k.typed[n:])]
	k.changed.Broadcast()
	return n, nil
}

// NewLine says that what is typed next begins a line, whatever was typed before: that is nobody's any more. It may be called from any goroutine.
func (k *Keys) NewLine() { k.anew.Store(true) }

// Cancel makes Read return, and waits until source is not read any more, if that can be had. It says whether it can.
func (k *Keys) Cancel() bool {
	k.mu.Lock()
	k.over = true
	k.changed.Broadcast()
	reading := k.reading
	k.mu.Unlock()
	if !k.stop() {
		return false
	}
	if reading != nil {
		<-reading
	}
	return true
}

func (k *Keys) read() {
	defer close(k.reading)
	defer k.catch()
	buf := make([]byte, 4<<10)
	for {
		n, err := k.source.Read(buf)
		if k.anew.Swap(false) {
			k.filter.fresh = true
		}
		for _, key := range buf[:n] {
			pass, ours := k.filter.take(key)
			if ours != 0 {
				k.do(ours)
			}
			k.pass(pass)
		}
		if !k.goOn(err) {
			return
		}
	}
}

// catch hands a panic to the caller of Read, where what restores the terminal can see it.
func (k *Keys) catch() {
	if value := recover(); value != nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.fault = fmt.Sprintf("%v\n\n%s", value, debug.Stack())
		k.changed.Broadcast()
	}
}

func (k *Keys) pass(keys []byte) {
	if len(keys) == 0 {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for len(k.typed) >= maxKeys && !k.over {
		k.changed.Wait()
	}
	k.typed = append(k.typed, keys...)
	k.changed.Broadcast()
}

func (k *Keys) goOn(err error) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
	k.changed.Broadcast()
	return err == nil && !k.over
}

// escapes tells the keys that are ours from the others.
type escapes struct {
	char  byte
	known string
	fresh bool // at the beginning of a line
	held  bool // char has been typed there
	out   [2]byte
}

// take takes a key, and gives what is to be passed on, and the key that was typed for us, or 0. The keys are valid until the next call.
func (e *escapes) take(key byte) (pass []byte, ours byte) {
	held := e.held
	e.held = false
	switch {
	case held && key == e.char:
		e.fresh = false
		return e.keep(key), 0
	case held && isOneOf(key, e.known):
		e.fresh = true
		return nil, key
	case held:
		e.fresh = newLine(key)
		e.out = [2]byte{e.char, key}
		return e.out[:], 0
	case e.char != NoEscape && e.fresh && key == e.char:
		e.held = true
		return nil, 0
	}
	e.fresh = newLine(key)
	return e.keep(key), 0
}

func (e *escapes) keep(key byte) []byte {
	e.out[0] = key
	return e.out[:1]
}

func newLine(key byte) bool { return key == '\r' || key == '\n' }

func isOneOf(key byte, known string) bool {
	for i := range len(known) {
		if known[i] == key {
			return true
		}
	}
	return false
}
