package nodeshell

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"time"

	"kshell/internal/node"
	"kshell/internal/remote"
	"kshell/internal/stream"
)

// A mark is a sequence with an ID that kshell prints in the shell's terminal.
// Terminals do not display marks. A mark shows where the output of a new
// connection meets the container's log; see node.Replay.
const (
	markInterval = 700 * time.Millisecond // the time between two marks
	markTimeout  = 4 * time.Second        // the time limit of the exec that prints a mark
	joinTimeout  = 15 * time.Second       // the time after which the output is shown without a mark
)

// startJoin joins the output of a new connection to the output that was shown
// before; see node.Replay. It prints marks in the shell's terminal until the
// connection delivers one.
func (s *attachSession) startJoin(ctx context.Context) {
	id := rand.Text()
	s.replay.ExpectMark(ctx, id)
	joined, redraw := s.replay.Joined(), s.shown
	s.shown = true
	ctx, s.stopJoin = context.WithTimeout(ctx, joinTimeout)
	s.background.Go(func() {
		defer s.pod.manager.env.Cleanup.OnPanic()
		err := s.printMarks(ctx, id, joined)
		switch {
		case err == nil && redraw:
			s.session.Redraw()
		case err == nil, errors.Is(err, context.Canceled):
		default:
			n := s.pod.notice
			n.Detail("cannot print a mark in the shell's output: %v", err)
			s.replay.SkipMark(id)
			s.session.Redraw()
			n.Note("output from before this connection may be missing; press Enter for a prompt")
		}
	})
}

// printMarks prints marks until joined is closed. It returns context.Canceled
// if the connection or the session ends first. It returns another error if
// joinTimeout passes first, or if the server will always refuse the exec that
// prints a mark.
func (s *attachSession) printMarks(ctx context.Context, id string, joined <-chan struct{}) error {
	for i := 0; ; i++ {
		mark := node.MarkCommand(s.id, fmt.Sprintf("%s-%d", id, i))
		err := withTimeout(ctx, markTimeout, func(ctx context.Context) error { return s.command.RunInternal(ctx, mark) })
		var refused *stream.HandshakeError
		if errors.As(err, &refused) && refused.Permanent() {
			return err
		}
		timer := time.NewTimer(markInterval)
		select {
		case <-joined:
			timer.Stop()
			return nil
		case <-ctx.Done():
			timer.Stop()
			if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return err
			}
			return ctx.Err()
		case <-timer.C:
		}
	}
}

// OpenLog implements node.ReplaySource.
func (s *attachSession) OpenLog(ctx context.Context, from node.LogStart, follow bool) (io.ReadCloser, error) {
	return s.end.nodes.Log(ctx, s.pod.object, from, follow)
}

// LogUnreachable implements node.ReplaySource.
func (s *attachSession) LogUnreachable(err error) { s.session.Drop(err) }

// OutputMissing implements node.ReplaySource.
func (s *attachSession) OutputMissing(gap node.Gap) {
	s.pod.notice.WarnAlways("%s: %s", gap.Err, describeGap(gap))
}

// describeGap returns the time and the size of a gap, as far as they are known.
func describeGap(gap node.Gap) string {
	text := "earlier output may be missing"
	if !gap.From.IsZero() {
		text = fmt.Sprintf("output from %s to %s (%s) may be missing here",
			gap.From.Format(time.TimeOnly), gap.To.Format(time.TimeOnly), remote.Seconds(gap.To.Sub(gap.From)))
	}
	if gap.Bytes > 0 {
		text += fmt.Sprintf("; at least %d lines (%d bytes) are missing", gap.Lines, gap.Bytes)
	}
	return text
}
