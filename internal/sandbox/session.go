package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
)

// session is an exec or attach after its 101.
type session struct {
	options
	srv      *Server
	record   *Session
	conn     io.Closer // the WebSocket, or the SPDY connection
	sock     *faultConn
	streams  []io.ReadWriteCloser // by channel
	protocol string
	command  atomic.Pointer[process] // the command of an exec; nil until it has started

	// inFlight reports whether the command of an exec exited before its stdin
	// ended. The first call, which is made when the command has exited,
	// determines the result of all calls. For an attach, inFlight is nil.
	inFlight func() bool
	helpers  sync.WaitGroup // the goroutines of the session; serve waits for them
}

func (s *session) stdinStream() io.Reader { return s.streams[remotecommand.StreamStdIn] }

func (s *session) countStdin(n int) {
	if n > 0 {
		s.srv.records.change(func() { s.record.StdinBytes += int64(n) })
	}
}

func (s *session) out() io.Writer    { return s.streams[remotecommand.StreamStdOut] }
func (s *session) errOut() io.Writer { return s.streams[remotecommand.StreamStdErr] }

// serve runs the session to its end: it sends the output and then the Status,
// closes the socket, and waits for the goroutines of the session.
func (s *session) serve(target *container, notFound error) {
	s.sendFirstMessage()
	s.helpers.Go(s.watchFault)
	if s.sock.f.actsAt(AfterTime) {
		s.helpers.Go(s.actAfterTime)
	}
	switch {
	case notFound != nil:
		s.end(failure(notFound))
	case s.attach:
		s.runAttach(target)
	default:
		s.runExec(target)
	}
	_ = s.conn.Close() // the client may have closed it
	s.srv.records.change(func() { s.record.Closed = true })
	s.helpers.Wait()
}

// sendFirstMessage sends an empty message on the first output channel that the
// client has requested: stdout, stderr, or else the error channel.
func (s *session) sendFirstMessage() {
	channel := remotecommand.StreamErr
	switch {
	case s.stdout:
		channel = remotecommand.StreamStdOut
	case s.stderr:
		channel = remotecommand.StreamStdErr
	}
	_, _ = s.streams[channel].Write([]byte{}) // if it fails, the next read or write fails, too
}

// watchFault waits for the fault's action, and performs the part that needs
// WebSocket messages.
func (s *session) watchFault() {
	select {
	case <-s.sock.fired:
		switch s.sock.f.Do {
		case SaySuccess:
			s.sendStatus(success())
			_ = s.conn.Close()
		case CloseFrame:
			_ = s.conn.Close()
		case FIN:
			_ = s.streams[remotecommand.StreamStdIn].Close() // this ends the command's stdin at once
		}
		if p := s.command.Load(); p != nil && s.sock.f.Kill {
			p.kill()
		}
	case <-s.sock.closed:
	}
}

func (s *session) actAfterTime() {
	timer := time.NewTimer(s.sock.f.After)
	defer timer.Stop()
	select {
	case <-timer.C:
		s.sock.act()
	case <-s.sock.closed:
	}
}

// readSizes reads the resize channel, even if there is no tty.
func (s *session) readSizes(p *process) {
	dec := json.NewDecoder(s.streams[remotecommand.StreamResize])
	for {
		var sz size
		if err := dec.Decode(&sz); err != nil {
			break
		}
		p.resize(sz)
		s.srv.records.change(func() { s.record.Sizes = append(s.record.Sizes, Size(sz)) })
	}
	_, _ = io.Copy(io.Discard, s.streams[remotecommand.StreamResize]) // discard what follows an invalid message
}

// runAttach runs an attach. It returns when the main process has exited, which
// is always reported as Success, or when the client has gone.
func (s *session) runAttach(target *container) {
	p := target.running()
	if p == nil {
		s.end(failure(errNotRunning))
		return
	}
	s.srv.records.change(func() { s.record.Pid = p.pid })
	sink := newSink(s.out(), s.errOut())
	target.broadcast.add(sink)
	defer target.broadcast.drop(sink)
	if target.running() != p {
		sink.detach() // the process ended before the sink was added
	}
	s.helpers.Go(func() { s.readSizes(p) })
	if s.stdin {
		s.helpers.Go(func() { s.attachStdin(target, p) })
	}
	select {
	case <-sink.gone:
		s.end(success())
	case <-s.sock.closed:
	case <-s.srv.ctx.Done():
	}
}

// attachStdin writes stdin to the main process. The end of stdin closes the
// process's stdin only if the container has stdinOnce.
func (s *session) attachStdin(target *container, p *process) {
	buf := make([]byte, chunk)
	in := s.stdinStream()
	for {
		n, err := in.Read(buf)
		s.countStdin(n)
		if n > 0 && target.spec.Stdin {
			_, _ = p.stdin.Write(buf[:n]) // fails if the process no longer reads its stdin
		}
		if err != nil {
			break
		}
	}
	if target.spec.StdinOnce {
		p.closeStdin()
		if p.tty {
			p.hangUp()
		}
	}
}

// faultAtEnd reports whether a fault acts in place of the Status.
func (s *session) faultAtEnd() bool {
	f := s.sock.f
	return f.actsAt(AtEnd) && (!f.InFlight || s.inFlight != nil && s.inFlight())
}

// end sends the Status, unless a fault acts in its place.
func (s *session) end(st *metav1.Status) {
	if s.faultAtEnd() {
		switch s.sock.f.Do {
		case KillPod, RotateLog, DeleteLog:
			s.sock.act()
		case SaySuccess:
			s.sock.halfCloseFirst()
			st = success()
		case Hang, StallRead, StallWrite:
			s.sock.act()
			s.hang()
			return
		default:
			s.sock.act()
			return
		}
	}
	s.sendStatus(st)
	if f := s.sock.f; f != nil && f.StatusDeadline > 0 {
		s.sock.resetUnlessDelivered(f.StatusDeadline)
	}
}

// sendStatus sends the Status as the protocol requires, or Fault.ErrorChannel
// if that is set.
func (s *session) sendStatus(st *metav1.Status) {
	switch f := s.sock.f; {
	case f != nil && f.ErrorChannel != nil:
		s.writeError(f.ErrorChannel)
	case s.protocol == protocolV5 || s.protocol == protocolV4 || s.protocol == protocolV4Base64:
		data, _ := json.Marshal(st) // cannot fail for a Status
		s.writeError(data)
	case st.Status != metav1.StatusSuccess:
		s.writeError([]byte(st.Message))
	}
}

func (s *session) writeError(data []byte) {
	_, _ = s.streams[remotecommand.StreamErr].Write(data) // the client may be gone
}

// hang keeps the socket open and silent until the connection breaks or the
// sandbox is closed.
func (s *session) hang() {
	select {
	case <-s.sock.closed:
	case <-s.sock.raw.gone:
	case <-s.srv.ctx.Done():
	}
}

func success() *metav1.Status { return &metav1.Status{Status: metav1.StatusSuccess} }

func failure(err error) *metav1.Status {
	st := apierrors.NewInternalError(err).Status()
	return &st
}

// exitStatus returns the kubelet's Status for an exit code.
func exitStatus(args []string, code int) *metav1.Status {
	if code == 0 {
		return success()
	}
	return &metav1.Status{
		Status: metav1.StatusFailure,
		Reason: remotecommand.NonZeroExitCodeReason,
		Message: fmt.Sprintf("command terminated with non-zero exit code: error executing command %v, exit code %d",
			args, code),
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{
			{Type: remotecommand.ExitCodeCauseType, Message: strconv.Itoa(code)},
		}},
	}
}
