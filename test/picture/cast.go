// Package picture renders the recording of a terminal session as an animated
// SVG: one file that a browser shows without scripts and without fonts from
// elsewhere.
package picture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
)

// Cast is a recording in the format asciicast v2
// (https://docs.asciinema.org/manual/asciicast/v2/).
type Cast struct {
	Width, Height int
	Title         string
	Events        []Event
}

// Event is what happens at a time.
type Event struct {
	Time float64 // in seconds since the beginning
	Code string  // Output or Marker
	Data string
}

// The codes of events. The text of a marker is the caption of what follows.
const (
	Output = "o"
	Marker = "m"
)

// header is the first line of a recording.
type header struct {
	Version int    `json:"version"`
	Width   int    `json:"width"`
	Height  int    `json:"height"`
	Title   string `json:"title"`
}

// Marshal returns the recording as a file.
func (c *Cast) Marshal() ([]byte, error) {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	lines.SetEscapeHTML(false)
	if err := lines.Encode(header{2, c.Width, c.Height, c.Title}); err != nil {
		return nil, err
	}
	for _, e := range c.Events {
		if err := lines.Encode([]any{math.Round(e.Time*1000) / 1000, e.Code, e.Data}); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// Parse reads a recording.
func Parse(file []byte) (*Cast, error) {
	lines := bufio.NewScanner(bytes.NewReader(file))
	lines.Buffer(nil, len(file)+1)
	var h header
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &h) != nil || h.Version != 2 || h.Width < 1 || h.Height < 1 {
		return nil, fmt.Errorf("not an asciicast v2: %q", lines.Bytes())
	}
	c := &Cast{Width: h.Width, Height: h.Height, Title: h.Title}
	for lines.Scan() {
		var e Event
		if err := json.Unmarshal(lines.Bytes(), &[]any{&e.Time, &e.Code, &e.Data}); err != nil {
			return nil, fmt.Errorf("event %d: %w", len(c.Events)+1, err)
		}
		c.Events = append(c.Events, e)
	}
	return c, lines.Err()
}
