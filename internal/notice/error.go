package notice

import "errors"

// WithHint returns err with a hint: what to type next. Printer.Error prints
// each line of the hint with the prefix "hint: ".
func WithHint(err error, hint string) error { return &hintedError{err, hint} }

// HintOf returns the hint of err, or of the first error in its chain that has a
// method Hint() string; otherwise "".
func HintOf(err error) string {
	var hinted interface{ Hint() string }
	if errors.As(err, &hinted) {
		return hinted.Hint()
	}
	return ""
}

// WithMessage returns err with another message. The result unwraps to err.
func WithMessage(err error, message string) error { return &rewordedError{err, message} }

type hintedError struct {
	err  error
	hint string
}

func (e *hintedError) Error() string { return e.err.Error() }
func (e *hintedError) Unwrap() error { return e.err }
func (e *hintedError) Hint() string  { return e.hint }

type rewordedError struct {
	err     error
	message string
}

func (e *rewordedError) Error() string { return e.message }
func (e *rewordedError) Unwrap() error { return e.err }
