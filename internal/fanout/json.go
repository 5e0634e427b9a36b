package fanout

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode"
	"unicode/utf16"
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
		return append(dst, encodeJSON(l)...)
	}
}

// jsonEnd returns the endJSON of a command that ended with err, and a line
// feed.
func jsonEnd(node string, c Container, r result, err error) []byte {
	e := endJSON{Node: node, Pod: c.Pod, Container: c.Name, ExitCode: r.ExitCode, Cause: r.Cause}
	if err != nil {
		e.Message = notice.Clean(err.Error())
	}
	return encodeJSON(e)
}

// encodeJSON returns v in JSON, and a line feed. It escapes control and format
// characters, because a terminal may interpret them.
func encodeJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err) // cannot happen: strings and numbers can be encoded
	}
	line := make([]byte, 0, b.Len())
	for _, r := range string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))) {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			for _, unit := range utf16.AppendRune(nil, r) {
				line = fmt.Appendf(line, `\u%04x`, unit)
			}
			continue
		}
		line = utf8.AppendRune(line, r)
	}
	return append(line, '\n')
}
