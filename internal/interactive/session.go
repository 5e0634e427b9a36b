package interactive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"kshell/internal/cleanup"
	"kshell/internal/outcome"
	"kshell/internal/remote"
	"kshell/internal/stream"
	"kshell/internal/terminal"
)

// Session is a session on the local terminal. After Console.Open, the caller
// calls Run once and then Close. Redraw and Drop may be called from any
// goroutine while Run runs.
type Session struct {
	console *Console
	env     remote.Env
	term    *terminal.Terminal
	input   *terminal.Input
	keys    *terminal.Keys // reads input
	lines   *terminal.LineGuard
	outage  *outage
	begin   time.Time
	resumes bool // see remote.Command.Resumes

	opened    chan struct{} // closed when the first connection is open
	setOpened func()        // closes opened

	// Set by Run.
	remote     *remote.Session
	ctx        context.Context // ends with the session
	leave      context.CancelCauseFunc
	reconnects bool

	lost          atomic.Int32  // the number of lost connections
	target        remote.Target // of the last connection; used only by noteConnected
	processors    atomic.Int32  // GOMAXPROCS before useOneProcessor; 0 if Close must not restore it
	wasRaw        atomic.Bool   // the session has set raw mode, and no credential plugin uses the terminal
	notedOverdue  bool          // the user was told that the server does not answer; used only by observe
	notedOutage   bool          // the user was told that the network is out; used only by observe
	receivedBytes atomic.Int64  // of output; counted only if Ctrl-C may have to end the session

	resized                    <-chan struct{}
	stopResized, stopContinued func()
	closing                    sync.Once
}

// Open opens the local terminal. It does not change the modes of the terminal.
// The first call prints Options.Notice.
func (c *Console) Open() (*Session, error) {
	c.notice.Do(func() {
		if c.options.Notice != "" {
			c.env.Notice.NoteAlways("%s", c.options.Notice)
		}
	})
	input, err := terminal.NewInput(c.env.In) // each session cancels its input, so it needs its own
	if err != nil {
		return nil, fmt.Errorf("stdin: %w", err)
	}
	t, err := terminal.Open(c.env.In, c.env.Out, c.env.Cleanup.AfterPanic)
	if err != nil {
		return nil, err
	}
	s := &Session{console: c, env: c.env, input: input, begin: time.Now(), term: t}
	s.resumes = c.cmd.Resumes()
	s.outage = newOutage(c, s.resumes)
	s.opened = make(chan struct{})
	s.setOpened = sync.OnceFunc(func() { close(s.opened) })
	s.lines = terminal.NewLineGuard(c.options.SameShell, s.noteWithheld)
	c.env.Cleanup.SetTerminal(t)
	s.resized, s.stopResized = t.Resized()
	s.stopContinued = t.OnContinue(s.continued)
	return s, nil
}

// useStatusLine enables the screen's status line, unless messages are switched
// off, or stdout or stderr is not a terminal that can draw one.
func (s *Session) useStatusLine() {
	if s.env.Notice.Quiet || isDumb(os.Getenv("TERM")) ||
		!terminal.IsTerminal(s.env.Err) || !terminal.IsTerminal(s.env.Out) {
		return
	}
	s.console.screen.EnableStatus(s.env.Err, func() int {
		size, err := s.term.Size()
		if err != nil {
			return 0
		}
		return int(size.Width)
	}, s.remote.Redraw)
}

// isDumb reports whether a terminal of this kind (TERM) can only write lines.
func isDumb(kind string) bool { return kind == "" || kind == "dumb" }

// Close restores the terminal. Only the first call has an effect.
func (s *Session) Close() {
	s.closing.Do(func() {
		s.outage.stopCountdown()
		s.console.screen.SetStatus("")
		s.stopContinued()
		s.stopResized()
		s.term.Close()
		s.env.Notice.SetCooked()
		if n := s.processors.Swap(0); n > 0 {
			runtime.GOMAXPROCS(int(n))
		}
	})
}

// useOneProcessor sets GOMAXPROCS to 1 until Close. A key and its echo pass
// through several goroutines, but only one of them has work at a time. With more
// processors, the runtime would wake another thread for each of them. If a Read
// of the terminal occupies a thread, useOneProcessor does nothing: the other
// goroutines would wait up to 10 ms until the runtime gives them the processor.
func (s *Session) useOneProcessor() {
	if s.input.Polled() && s.processors.Load() == 0 {
		s.processors.Store(int32(runtime.GOMAXPROCS(1)))
	}
}

// Redraw makes a full-screen program redraw the screen.
func (s *Session) Redraw() { s.remote.Redraw() }

