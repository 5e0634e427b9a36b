//go:build !linux

package main

import "os"

// The agent runs in Linux containers only.
func main() { os.Exit(1) }
