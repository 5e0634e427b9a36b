package stream

import (
	"context"
	"io"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// funcLink is a Driver and an observer made of functions, each of which may be
// nil except Dial.
type funcLink struct {
	Dial func(ctx context.Context) (*Conn, error)

	OnConnect func(attempt int)
	OnOpen    func(*Conn) error
	OnFail    func(error)
	OnWait    func(time.Duration)

	Reconnect      Reconnect
	ConnectTimeout time.Duration
	Backoff        wait.Backoff
	Eager          bool
	GiveUpAfter    time.Duration
}

type funcDriver struct{ *funcLink }

func (d funcDriver) Dial(ctx context.Context) (*Conn, error) { return d.funcLink.Dial(ctx) }

func (d funcDriver) Opened(_ context.Context, conn *Conn) error {
	if d.OnOpen == nil {
		return nil
	}
	return d.OnOpen(conn)
}

func (d funcDriver) Ended(_ context.Context, err error) error { return err }

func call[T any](f func(T), v T) {
	if f != nil {
		f(v)
	}
}

func (l *funcLink) observe(e Event) {
	switch e := e.(type) {
	case Connecting:
		call(l.OnConnect, e.Attempt)
	case Failed:
		call(l.OnFail, e.Err)
	case Waiting:
		call(l.OnWait, e.Delay)
	}
}

// settings returns the settings of a link that has no observer unless OnFail is
// set.
func (l *funcLink) settings() LinkSettings {
	s := LinkSettings{
		Reconnect: l.Reconnect, ConnectTimeout: l.ConnectTimeout, Backoff: l.Backoff,
		Eager: l.Eager, GiveUpAfter: l.GiveUpAfter,
	}
	if s.Reconnect == ReconnectDefault && l.OnFail == nil {
		s.Reconnect = ReconnectAlways
	}
	return s
}

// funcSession makes a Session from functions and settings. Set the fields
// before the first call of a method. The methods may be called from any
// goroutine.
type funcSession struct {
	funcLink

	OnEnded   func(ctx context.Context, err error) error // Ended
	OnStart   func()
	OnOverdue func(overdue time.Duration)

	Stdin          io.Reader
	CancelStdin    func() bool
	FilterStdin    func(p []byte, connection int) []byte
	Stdout, Stderr io.Writer
	Interactive    bool
	Keepalive      time.Duration
	IdleKeepalive  bool
	OnStuck        func(ctx context.Context) error
	StartTimeout   time.Duration
	WithOutput     bool
	Proof          time.Duration
	Size           func() (width, height uint16, ok bool)
	Resized        <-chan struct{}

	once sync.Once
	made *Session
}

type funcStdin struct {
	io.Reader
	cancel func() bool
}

func (s funcStdin) Cancel() bool { return s.cancel() }

type funcFilter func(p []byte, connection int) []byte

func (f funcFilter) Filter(p []byte, connection int) []byte { return f(p, connection) }

type funcWindow struct{ *funcSession }

func (w funcWindow) Size() (width, height uint16, ok bool) { return w.funcSession.Size() }
func (w funcWindow) Resized() <-chan struct{}              { return w.funcSession.Resized }

type endedDriver struct{ *funcSession }

func (j endedDriver) Dial(ctx context.Context) (*Conn, error) { return j.funcLink.Dial(ctx) }

func (j endedDriver) Opened(ctx context.Context, conn *Conn) error {
	return funcDriver{&j.funcLink}.Opened(ctx, conn)
}

func (j endedDriver) Ended(ctx context.Context, err error) error {
	if j.OnEnded == nil {
		return err
	}
	return j.OnEnded(ctx, err)
}

func (s *funcSession) observe(e Event) {
	switch e := e.(type) {
	case Overdue:
		call(s.OnOverdue, e.For)
	case Started:
		if s.OnStart != nil {
			s.OnStart()
		}
	default:
		s.funcLink.observe(e)
	}
}

type funcChecker struct{ *funcSession }

func (c funcChecker) CheckStuck(ctx context.Context) error { return c.OnStuck(ctx) }

// session returns the Session, which is made by the first call.
func (s *funcSession) session() *Session {
	s.once.Do(func() { s.made = s.newSession() })
	return s.made
}

func (s *funcSession) newSession() *Session {
	set := Settings{
		LinkSettings: s.settings(), Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr,
		Interactive: s.Interactive, Keepalive: s.Keepalive, IdleKeepalive: s.IdleKeepalive,
		StartTimeout: s.StartTimeout, WithOutput: s.WithOutput, Proof: s.Proof, CheckStuck: s.OnStuck != nil,
	}
	if s.CancelStdin != nil {
		set.Stdin = funcStdin{s.Stdin, s.CancelStdin}
	}
	if s.FilterStdin != nil {
		set.StdinFilter = funcFilter(s.FilterStdin)
	}
	if s.Size != nil {
		set.Window = funcWindow{s}
	}
	var d Driver = endedDriver{s}
	if s.OnStuck != nil {
		d = struct {
			Driver
			StuckChecker
		}{d, funcChecker{s}}
	}
	return NewSession(d, s.observe, set)
}

func (s *funcSession) Run(ctx context.Context) error { return s.session().Run(ctx) }
func (s *funcSession) Again()                        { s.session().Again() }
func (s *funcSession) Drop(reason error)             { s.session().Drop(reason) }
func (s *funcSession) Conn() *Conn                   { return s.session().Conn() }
func (s *funcSession) Redraw()                       { s.session().Redraw() }

func (s *funcSession) RoundTrip(ctx context.Context) (time.Duration, bool) {
	return s.session().RoundTrip(ctx)
}

// newEvents makes Events from functions.
func (l *funcLink) newEvents(deliver func([]byte) error) *Events {
	return NewEvents(funcDriver{l}, l.observe, l.settings(), deliver)
}
