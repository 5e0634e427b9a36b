package stream

import (
	"encoding/json"
	"errors"
)

// errStatusSize means that a status is larger than maxMessage.
// RemoteError.Error puts "the server reported a failure: " before the text.
var errStatusSize = errors.New("its status is larger than 4 MiB")

// statusReader collects the status that arrives in pieces on the error channel.
// The zero value is ready to use.
type statusReader struct {
	raw    []byte // the pieces so far, at most maxMessage
	object objectScanner
}

// add appends the next piece, and reports whether the status is complete: a
// JSON object and nothing after it.
func (s *statusReader) add(p []byte) (whole bool, err error) {
	if len(s.raw)+len(p) > maxMessage {
		return false, errStatusSize
	}
	s.raw = append(s.raw, p...)
	return s.object.scan(p) && json.Valid(s.raw), nil
}

// objectScanner finds the end of a JSON object in text that arrives in pieces.
// It looks at each byte once. It does not check the syntax, so it may also find
// an end in text that is not valid JSON.
type objectScanner struct {
	state scanState
	depth int // the number of open braces
}

type scanState int

const (
	scanStart  scanState = iota // only white space so far
	scanObject                  // in the object
	scanString                  // in a string
	scanEscape                  // after a backslash in a string
	scanOver                    // the object has ended, or the text does not begin with an object
)

// scan scans the next piece, and reports whether the object ends in it.
func (o *objectScanner) scan(p []byte) (ended bool) {
	if o.state == scanOver {
		return false
	}
	for _, b := range p {
		if o.next(b); o.state == scanOver {
			return o.depth == 0
		}
	}
	return false
}

func (o *objectScanner) next(b byte) {
	switch o.state {
	case scanStart:
		o.begin(b)
	case scanString:
		switch b {
		case '\\':
			o.state = scanEscape
		case '"':
			o.state = scanObject
		}
	case scanEscape:
		o.state = scanString
	case scanObject:
		o.inside(b)
	case scanOver:
	}
}

func (o *objectScanner) begin(b byte) {
	switch b {
	case ' ', '\t', '\r', '\n':
	case '{':
		o.state, o.depth = scanObject, 1
	default:
		o.state, o.depth = scanOver, -1
	}
}

func (o *objectScanner) inside(b byte) {
	switch b {
	case '"':
		o.state = scanString
	case '{':
		o.depth++
	case '}':
		if o.depth--; o.depth == 0 {
			o.state = scanOver
		}
	}
}
