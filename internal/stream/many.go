package stream

import (
	"context"
	"errors"

	"kshell/internal/group"
)

// Source is one of the Objects that Many runs.
type Source[T any] struct {
	Name    string      // such as the name of a cluster
	Objects *Objects[T] // without OnChange, which Many sets
}

// Many runs several Objects at the same time. Each has its own connections and
// state. The exported fields must not be changed after the call of Run, which
// may be called once. OnChange and OnEnd are called from any goroutine, but not
// from two at the same time.
type Many[T any] struct {
	Sources []Source[T]
	// OnChange is called for each change. source is the name of the Source. An
	// error ends this Source.
	OnChange func(source string, c Change[T]) error
	// OnEnd, if not nil, is called when a Source has ended before the context.
	// The others go on.
	OnEnd func(*SourceError)

	calls chan struct{} // contains an element during a call of OnChange or OnEnd
}

// SourceError is the error with which one Source has ended.
type SourceError struct {
	Source string
	Err    error // an error of Objects.Run
}

func (e *SourceError) Error() string { return e.Source + ": " + e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

// Run returns when all Sources have ended. Its error is the context's cause, or
// else a *SourceError for each Source, joined.
func (m *Many[T]) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	running := group.New(func() { cancel(errPanicked) })
	m.calls = make(chan struct{}, 1)
	errs := make([]error, len(m.Sources))
	for i, source := range m.Sources {
		source.Objects.OnChange = func(c Change[T]) error {
			return m.call(ctx, func() error { return m.OnChange(source.Name, c) })
		}
		running.Go(func() {
			ended := &SourceError{source.Name, source.Objects.Run(ctx)}
			errs[i] = ended
			_ = m.call(ctx, func() error { // an error means that the context has ended
				if m.OnEnd != nil {
					m.OnEnd(ended)
				}
				return nil
			})
		})
	}
	running.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(errs...)
}

// call calls f, unless ctx has ended, and not at the same time as another one.
func (m *Many[T]) call(ctx context.Context, f func() error) error {
	select {
	case m.calls <- struct{}{}:
		defer func() { <-m.calls }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return f()
}