// Drop closes the connection; see stream.Conn.Drop.
func (s *Session) Drop(reason error) { s.remote.Drop(reason) }

// Run runs the session, which reconnects after a connection is lost. It adds
// stdin and the reconnect policy of a terminal to the settings. Its errors are
// those of stream.Session.Run, outcome.ErrLeft, outcome.IdleError, and
// *outcome.GaveUpError. If the user types Ctrl-C while no connection is open, the
// error is a cleanup.SignalError, as after SIGINT.
func (s *Session) Run(ctx context.Context, d stream.Driver, set stream.Settings) error {
	c, o := s.console, s.console.cmd.Options()
	ctx, s.leave = context.WithCancelCause(ctx)
	s.ctx = ctx
	defer s.leave(nil)
	s.keys = terminal.NewKeys(s.input, s.input.Cancel, c.options.Escape, s.escapeKeys(), s.press)
	defer s.watchIdle(ctx)()
	if o.Attach != nil { // the agent first sends older output
		s.keys.DropReports()
	}
	if set.WithOutput {
		c.cmd.SetInput(s.keys)
	} else {
		c.cmd.SetInput(interruptReader{s.keys, s})
		set.Stdout = receivedWriter{set.Stdout, s}
	}
	set.Stdin, set.StdinFilter, set.Window = c.cmd.Settings().Stdin, s.lines, s
	set.Interactive, set.Eager = true, true
	set.Reconnect, set.GiveUpAfter = stream.ReconnectAlways, o.ReconnectTimeout
	if o.Reconnect == remote.ReconnectNever {
		set.Reconnect = stream.ReconnectNever
	}
	s.reconnects = set.Reconnect == stream.ReconnectAlways
	s.remote = c.cmd.NewSession(driver{d, s}, s.observe, set)
	s.useStatusLine()
	err := s.remote.Run(ctx)
	if errors.Is(err, stream.ErrInterrupted) {
		s.leave(cleanup.SignalError{Signal: syscall.SIGINT}) // ContextCause returns it
	}
	var exit *stream.ExitError
	if err != nil && !errors.As(err, &exit) && !c.options.SameShell {
		c.Tidy()
	}
	return outcome.ContextCause(ctx, s.outage.gaveUp(err))
}

