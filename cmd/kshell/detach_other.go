//go:build !unix

package main

// detachTerminal does nothing: on this system, credential plugins are only told
// that they cannot prompt.
func detachTerminal() {}
