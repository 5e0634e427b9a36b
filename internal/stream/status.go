package stream

import (
	"encoding/json"
	"errors"
)

// errStatusSize is why a status is not read to its end.
var errStatusSize = errors.New("its status is larger than 4 MiB")

// statusReader collects the status that the error channel brings in pieces. The zero value is an empty one.
type statusReader struct {
	raw    []byte // all of it, maxMessage at most
	object objectScanner
}

// add takes the next piece, and reports whether the status is whole: a JSON object, and nothing after it.
func (s *statusReader) add(p []byte) (whole bool, err error) {
	if len(s.raw)+len(p) > maxMessage {
		return false, errStatusSize
	}
	s.raw = append(s.raw, p...)
	return s.object.scan(p) && json.Valid(s.raw), nil
}

// objectScanner finds the end of a JSON object in text that comes in pieces. It looks at each byte once, and only for what is needed for
// that: text that is not valid JSON may have an end as well.
type objectScanner struct {
	state scanState
	depth int // of braces
}

type scanState int

const (
	scanStart  scanState = iota // nothing but white space has come
	scanObject                  // in the object
	scanString                  // in a string
	scanEscape                  // after a backslash in a string
	scanOver                    // the object has ended, or there is none
)

// scan takes the next piece, and reports whether the object has ended in it.
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
