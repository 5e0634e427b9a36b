package main

import "time"

// outcome is what there is to tell of a job beside its exit code.
type outcome struct {
	protocol  string // what was spoken: the WebSocket subprotocol, or SPDY and its; empty: nothing
	mode      string // exact or plain; empty: nothing was run
	connected time.Time
	inexact   string // why not exact, where that was wanted
}

// What outcome.mode may be.
const (
	modeExact = "exact"
	modePlain = "plain"
)
