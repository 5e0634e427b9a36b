package main

import (
	"fmt"
	"io"
)

// about is the notice for what is about one of several pods. What it says has to go the way of the others: see through.
func (n *notice) about(name string) *notice {
	n.mu.Lock()
	defer n.mu.Unlock()
	return &notice{quiet: n.quiet, verbosity: n.verbosity, name: name, w: n.w}
}

// through has everything said go to w, in whole lines, until undo is called.
func (n *notice) through(w io.Writer) (undo func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.w
	n.w = w
	return func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.w = before
	}
}

// insist is for what is said even with -q, and is no warning: what has failed.
func (n *notice) insist(format string, args ...any) { n.line("kshell: ", fmt.Sprintf(format, args...)) }
