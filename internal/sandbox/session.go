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

// session is one exec or attach after its 101.
type session struct {
	options
	srv      *Server
	record   *Session
	conn     io.Closer // the WebSocket, or the SPDY connection
	sock     *faultConn
	streams  []io.ReadWriteCloser // by channel
	protocol string
	command  atomic.Pointer[process] // of an exec, once it runs

	inFlight func() bool    // of an exec: whether it ended before its stdin did; to be asked after its end
	helpers  sync.WaitGroup // everything that reads from the socket's channels
}

func (s *session) stdinStream() io.Reader { return s.streams[remotecommand.StreamStdIn] }

func (s *session) countStdin(n int) {
	if n > 0 {
		s.srv.book.change(func() { s.record.StdinBytes += int64(n) })
	}
}

func (s *session) out() io.Writer    { return s.streams[remotecommand.StreamStdOut] }
func (s *session) errOut() io.Writer { return s.streams[remotecommand.StreamStdErr] }

// serve runs the session to its end: output, then Status, then close. The socket is closed when it returns, or half
// closed in the gentle mode.
func (s *session) serve(target *container, missing error) {
	s.greet()
	s.helpers.Go(s.watchFault)
	if s.sock.f.at(AfterTime) {
		s.helpers.Go(s.actInTime)
	}
	switch {
	case missing != nil:
		s.end(failure(missing))
	case s.attach:
		s.runAttach(target)
	default:
		s.runExec(target)
	}
	_ = s.conn.Close() // the client may have closed it
	s.srv.book.change(func() { s.record.Closed = true })
	s.helpers.Wait()
}

// greet sends the first message, an empty one on the lowest output channel.
func (s *session) greet() {
	channel := remotecommand.StreamErr
	switch {
	case s.stdout:
		channel = remotecommand.StreamStdOut
	case s.stderr:
		channel = remotecommand.StreamStdErr
	}
	_, _ = s.streams[channel].Write([]byte{}) // a client that is gone is noticed elsewhere
}

// watchFault says in WebSocket terms what an injected fault wants said.
func (s *session) watchFault() {
	select {
	case <-s.sock.fired:
		switch s.sock.f.Do {
		case SaySuccess:
			s.say(success())
			_ = s.conn.Close()
		case CloseFrame:
			_ = s.conn.Close()
		case FIN:
			_ = s.streams[remotecommand.StreamStdIn].Close() // for the remote this is the end of it at once
		}
		if p := s.command.Load(); p != nil && s.sock.f.Kill {
			p.kill()
		}
	case <-s.sock.closed:
	}
}

func (s *session) actInTime() {
	timer := time.NewTimer(s.sock.f.After)
	defer timer.Stop()
	select {
	case <-timer.C:
		s.sock.act()
	case <-s.sock.closed:
	}
}

// readSizes reads the resize channel, which is read also where there is no tty.
func (s *session) readSizes(p *process) {
	dec := json.NewDecoder(s.streams[remotecommand.StreamResize])
	for {
		var sz size
		if err := dec.Decode(&sz); err != nil {
			break
		}
		p.resize(sz)
		s.srv.book.change(func() { s.record.Sizes = append(s.record.Sizes, Size(sz)) })
	}
	_, _ = io.Copy(io.Discard, s.streams[remotecommand.StreamResize]) // after nonsense nothing is understood any more
}

// runAttach ends with the main process, always in success, or with the client.
func (s *session) runAttach(target *container) {
	p := target.running()
	if p == nil {
		s.end(failure(errNotRunning))
		return
	}
	s.srv.book.change(func() { s.record.Pid = p.pid })
	sink := newSink(s.out(), s.errOut())
	target.fan.add(sink)
	defer target.fan.drop(sink)
	if target.running() != p {
		sink.leave() // it ended before we were in
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

// attachStdin gives stdin to the main process. Its end is the client's alone, unless stdinOnce says otherwise.
func (s *session) attachStdin(target *container, p *process) {
	buf := make([]byte, chunk)
	in := s.stdinStream()
	for {
		n, err := in.Read(buf)
		s.countStdin(n)
		if n > 0 && target.spec.Stdin {
			_, _ = p.stdin.Write(buf[:n]) // a process that ends is noticed elsewhere
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

// lies says whether a fault acts in place of the Status.
func (s *session) lies() bool {
	f := s.sock.f
	return f.at(AtEnd) && (!f.InFlight || s.inFlight != nil && s.inFlight())
}

// end sends the Status, unless a fault has other plans.
func (s *session) end(st *metav1.Status) {
	if s.lies() {
		switch s.sock.f.Do {
		case KillPod:
			s.sock.act()
		case SaySuccess:
			s.sock.bePolite()
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
	s.say(st)
	if f := s.sock.f; f != nil && f.StatusDeadline > 0 {
		s.sock.takenWithin(f.StatusDeadline)
	}
}

// say says a Status in the words of the protocol, or of the fault.
func (s *session) say(st *metav1.Status) {
	switch f := s.sock.f; {
	case f != nil && f.ErrorChannel != nil:
		s.writeError(f.ErrorChannel)
	case s.protocol == protocolV5 || s.protocol == protocolV4 || s.protocol == protocolV4Base64:
		data, _ := json.Marshal(st) // a Status can be marshalled
		s.writeError(data)
	case st.Status != metav1.StatusSuccess:
		s.writeError([]byte(st.Message))
	}
}

func (s *session) writeError(data []byte) {
	_, _ = s.streams[remotecommand.StreamErr].Write(data) // the client may be gone
}

// hang keeps the socket open and silent until it breaks or the sandbox is closed.
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

// exitStatus words a command's end as the kubelet does.
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