// watchIdle makes the session end if no key is typed for Options.IdleTimeout
// after the first connection was opened. The caller must call stop at the end of
// the session.
func (s *Session) watchIdle(ctx context.Context) (stop func()) {
	limit := s.console.options.IdleTimeout
	if limit <= 0 {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	w := newIdleWatch(limit)
	w.warn = func() {
		s.console.Alert(fmt.Sprintf(
			"the session ends in %s, unless you type a key (--idle-timeout)", remote.Seconds(w.notice)))
	}
	w.clear = func() { s.console.ClearAlert() }
	w.end = func() { s.leave(outcome.IdleError{After: limit}) }
	s.keys.OnTyped(w.typed)
	var watching sync.WaitGroup
	watching.Go(func() {
		defer s.env.Cleanup.OnPanic()
		select {
		case <-s.opened:
			w.run(ctx)
		case <-ctx.Done():
		}
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// driver is a stream.Driver for a session on the terminal. While Dial opens a
// connection, a credential plugin may use the terminal. When a connection is
// open, Opened makes the terminal raw.
type driver struct {
	stream.Driver
	session *Session
}

// Dial implements stream.Driver.
func (d driver) Dial(ctx context.Context) (*stream.Conn, error) {
	defer d.session.lend()()
	return d.Driver.Dial(ctx)
}

// Opened implements stream.Driver. It makes the terminal raw only after the
// wrapped driver's Opened, so that Ctrl-C sends a signal until then. As a key,
// Ctrl-C would have no effect, because no key is read before Opened returns.
func (d driver) Opened(ctx context.Context, conn *stream.Conn) error {
	if err := d.Driver.Opened(ctx, conn); err != nil {
		return err
	}
	if err := d.session.makeRaw(); err != nil {
		return err
	}
	d.session.noteConnected()
	d.session.setOpened()
	return nil
}

// Ended implements stream.Driver. If the session ends with err, it releases the
// terminal before it calls the wrapped driver's Ended, which may send requests
// and wait for their answers.
func (d driver) Ended(ctx context.Context, err error) error {
	s := d.session
	if s.outage.sameShell || s.reconnects && continues(err) {
		return d.Driver.Ended(ctx, err)
	}
	takeBack := s.release()
	err = d.Driver.Ended(ctx, err)
	if s.reconnects && continues(err) {
		takeBack()
	}
	return err
}

// continues reports whether a session that reconnects continues after a
// connection that ended with err.
func continues(err error) bool {
	var lost *stream.LostError
	var notReady *stream.NotReadyError
	return errors.As(err, &lost) || errors.As(err, &notReady)
}

// release stops reading the terminal, so that the next program can read what is
// typed from now on, and restores the terminal's modes, so that Ctrl-C sends a
// signal. takeBack sets raw mode and reads the terminal again.
func (s *Session) release() (takeBack func()) {
	if !s.wasRaw.Load() {
		return func() {}
	}
	resume, ok := s.input.Pause()
	if !ok {
		return func() {}
	}
	s.console.screen.SetStatus("")
	s.wasRaw.Store(false) // so that s.continued does not set raw mode
	s.term.Restore()
	s.env.Notice.SetCooked()
	return func() {
		_ = s.raw() // an error does not matter: makeRaw calls raw again and returns its error
		s.env.Notice.SetRaw(s.console.screen)
		resume()
	}
}

// makeRaw sets raw mode at the beginning of a connection.
func (s *Session) makeRaw() error {
	s.keys.NewLine()
	if err := s.raw(); err != nil {
		return err
	}
	s.useOneProcessor()
	s.env.Notice.SetRaw(s.console.screen)
	return nil
}

// raw sets raw mode. Close restores the terminal.
func (s *Session) raw() error {
	if _, err := s.term.Raw(); err != nil {
		return err
	}
	s.wasRaw.Store(true)
	return nil
}

// suspend suspends kshell.
func (s *Session) suspend() {
	s.term.Restore()
	err := terminal.Suspend()
	s.continued()
	if err != nil {
		s.env.Notice.WarnAlways("%s", err)
	}
}

// continued sets raw mode again after kshell was stopped. While kshell is in
// the background, setting raw mode fails. This does not matter, because
// continued is called again when kshell comes to the foreground.
func (s *Session) continued() {
	if s.wasRaw.Load() {
		_ = s.raw()
	}
}

// observe receives the events of the session, and tells the user about them.
func (s *Session) observe(e stream.Event) {
	switch e := e.(type) {
	case stream.Connecting:
		s.outage.connecting()
	case stream.Unanswered:
		s.outage.unanswered(e.For)
	case stream.Failed:
		var lost *stream.LostError
		if errors.As(e.Err, &lost) { // other errors are failed attempts to reconnect
			s.lost.Add(1)
		}
		s.keys.NewLine() // so that kshell's keys work
		s.notedOverdue, s.notedOutage = false, false
		s.outage.failed(e.Err)
	case stream.Waiting:
		s.outage.waiting(e.Delay)
	case stream.Overdue:
		s.noteOverdue(e)
	}
}

// Size implements stream.Window.
func (s *Session) Size() (width, height uint16, ok bool) {
	size, err := s.term.Size()
	return size.Width, size.Height, err == nil
}

// Resized implements stream.Window.
func (s *Session) Resized() <-chan struct{} { return s.resized }

// Output returns the writer for the remote output. It passes the output to the
// line guard and to the Console.
func (s *Session) Output() io.Writer { return echoWriter{s.console.Output(), s} }

// echoWriter passes the output to the line guard, and to the embedded Writer.
type echoWriter struct {
	io.Writer
	session *Session
}

// Write implements io.Writer.
func (w echoWriter) Write(p []byte) (int, error) {
	w.session.lines.Wrote(p)
	return w.Writer.Write(p)
}

// keyInterrupt is Ctrl-C.
const keyInterrupt = 0x03

// interruptReader makes Ctrl-C end the session if the command has written no
// output before Ctrl-C, and writes none within Limits.Interrupt after it. Such
// a session may have no command: servers that translate the protocol open a
// session even if the node does not answer.
type interruptReader struct {
	*terminal.Keys
	session *Session
}

// Read implements io.Reader.
func (r interruptReader) Read(p []byte) (int, error) {
	n, err := r.Keys.Read(p)
	s := r.session
	if bytes.IndexByte(p[:n], keyInterrupt) >= 0 && s.receivedBytes.Load() == 0 {
		time.AfterFunc(s.console.options.Limits.Interrupt, func() {
			if s.receivedBytes.Load() == 0 {
				s.leave(cleanup.SignalError{Signal: syscall.SIGINT})
			}
		})
	}
	return n, err
}

// receivedWriter counts the output for interruptReader.
type receivedWriter struct {
	io.Writer
	session *Session
}

// Write implements io.Writer.
func (w receivedWriter) Write(p []byte) (int, error) {
	w.session.receivedBytes.Add(int64(len(p)))
	return w.Writer.Write(p)
}
