package resume

import (
	"context"
	"errors"
	"io"
	"time"

	"kshell/internal/agent"
	"kshell/internal/stream"
)

const (
	// readSize is the maximum number of bytes that one Read of stdin returns.
	readSize = 32 << 10
	// maxPending is the maximum amount of interactive input that is kept until
	// the agent can receive it, in bytes. It is much more than a user pastes.
	maxPending = 1 << 20
	// Output that arrives within collectTime after other output is collected. It is
	// written when it has collectBytes, or after collectTime.
	collectBytes = 128 << 10
	collectTime  = 2 * time.Millisecond
	// tryEvery is the minimum interval between attempts to connect that input starts.
	tryEvery = time.Second
)

// writeOutput writes the output, until the session or the output ends. Only
// output that was written is acknowledged, and a write that blocks does not
// block the relay.
func (s *Session) writeOutput(ctx context.Context) {
	for ctx.Err() == nil {
		chunk, ok := s.nextChunk()
		switch {
		case ok:
			if err := s.write(chunk); err != nil {
				s.end(&stream.OutputError{Err: err})
				return
			}
			continue
		case s.isFinished():
			wake(s.toSend) // the acknowledgement of the exit
			close(s.exited)
			return
		}
		select {
		case <-ctx.Done():
		case <-s.toWrite:
		}
	}
}

// showProgress records the progress of the upload for followUpload. s.mu is locked.
func (s *Session) showProgress(sent, total int64) {
	s.progress = [2]int64{sent, total}
	wake(s.toShow)
}

// followUpload passes the progress of the upload to Start.Progress, which may block.
// It skips progress that is followed by newer progress.
func (s *Session) followUpload(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.toShow:
		}
		s.mu.Lock()
		progress := s.progress
		s.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		s.cfg.Start.Progress(progress[0], progress[1])
	}
}

// mustWrite reports whether the goroutine that writes output has something to do now.
// While output arrives in quick succession, it returns false until some output was
// collected or some time has passed, because each wakeup takes processor time. s.mu is locked.
func (s *Session) mustWrite(now time.Duration) bool {
	if _, ok := s.client.Output(); !ok {
		_, exited := s.client.Exit()
		return exited
	}
	if s.client.Waiting() < collectBytes && now-s.wrote < collectTime {
		s.collected.Reset(collectTime)
		return false
	}
	s.wrote = now
	return true
}

// nextChunk returns the next output to write. If all output was written, and the
// exit is known, it sets finished.
func (s *Session) nextChunk() (agent.Chunk, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold {
		return agent.Chunk{}, false
	}
	chunk, ok := s.client.Output()
	if !ok {
		_, s.finished = s.client.Exit()
	}
	return chunk, ok
}

// write writes and acknowledges a chunk.
func (s *Session) write(chunk agent.Chunk) error {
	w := s.set.Stdout
	if chunk.Stream == agent.Stderr {
		w = s.set.Stderr
	}
	switch {
	case chunk.Dropped > 0:
		s.notify(Dropped{Bytes: chunk.Dropped})
		s.Redraw()
	case w != nil:
		if _, err := w.Write(chunk.Data); err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.client.Written(len(chunk.Data))
	due := s.client.Due()
	s.mu.Unlock()
	if due {
		wake(s.toSend)
	}
	return nil
}

// readStdin reads stdin to its end, or until the session ends. It reads no
// more than can be kept.
func (s *Session) readStdin(ctx context.Context) {
	buf := make([]byte, readSize)
	for {
		n := s.waitForRoom(ctx)
		if n == 0 {
			return
		}
		n, err := s.set.Stdin.Read(buf[:min(n, len(buf))])
		switch {
		case ctx.Err() != nil, s.isFinished():
			return
		case n > 0:
			s.addInput(buf[:n])
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			s.mu.Lock()
			s.eof = true
			s.feed()
			s.mu.Unlock()
			wake(s.toSend)
			return
		default: // EndInput would tell the command that its input is complete
			s.end(&stream.InputError{Err: err})
			return
		}
	}
}

// stopReading makes readStdin return after the Read in progress, and reports
// whether to wait for that Read; see stream.Settings.
func (s *Session) stopReading() bool {
	stdin, ok := s.set.Stdin.(stream.Canceler)
	return !ok || stdin.Cancel()
}

// waitForRoom waits until input can be kept, and returns how many bytes, or 0
// if ctx has ended.
func (s *Session) waitForRoom(ctx context.Context) int {
	for {
		s.mu.Lock()
		room := s.client.InputRoom() - len(s.pending)
		if s.set.Interactive {
			room = maxPending - len(s.pending)
		}
		s.mu.Unlock()
		if room > 0 && ctx.Err() == nil {
			return room
		}
		select {
		case <-ctx.Done():
			return 0
		case <-s.toRead:
		}
	}
}

// addInput adds input. While no relay is open, it starts an attempt to open one.
func (s *Session) addInput(p []byte) {
	s.mu.Lock()
	s.pending = append(s.pending, p...)
	s.feed()
	now, attached := s.now(), s.attached()
	try := !attached && now-s.tried >= tryEvery
	if try {
		s.tried = now
	}
	if attached && s.pulse.dueWithInput(now) {
		s.client.Ping()
		s.pulse.ping(now)
	}
	s.mu.Unlock()
	wake(s.toSend)
	if try {
		s.relays.TryNow()
	}
}

// feed passes pending input, and the end of the input after it, to the client.
// s.mu is locked.
func (s *Session) feed() {
	if len(s.pending) > 0 {
		n := s.client.Input(s.pending)
		s.pending = s.pending[:copy(s.pending, s.pending[n:])]
	}
	if s.eof && len(s.pending) == 0 {
		s.client.EndInput()
	}
}

// followSize sends the size of the window after each change.
func (s *Session) followSize(ctx context.Context) {
	if s.set.Window == nil {
		return
	}
	resized := s.set.Window.Resized()
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-resized:
			if !ok {
				return
			}
		}
		if width, height, ok := s.set.Window.Size(); ok {
			s.mu.Lock()
			s.client.Resize(agent.Size{Cols: width, Rows: height})
			s.mu.Unlock()
			wake(s.toSend)
		}
	}
}

// appendWiderSize appends the frame that makes a program redraw the screen: a size
// that is one column wider. The caller then appends the real size. s.mu is locked.
func (s *Session) appendWiderSize(buf []byte, now time.Duration) []byte {
	if s.set.Window == nil {
		return buf
	}
	width, height, ok := s.set.Window.Size()
	if !ok {
		return buf
	}
	s.client.Resize(agent.Size{Cols: width + 1, Rows: height})
	buf = s.client.Next(buf, now)
	s.client.Resize(agent.Size{Cols: width, Rows: height})
	return buf
}
