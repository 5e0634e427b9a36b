package sandbox

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// See Fault.DropStdin.
const (
	dropLook     = 20 * time.Millisecond // between two looks at a command that has to give up its outputs before its stdin comes
	dropLooks    = 3                     // in a row that have found it waiting; then it keeps its outputs
	dropPatience = 100                   // looks at one that never waits; none is taken while the machine stands still
	dropConfirm  = 10 * time.Millisecond // how long a command that gave up an output has to end by itself
)

// execution is the command of one exec.
type execution struct {
	*session
	p        *process
	queue    *stdinQueue
	fault    Fault         // what the session's fault says of commands, if it has one
	gaveUp   chan struct{} // closed when nobody holds one of the command's outputs open any more
	giveUp   func()        // closes it
	inFlight func() bool   // see session
}

func (s *session) runExec(target *container) {
	x := &execution{session: s, queue: newStdinQueue(), gaveUp: make(chan struct{})}
	x.giveUp = sync.OnceFunc(func() { close(x.gaveUp) })
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

// start starts the command when its time has come, also if the client has gone.
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
	x.srv.book.change(func() { x.record.Pid = x.p.pid })
	x.helpers.Go(func() { x.readSizes(x.p) })
	if x.stdin {
		x.helpers.Go(x.feed)
	}
	return nil
}

// follow brings the output, and then the verdict.
func (x *execution) follow() {
	var pumps sync.WaitGroup
	pumps.Go(func() { x.pump(x.out(), x.p.stdout) })
	if x.p.stderr != nil {
		pumps.Go(func() { x.pump(x.errOut(), x.p.stderr) })
	}
	<-x.p.exited
	x.inFlight()
	pumps.Wait()
	x.srv.book.change(func() { x.record.Code, x.record.Exited = x.p.code, true })
	if x.stdin && !x.srv.cfg.Gentle && !x.lies() && x.queue.stuck() {
		x.hang()
	}
	x.end(exitStatus(x.args, x.p.code))
}

// pump copies one of the command's outputs to its end. When the client is gone, the command goes on unheard.
func (x *execution) pump(w io.Writer, r io.Reader) {
	defer x.outputEnded()
	buf := make([]byte, chunk)
	for {
		n, err := r.Read(buf)
		if n > 0 && w != nil {
			if x.losesTail() {
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

// outputEnded tells a command that has given up an output from one that has ended.
func (x *execution) outputEnded() {
	if !x.fault.DropStdin {
		return
	}
	timer := time.NewTimer(dropConfirm)
	defer timer.Stop()
	select {
	case <-timer.C:
		x.giveUp()
	case <-x.p.exited:
	}
}

// losesTail holds output back as the fault wants it, and says whether the command ended meanwhile, so that it is lost.
func (x *execution) losesTail() bool {
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

// readStdin ends when the client half-closes or is gone.
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

// feed gives stdin to the command, whose stdin it closes at the end.
func (x *execution) feed() {
	defer x.p.closeStdin()
	switch {
	case x.tty:
	case x.fault.LoseStdin:
		x.p.closeStdin()
	case x.fault.DropStdin:
		x.helpers.Go(x.dropStdin)
		x.awaitOutputs()
	}
	_, err := io.Copy(x.p.stdin, x.queue)
	if err != nil && (x.srv.cfg.Gentle || x.stdinLost()) {
		_, _ = io.Copy(io.Discard, x.queue)
	}
}

// awaitOutputs gives a command the time to give up its outputs: as long as it does anything, but at least dropLooks looks.
func (x *execution) awaitOutputs() {
	for looks, waiting := 0, 0; waiting < dropLooks && looks < dropPatience; looks, waiting = looks+1, waiting+1 {
		select {
		case <-x.gaveUp:
			x.p.closeStdin()
			return
		case <-x.p.exited:
			return
		case <-time.After(dropLook):
		}
		if busy(x.p.pid) {
			waiting = -1
		}
	}
}

// dropStdin ends the command's stdin when it has given up an output.
func (x *execution) dropStdin() {
	select {
	case <-x.gaveUp:
		x.p.closeStdin()
	case <-x.p.exited:
	}
}

// stdinLost says whether the fault takes stdin from a living command.
func (x *execution) stdinLost() bool {
	if x.tty {
		return false
	}
	select {
	case <-x.gaveUp:
		return true
	default:
		return x.fault.LoseStdin
	}
}
