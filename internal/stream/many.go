package stream

import (
	"context"
	"errors"

	"kshell/internal/group"
)

// Source is one of the Objects that Many runs.
type Source[T any] struct {
	Name    string      // for example, the name of a cluster
	Objects *Objects[T] // Many sets OnChange
}

// Many runs several Objects at the same time. Each has its own connections and
// state.
//
// Run may be called once. The exported fields must not be changed after that.
// OnChange and OnEnd may be called from any goroutine, but not from two at the
// same time. Objects.Observe may be called for two Sources at the same time.
type Many[T any] struct {
	Sources []Source[T]
	// OnChange is called for each change. source is the name of the Source. If
	// OnChange returns an error, this Source ends, and the others continue.
	OnChange func(source string, c Change[T]) error
	// OnEnd, if not nil, is called when a Source ends, unless the context has
	// ended. The other Sources continue.
	OnEnd func(*SourceError)

	calls chan struct{} // contains an element during a call of OnChange or OnEnd
}

// SourceError is the error with which a Source has ended.
type SourceError struct {
	Source string // its name
	Err    error  // an error of Objects.Run
}

func (e *SourceError) Error() string { return e.Source + ": " + e.Err.Error() }
func (e *SourceError) Unwrap() error { return e.Err }

// Run returns when all Sources have ended. If the context has ended, Run returns
// its cause. Otherwise, Run returns the *SourceErrors of all Sources, joined by
// errors.Join.
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
			_ = m.call(ctx, func() error { // the only error is the context's cause
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

// TryNow calls Objects.TryNow of each Source. It may be called from any
// goroutine.
func (m *Many[T]) TryNow() {
	for _, source := range m.Sources {
		source.Objects.TryNow()
	}
}

// call waits until no other call is running, and calls f. If ctx has ended, call
// returns its cause, and does not call f.
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
