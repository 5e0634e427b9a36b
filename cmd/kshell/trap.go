//go:build !panictest

package main

// trapped is the hook of the test build that panics on purpose; see trap_panic.go.
func trapped(std streams) streams { return std }
