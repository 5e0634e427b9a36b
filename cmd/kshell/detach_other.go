//go:build !unix

package main

// detachTerminal does nothing on systems other than Unix. There, credential
// plugins are told that they cannot prompt, but nothing prevents them from
// prompting.
func detachTerminal() {}
