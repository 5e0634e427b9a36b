package sandbox

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// With Fault.DropStdin, feed sends stdin to the command when dropWaits
// consecutive checks have found that the command is not busy, or after
// dropTries checks.
const (
	dropInterval = 20 * time.Millisecond // before each check
	dropWaits    = 3
	dropTries    = 100
	dropConfirm  = 10 * time.Millisecond // how long the command must still run after the end of an output
)

// execution runs the command of an exec.
type execution struct {
	*session
	p             *process
	queue         *stdinQueue
	fault         Fault         // the session's fault; zero if it has none
	outputsClosed chan struct{} // closed when stdout or stderr of the running command has been closed by all processes
	closeOutputs  func()        // closes outputsClosed
	inFlight      func() bool   // see session.inFlight
}

func (s *session) runExec(target *container) {
	x := &execution{session: s, queue: newStdinQueue(), outputsClosed: make(chan struct{})}
	x.closeOutputs = sync.OnceFunc(func() { close(x.outputsClosed) })
	x.inFlight = sync.OnceValue(func() bool { return s.stdin && !x.queue.ended() })
	s.inFlight = x.inFlight
	if s.sock.f != nil {
		x.fault = s.sock.f.Fault
	}
	if s.stdin {
		s.helpers.Go(x.readStdin)
	}
	defer x.queue.abandon()
	if err := x.start(target); err != nil {
		s.end(failure(fmt.Errorf("error executing command in container: %w", err)))
		return
	}
	defer x.p.closeFiles()
	x.follow()
}

// start starts the command, after the fault's StartAfter, even if the client
// has gone.
func (x *execution) start(target *container) (err error) {
	if x.fault.StartAfter > 0 {
		timer := time.NewTimer(x.fault.StartAfter)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-x.srv.ctx.Done():
		}
	}
	x.p, err = target.spawn(command{args: x.args, stdin: x.stdin, tty: x.tty}, false)
	if err != nil {
		return err
	}
	x.command.Store(x.p)
	x.srv.records.change(func() { x.record.Pid = x.p.pid })
	x.helpers.Go(func() { x.readSizes(x.p) })
	if x.stdin {
		x.helpers.Go(x.feed)
	}
	return nil
}

// follow sends the output of the command, and then its Status.
func (x *execution) follow() {
	var pumps sync.WaitGroup
	pumps.Go(func() { x.pump(x.out(), x.p.stdout) })
	if x.p.stderr != nil {
		pumps.Go(func() { x.pump(x.errOut(), x.p.stderr) })
	}
	<-x.p.exited
	x.inFlight()
	pumps.Wait()
	x.srv.records.change(func() { x.record.Code, x.record.Exited = x.p.code, true })
	if x.stdin && !x.srv.cfg.Gentle && !x.faultAtEnd() && x.queue.stuck() {
		x.hang()
	}
	x.end(exitStatus(x.args, x.p.code))
}

// pump copies one output of the command until its end. When the client has
// gone, it discards the output and the command continues.
func (x *execution) pump(w io.Writer, r io.Reader) {
	defer x.outputEnded()
	buf := make([]byte, chunk)
	for {
		n, err := r.Read(buf)
		if n > 0 && w != nil {
			if x.holdBack() {
				w = nil
			} else if _, werr := w.Write(buf[:n]); werr != nil {
				w = nil
			}
		}
		if err != nil {
			return
		}
	}
}

// outputEnded is called at the end of one of the command's outputs. With
// Fault.DropStdin, it calls closeOutputs if the command still runs after
// dropConfirm, because the output has then ended without an exit of the
// command.
func (x *execution) outputEnded() {
	if !x.fault.DropStdin {
		return
	}
	timer := time.NewTimer(dropConfirm)
	defer timer.Stop()
	select {
	case <-timer.C:
		x.closeOutputs()
	case <-x.p.exited:
	}
}

// holdBack delays output by Fault.LoseTail. It reports whether the output is
// lost: the command exited in the meantime and, with Fault.InFlight, before its
// stdin ended.
func (x *execution) holdBack() bool {
	if x.fault.LoseTail <= 0 {
		return false
	}
	timer := time.NewTimer(x.fault.LoseTail)
	defer timer.Stop()
	select {
	case <-timer.C:
		return false
	case <-x.p.exited:
		return !x.fault.InFlight || x.inFlight()
	}
}

// readStdin reads stdin until the client half-closes it or has gone.
func (x *execution) readStdin() {
	defer x.queue.finish()
	buf := make([]byte, chunk)
	in := x.stdinStream()
	for {
		n, err := in.Read(buf)
		x.countStdin(n)
		if n > 0 {
			if _, werr := x.queue.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// feed writes stdin to the command, and closes the command's stdin at the end.
func (x *execution) feed() {
	defer x.p.closeStdin()
	switch {
	case x.tty:
	case x.fault.LoseStdin:
		x.p.closeStdin()
	case x.fault.DropStdin:
		x.helpers.Go(x.dropStdin)
		x.waitForReader()
	}
	_, err := io.Copy(x.p.stdin, x.queue)
	if err != nil && (x.srv.cfg.Gentle || x.stdinLost()) {
		_, _ = io.Copy(io.Discard, x.queue)
	}
}

// waitForReader gives the command time to close its outputs. It returns when an
// output is closed, when the command has exited, when dropWaits consecutive
// checks have found that the command is not busy, or after dropTries checks.
func (x *execution) waitForReader() {
	for looks, waiting := 0, 0; waiting < dropWaits && looks < dropTries; looks, waiting = looks+1, waiting+1 {
		select {
		case <-x.outputsClosed:
			x.p.closeStdin()
			return
		case <-x.p.exited:
			return
		case <-time.After(dropInterval):
		}
		if isBusy(x.p.pid) {
			waiting = -1
		}
	}
}

// dropStdin closes the command's stdin when the command has closed one of its
// outputs.
func (x *execution) dropStdin() {
	select {
	case <-x.outputsClosed:
		x.p.closeStdin()
	case <-x.p.exited:
	}
}

// stdinLost reports whether the fault discards the stdin of the running
// command.
func (x *execution) stdinLost() bool {
	if x.tty {
		return false
	}
	select {
	case <-x.outputsClosed:
		return true
	default:
		return x.fault.LoseStdin
	}
}
