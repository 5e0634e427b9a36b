package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/remotecommand"
	"k8s.io/streaming/pkg/httpstream/wsstream"
)

// session is one exec or attach after its 101.
type session struct {
	options
	srv      *Server
	record   *Session
	conn     *wsstream.Conn
	sock     *faultConn
	streams  []io.ReadWriteCloser // by channel
	protocol string

	helpers sync.WaitGroup // everything that reads from the socket's channels
}

func (s *session) out() io.Writer    { return s.streams[remotecommand.StreamStdOut] }
func (s *session) errOut() io.Writer { return s.streams[remotecommand.StreamStdErr] }

// serve runs the session to its end: output, then Status, then close. The socket is closed when it returns, or half
// closed in the gentle mode.
func (s *session) serve(target *container, missing error) {
	s.greet()
	s.helpers.Go(s.watchFault)
	switch {
	case missing != nil:
		s.end(failure(missing))
	case s.attach:
		s.runAttach(target)
	default:
		s.runExec(target)
	}
	_ = s.conn.Close() // the client may have closed it
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
		if s.sock.f.Do == CloseFrame {
			_ = s.conn.Close()
		}
	case <-s.sock.closed:
	}
}

func (s *session) runExec(target *container) {
	p, err := target.spawn(command{args: s.args, stdin: s.stdin, tty: s.tty}, false)
	if err != nil {
		s.end(failure(fmt.Errorf("error executing command in container: %w", err)))
		return
	}
	s.srv.book.change(func() { s.record.Pid = p.pid })
	s.helpers.Go(func() { s.readSizes(p) })
	queue := newStdinQueue()
	if s.stdin {
		s.helpers.Go(func() { s.readStdin(queue) })
		s.helpers.Go(func() { s.feed(queue, p) })
	}
	var pumps sync.WaitGroup
	pumps.Go(func() { pump(s.out(), p.stdout) })
	if p.stderr != nil {
		pumps.Go(func() { pump(s.errOut(), p.stderr) })
	}
	<-p.exited
	pumps.Wait()
	s.srv.book.change(func() { s.record.Code, s.record.Exited = p.code, true })
	if queue.stuck() && !s.srv.cfg.Gentle {
		s.hang()
	}
	s.end(exitStatus(s.args, p.code))
	queue.abandon()
	p.closeFiles()
}

// pump copies a command's output to its end. When the client is gone, the command goes on unheard.
func pump(w io.Writer, r io.Reader) {
	buf := make([]byte, chunk)
	for {
		n, err := r.Read(buf)
		if n > 0 && w != nil {
			if _, werr := w.Write(buf[:n]); werr != nil {
				w = nil
			}
		}
		if err != nil {
			return
		}
	}
}

// readStdin ends when the client half-closes or is gone.
func (s *session) readStdin(queue *stdinQueue) {
	defer queue.finish()
	buf := make([]byte, chunk)
	in := s.streams[remotecommand.StreamStdIn]
	for {
		n, err := in.Read(buf)
		s.countStdin(n)
		if n > 0 {
			if _, werr := queue.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (s *session) countStdin(n int) {
	if n > 0 {
		s.srv.book.change(func() { s.record.StdinBytes += int64(n) })
	}
}

// feed gives stdin to the command, whose stdin it closes at the end.
func (s *session) feed(queue *stdinQueue, p *process) {
	defer p.closeStdin()
	if f := s.sock.f; f != nil && f.LoseStdin && !p.tty {
		p.closeStdin()
	}
	_, err := io.Copy(p.stdin, queue)
	if err != nil && (s.srv.cfg.Gentle || s.sock.f != nil && s.sock.f.LoseStdin) {
		_, _ = io.Copy(io.Discard, queue)
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
	in := s.streams[remotecommand.StreamStdIn]
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

// end sends the Status, unless a fault has other plans.
func (s *session) end(st *metav1.Status) {
	if f := s.sock.f; f.at(AtEnd) {
		s.sock.act()
		switch f.Do {
		case KillPod:
		case Hang, StallRead, StallWrite:
			s.hang()
			return
		default:
			return
		}
	}
	if f := s.sock.f; f != nil && f.ErrorChannel != nil {
		s.writeError(f.ErrorChannel)
		return
	}
	if s.protocol == protocolV5 || s.protocol == protocolV4 || s.protocol == protocolV4Base64 {
		data, _ := json.Marshal(st) // a Status can be marshalled
		s.writeError(data)
		return
	}
	if st.Status != metav1.StatusSuccess {
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
