package main

import "time"

// report is what is known of a job in addition to its error.
type report struct {
	protocol  string    // the WebSocket subprotocol, or SPDY and its protocol; empty if there was no connection
	mode      string    // exact or plain; empty if nothing ran
	connected time.Time // when the last connection was opened
	inexact   string    // why the mode is not exact, although exact was wanted
}

// The values of report.mode.
const (
	modeExact = "exact"
	modePlain = "plain"
)
