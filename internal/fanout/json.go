package fanout

import (
	"encoding/base64"
	"unicode/utf8"

	"kshell/internal/notice"
	"kshell/internal/outcome"
)

// lineJSON is a line of output.
type lineJSON struct {
	Node      string  `json:"node,omitempty"` // of a command on nodes
	Pod       string  `json:"pod"`
	Container string  `json:"container"`
	Stream    string  `json:"stream"`               // stdout or stderr
	Line      *string `json:"line,omitempty"`       // without its line feed
	Base64    *string `json:"lineBase64,omitempty"` // in place of Line if the line is not valid UTF-8
	Open      bool    `json:"open,omitempty"`       // no line feed ended the line: it is the last one, or it was split
}

// endJSON is the end of a command.
type endJSON struct {
	Node      string        `json:"node,omitempty"` // of a command on nodes
	Pod       string        `json:"pod"`
	Container string        `json:"container"`
	ExitCode  int           `json:"exitCode"`
	Cause     outcome.Cause `json:"cause"`
	Message   string        `json:"message,omitempty"` // the error
}

// jsonLine returns a format that writes each line of a stream as a lineJSON.
func jsonLine(node string, c Container, stream string) format {
	return func(dst, line []byte, open bool) []byte {
		l := lineJSON{Node: node, Pod: c.Pod, Container: c.Name, Stream: stream, Open: open}
		text := string(line)
		if utf8.Valid(line) {
			l.Line = &text
		} else {
			text = base64.StdEncoding.EncodeToString(line)
			l.Base64 = &text
		}
		return append(dst, notice.JSON(l)...)
	}
}

// jsonEnd returns the endJSON of a command that ended with err, and a line
// feed.
func jsonEnd(node string, c Container, r result, err error) []byte {
	e := endJSON{Node: node, Pod: c.Pod, Container: c.Name, ExitCode: r.ExitCode, Cause: r.Cause}
	if err != nil {
		e.Message = notice.Clean(err.Error())
	}
	return notice.JSON(e)
}
