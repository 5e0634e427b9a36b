package stream

import "context"

// testDriver is a Driver that calls its functions. opened and ended may be nil.
type testDriver struct {
	dial   func(context.Context) (*Conn, error)
	opened func(*Conn) error
	ended  func(context.Context, error) error
}

func (d *testDriver) Dial(ctx context.Context) (*Conn, error) { return d.dial(ctx) }

func (d *testDriver) Opened(_ context.Context, conn *Conn) error {
	if d.opened == nil {
		return nil
	}
	return d.opened(conn)
}

func (d *testDriver) Ended(ctx context.Context, err error) error {
	if d.ended == nil {
		return err
	}
	return d.ended(ctx, err)
}

// checkingDriver is a testDriver that is a StuckChecker.
type checkingDriver struct {
	testDriver
	checkStuck func() error
}

func (d *checkingDriver) CheckStuck(context.Context) error { return d.checkStuck() }

// newTestSession returns a session without an observer.
func newTestSession(dial func(context.Context) (*Conn, error), s Settings) *Session {
	return NewSession(&testDriver{dial: dial}, nil, s)
}

// noReconnect are the settings of a session that ends with its first
// connection.
var noReconnect = LinkSettings{Reconnect: ReconnectNever}

// alwaysReconnect are the settings of a session that reconnects although it has
// an observer.
var alwaysReconnect = LinkSettings{Reconnect: ReconnectAlways}

// on returns an observer that calls f with the events of type T.
func on[T Event](f func(T)) func(Event) {
	return func(e Event) {
		if e, ok := e.(T); ok {
			f(e)
		}
	}
}

// testWindow is a Window of 24 rows.
type testWindow struct {
	width   func() uint16 // nil means 80 columns
	resized chan struct{}
}

func (w testWindow) Size() (width, height uint16, ok bool) {
	if w.width == nil {
		return 80, 24, true
	}
	return w.width(), 24, true
}

func (w testWindow) Resized() <-chan struct{} { return w.resized }
